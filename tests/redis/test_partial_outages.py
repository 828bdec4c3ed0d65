"""A cluster of three servers, of which one goes away: what lies on the other two goes on as if nothing had happened."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from goflow.aloud import Aloud
from goflow.backend import Backend
from goflow.client import Client
from goflow.config import Config, Redis
from goflow.config import Worker as Settings
from goflow.errors import StoreAway
from goflow.log import Log
from goflow.message import Claim
from goflow.state import RunState
from goflow.testing.store import Worker, request, success
from goflow_redis import RedisBackend, servers
from tests.cli.shell import GOFLOW
from tests.redis.cluster import RedisCluster

if TYPE_CHECKING:
    from goflow.process import Child

#: the shortest there is, and an outage that is longer than two of them
LEASE = 2.0
OUTAGE = 4.4

FLOWS = """
import time
from pathlib import Path

import goflow


def note(context, what):
    with open("trace.txt", "a") as file:
        file.write(f"{context.run_id} {what} {time.monotonic()}\\n")


@goflow.flow("long")
def long(workflow, context):
    def work(data):
        note(context, "begins")
        time.sleep(7)
        note(context, "ends")
        return data

    workflow.dag.node("a", work)


@goflow.flow("asking")
def asking(workflow, context):
    def work(data):
        note(context, "begins")
        while not Path("ask").exists():
            time.sleep(0.01)
        found = context.get("key", b"none")
        note(context, "ends")
        return found

    workflow.dag.node("a", work)


@goflow.flow("quick")
def quick(workflow, context):
    def work(data):
        note(context, "ends")
        return data

    workflow.dag.node("a", work) >> workflow.dag.node("b", work)
"""


@pytest.fixture
def cluster() -> Iterator[RedisCluster]:
    """Three servers that keep what they have. They take nobody for failed as long as these tests last."""
    with RedisCluster(durable=True, node_timeout=60_000) as servers:
        yield servers


def opened(cluster: RedisCluster) -> RedisBackend:
    """A connection of its own."""
    config = Config(
        redis=Redis(url=cluster.url, namespace="parts"), worker=Settings(lease=LEASE, concurrency=4)
    )
    return RedisBackend.open(cluster.url, config)


class Ids:
    """Run ids by the number of the server that has them."""

    def __init__(self, cluster: RedisCluster, backend: RedisBackend) -> None:
        self._servers = {f"127.0.0.1:{port}": n for n, port in enumerate(cluster.ports)}
        self._of = backend.link.servers.of
        self._keys = backend.keys
        #: the one that has the directory, and one that has not
        self.directory = self._servers[self._of(backend.keys.directory)]
        self.other = (self.directory + 1) % 3

    def server(self, run_id: str) -> int:
        """The server that has a run."""
        return self._servers[self._of(self._keys.partition(run_id))]

    def on(self, server: int, name: str, count: int) -> list[str]:
        """So many ids of runs that lie there."""
        every = (f"{name}-{number}" for number in range(10_000))
        return [run_id for run_id in every if self.server(run_id) == server][:count]

    def off(self, server: int, name: str, count: int) -> list[str]:
        """So many that lie on each of the others."""
        return [each for n in range(3) if n != server for each in self.on(n, name, count)]


@contextmanager
def frozen(cluster: RedisCluster, server: int) -> Iterator[None]:
    """It is there, and does not say a word."""
    os.kill(cluster.pid(server), signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(cluster.pid(server), signal.SIGCONT)


@contextmanager
def killed(cluster: RedisCluster, server: int) -> Iterator[None]:
    """It is not there."""
    cluster.kill(server)
    try:
        yield
    finally:
        cluster.start(server)


AWAY = pytest.mark.parametrize("away", [frozen, killed])
Away = Callable[[RedisCluster, int], Any]


@contextmanager
def workers(folder: Path, url: str, count: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Real ones."""
    (folder / "flow.py").write_text(FLOWS)
    (folder / "goflow.toml").write_text(
        f'flows = ["flow.py"]\nbackend = "{url}"\n[redis]\nnamespace = "parts"\n'
        f"[worker]\nconcurrency = 4\nlease = {LEASE:g}\ngrace = 1\n"
    )
    with ExitStack() as ends:
        processes = []
        for number in range(count):
            log = ends.enter_context((folder / f"worker-{number}.log").open("wb"))
            command = [*GOFLOW, "worker"]
            processes.append(subprocess.Popen(command, cwd=folder, stdout=log, stderr=log))
            ends.callback(processes[-1].wait)
            ends.callback(processes[-1].kill)
        yield processes


def noted(folder: Path) -> list[tuple[str, str, float]]:
    """What nodes have said: run id, what and when."""
    file = folder / "trace.txt"
    lines = file.read_text().splitlines() if file.exists() else []
    return [(run_id, what, float(at)) for run_id, what, at in map(str.split, lines)]


def until(true: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait for it."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def all_ended(backend: Backend, run_ids: Sequence[str]) -> bool:
    """Whether these runs have."""
    return all(backend.run(run_id).state.terminal for run_id in run_ids)


@AWAY
@pytest.mark.parametrize("which", ["directory", "other"])
def test_what_lies_on_the_others_is_renewed_and_gets_its_turn_while_a_server_is_away(
    cluster: RedisCluster, tmp_path: Path, away: Away, which: str
) -> None:
    """And what lies on that one is begun again by nobody: its leases begin when it is back."""
    with opened(cluster) as backend, workers(tmp_path, cluster.url, 2):
        ids = Ids(cluster, backend)
        victim = ids.directory if which == "directory" else ids.other
        client = Client(backend)
        have_come(backend)
        long = [*ids.on(victim, "long", 1), *ids.off(victim, "long", 1)]
        for run_id in long:
            client.submit("long", b"x", run_id=run_id)
        until(lambda: {run_id for run_id, _, _ in noted(tmp_path)} == set(long))
        flow = backend.definition("quick")
        with away(cluster, victim):
            until_back = time.monotonic() + OUTAGE
            took = []
            for number in range(5):
                quick = ids.off(victim, f"quick{number}", 1)
                began = time.monotonic()
                for run_id in quick:
                    backend.submit(request(run_id, "a", flow=(flow.flow, flow.fingerprint)))
                until(lambda these=quick: all_ended(backend, these))  # type: ignore[misc]
                took.append(time.monotonic() - began)
            time.sleep(max(0.0, until_back - time.monotonic()))
        until(lambda: all_ended(backend, long))
        assert {backend.run(run_id).state for run_id in long} == {RunState.SUCCEEDED}
        begun = Counter(run_id for run_id, what, _ in noted(tmp_path) if what == "begins")
        assert begun == dict.fromkeys(long, 1), "a node was begun again"
        assert sorted(took)[2] < LEASE / 2, took
        assert sum(took) < OUTAGE, "all of them ended while it was away"


def have_come(backend: RedisBackend) -> None:
    """Wait until a worker has registered its flows."""
    until(lambda: {d.flow for d in backend.definitions()} == {"asking", "long", "quick"})


@AWAY
def test_a_worker_that_drains_while_a_server_is_away_ends_within_its_grace(
    cluster: RedisCluster, tmp_path: Path, away: Away
) -> None:
    """What it has finished for that one nobody can be told: it runs again elsewhere, once the lease is over."""
    with opened(cluster) as backend, workers(tmp_path, cluster.url, 1) as (process,):
        ids = Ids(cluster, backend)
        have_come(backend)
        (run_id,) = ids.on(ids.other, "long", 1)
        Client(backend).submit("long", b"x", run_id=run_id)
        until(lambda: noted(tmp_path))
        with away(cluster, ids.other):
            until(lambda: len(noted(tmp_path)) == 2)
            time.sleep(0.3)
            began = time.monotonic()
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
            assert 0.9 < time.monotonic() - began < 5


@AWAY
def test_a_node_that_asks_for_a_value_waits_for_a_server_that_is_away_and_is_not_begun_again(
    cluster: RedisCluster, tmp_path: Path, away: Away
) -> None:
    with opened(cluster) as backend, workers(tmp_path, cluster.url, 1):
        ids = Ids(cluster, backend)
        have_come(backend)
        (run_id,) = ids.on(ids.other, "asking", 1)
        Client(backend).submit("asking", b"x", run_id=run_id)
        until(lambda: noted(tmp_path))
        with away(cluster, ids.other):
            (tmp_path / "ask").touch()
            time.sleep(LEASE / 2)
            assert [what for _, what, _ in noted(tmp_path)] == ["begins"]
        assert Client(backend).wait(run_id, timeout=20).data == b"none"
        assert [what for _, what, _ in noted(tmp_path)] == ["begins", "ends"]


class Held:
    """A worker that holds a task on every server, and has a ready one more on each."""

    def __init__(self, cluster: RedisCluster, backend: RedisBackend) -> None:
        self.ids = Ids(cluster, backend)
        self.victim = self.ids.other
        self.worker = Worker(backend)
        runs = [run_id for n in range(3) for run_id in self.ids.on(n, "r", 1)]
        for run_id in runs:
            backend.submit(request(run_id, "a", "b"))
        found = self.worker.claim(100)
        assert len(found) == 6
        self.all: list[Claim] = [claim for claim in found if claim.task.path == "a"]
        for claim in found:
            if claim.task.path == "b":
                self.worker.release(claim)

    def away(self, claim: Claim) -> bool:
        """Whether a task lies on the server that will be away."""
        return self.ids.server(claim.task.run_id) == self.victim


@AWAY
def test_what_a_server_that_is_away_could_not_be_told_is_answered_with_none_and_taken_later(
    cluster: RedisCluster, away: Away
) -> None:
    with opened(cluster) as backend:
        held = Held(cluster, backend)
        made = [success(claim, b"A") for claim in held.all]
        with away(cluster, held.victim):
            accepted, claims = backend.commit(made, held.worker.ask())
            assert accepted == [None if held.away(claim) else True for claim in held.all]
            assert [claim.task.path for claim in claims] == ["b", "b"]
            assert not any(map(held.away, claims))
            error = backend.left_out()
            assert f"127.0.0.1:{cluster.ports[held.victim]}" in str(error)
            assert backend.left_out() is None, "it is told once"
            began, answers = time.monotonic(), []
            for _ in range(20):
                answers.append(held.worker.lost(*held.all, *claims))
                backend.tick(held.worker.id)
            known = [(claim.task.path, "lost") for claim in held.all if not held.away(claim)]
            assert answers.count(known) > 10, (
                answers
            )  # on a busy machine another may be late as well
            # a call that waited would do so for an eighth of a lease, and there were twice as many of them
            assert time.monotonic() - began < 20 * LEASE / 8, "nobody waits for it any more"
        until(lambda: backend.commit(made)[0] == [True] * 3)
        until(lambda: held.worker.claim())
        assert backend.output(held.all[0].task.run_id, "a") is not None


def told(backend: RedisBackend) -> list[str]:
    """What one more tick leaves out that nobody was told of."""
    backend.tick(0)
    return [str(error) for error in iter(backend.left_out, None)]


def test_every_server_that_refuses_is_told_of_and_again_once_it_was_mended(
    cluster: RedisCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "_MENDED", 3.0)
    with opened(cluster) as backend:
        where = {backend.link.servers.of(each): each for each in backend.keys.partitions}
        first, second = sorted(where)[:2]

        def spoil(server: str) -> None:
            backend.link.ask(where[server], "DEL", f"{where[server]}:due")
            backend.link.ask(where[server], "SET", f"{where[server]}:due", "not ours")

        def mend(server: str) -> None:
            backend.link.ask(where[server], "DEL", f"{where[server]}:due")

        assert told(backend) == []
        spoil(first)
        spoil(second)
        said = told(backend)
        assert len(said) == 2
        assert all("goflow doctor" in each for each in said)
        for server in (first, second):
            assert any(f"(server {server})" in each for each in said)
        for _ in range(5):
            assert told(backend) == [], "it is told once for as long as it lasts"
        mend(first)
        mend(second)
        over = time.monotonic() + 3.2
        while time.monotonic() < over:
            assert told(backend) == []
        spoil(second)
        (again,) = told(backend)
        assert f"(server {second})" in again


@AWAY
def test_a_server_that_is_away_is_named_from_the_first_word_on(
    cluster: RedisCluster, away: Away
) -> None:
    with opened(cluster) as backend:
        ids = Ids(cluster, backend)
        with away(cluster, ids.other):
            (said,) = told(backend)
            assert f"(server 127.0.0.1:{cluster.ports[ids.other]})" in said


def test_a_server_that_is_back_gives_whoever_held_something_there_a_lease_to_renew(
    cluster: RedisCluster,
) -> None:
    with opened(cluster) as backend, opened(cluster) as another:
        held, other = Held(cluster, backend), Worker(another)
        mine = [claim for claim in held.all if held.away(claim)]
        with frozen(cluster, held.victim):
            over = time.monotonic() + OUTAGE
            while time.monotonic() < over:
                another.tick(other.id)
                held.worker.lost(*held.all)
        over = time.monotonic() + LEASE * 0.8
        while time.monotonic() < over:
            another.tick(other.id)
            time.sleep(0.05)
        assert held.worker.lost(*held.all) == [], "they were kept though nobody had renewed them"

        def taken_over() -> bool:
            another.tick(other.id)
            return "a" in [claim.task.path for claim in other.claim() if held.away(claim)]

        until(taken_over)
        assert [path for path, _ in held.worker.lost(*mine)] == ["a"], "but not for ever"


def test_where_no_server_answers_that_is_an_error(cluster: RedisCluster) -> None:
    with opened(cluster) as backend, ExitStack() as freezes:
        held = Held(cluster, backend)
        for number in range(3):
            freezes.enter_context(frozen(cluster, number))
        with pytest.raises(StoreAway):
            backend.commit([success(claim, b"A") for claim in held.all])
        with pytest.raises(StoreAway):
            held.worker.lost(*held.all)
        with pytest.raises(StoreAway):
            backend.tick(held.worker.id)


@AWAY
def test_whoever_begins_to_listen_while_a_server_is_away_hears_the_others_and_that_one_later(
    cluster: RedisCluster, away: Away
) -> None:
    with opened(cluster) as backend, opened(cluster) as client:
        ids, w = Ids(cluster, backend), Worker(backend)
        there, gone = ids.off(ids.other, "r", 1)[0], ids.on(ids.other, "r", 1)[0]
        with away(cluster, ids.other):
            waker = backend.watch()
            assert w.claim() == []
            client.submit(request(there))
            assert select.select([waker], [], [], 5)[0]
            waker.clear()
            (claim,) = w.claim()
            assert claim.task.run_id == there
            assert w.succeed(claim, b"A", ends=True)
            assert w.claim() == []
        until(lambda: (backend.tick(w.id), select.select([waker], [], [], 0.1)[0])[1])
        waker.clear()
        assert w.claim() == []
        client.submit(request(gone))
        assert select.select([waker], [], [], 5)[0]
        waker.clear()
        assert [claim.task.run_id for claim in w.claim()] == [gone]
        waker.close()


class Speaker:
    """As much of a child as `Aloud` looks at."""

    def __init__(self, claim: Claim) -> None:
        self.claims, self.clock, self.log = [claim], 0.0, Log(b"\0marker\0", 1000)


def test_what_is_printed_for_the_others_is_not_recorded_over_and_over_while_a_server_is_away(
    cluster: RedisCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("goflow.aloud.PAUSE", 0.0)
    with opened(cluster) as backend:
        held = Held(cluster, backend)
        speakers = [Speaker(claim) for claim in held.all]
        aloud = Aloud(backend, cast("list[Child]", speakers))
        with killed(cluster, held.victim):
            for number in range(4):
                for each in speakers:
                    each.log.feed(f"{number}\n".encode())
                aloud.record()
            assert [each.log.waits for each in speakers] == list(map(held.away, held.all))

        def all_told() -> bool:
            aloud.record()
            return not any(each.log.waits for each in speakers)

        until(all_told)
        for claim in held.all:
            told = b"".join(line.data for line in backend.logs(claim.task.run_id)).split()
            assert told[-4:] == [b"0", b"1", b"2", b"3"]
            assert told[:-4] in ([], [b"0"]), (
                "what was told before the call failed is told again once"
            )


def test_a_server_taken_for_silent_that_answers_is_one_like_the_others_again(
    cluster: RedisCluster,
) -> None:
    with opened(cluster) as backend:
        key = backend.keys.partitions[0]
        # as after a failover: the call failed at the old master, and the key is the new one's by now
        backend.link.servers.failed(key, StoreAway("the old master is away"))
        until(lambda: not backend.link.servers.silent(key))
        assert backend.link.ask(key, "EXISTS", key) == 0
        assert not backend.link.servers.check(key), "the next call is one like any other"


def test_who_asks_whether_a_silent_server_is_back_never_waits_for_its_name_to_be_resolved(
    cluster: RedisCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve = socket.getaddrinfo

    def slowly(host: str, port: int, *rest: Any, **more: Any) -> Any:
        """As where the resolver is away, for a while."""
        if host == "localhost" and not more.get("flags"):
            time.sleep(1.0)
        return resolve(host, port, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", slowly)
    node = SimpleNamespace(host="localhost", port=cluster.ports[0])
    silence = servers.Silence(node, "no answer", tls=False)
    began, took = time.monotonic(), 0.0
    while time.monotonic() < began + 0.5:
        asked = time.monotonic()
        assert not silence.over(), "its name is not known yet"
        took = max(took, time.monotonic() - asked)
        time.sleep(0.01)
    assert took < 0.5
    until(silence.over)
    silence.close()
