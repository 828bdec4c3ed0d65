"""What a network and a server can do to a call: it is repeated, and nothing happens twice or never."""

from __future__ import annotations

import select
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from goflow.backend import Definition, Retry
from goflow.config import Config, Redis
from goflow.config import Worker as Settings
from goflow.errors import BackendError, RunFailed, UnknownRun
from goflow.message import Outcome
from goflow.payload import Payload
from goflow.state import RunState
from goflow.testing.store import (
    FLOW,
    Worker,
    closes,
    edge,
    failure,
    outcome,
    request,
    scopes,
    success,
)
from goflow_redis import RedisBackend
from goflow_redis.keys import SCHEMA
from goflow_redis.words import Word
from tests.redis.hooks import expire_leases, open_store, teach
from tests.redis.proxy import Proxy
from tests.redis.server import RedisServer

CUTS = pytest.mark.parametrize("cut", ["before", "after"])


@pytest.fixture
def proxy(server: RedisServer) -> Iterator[Proxy]:
    """A proxy in front of the shared server."""
    between = Proxy(server.socket)
    yield between
    between.close()


@pytest.fixture
def backend(server: RedisServer, proxy: Proxy) -> Iterator[RedisBackend]:
    """A connection through the proxy."""
    with open_store(proxy.url, "faults") as opened:
        teach(opened, server)
        yield opened


@pytest.fixture
def w(backend: RedisBackend) -> Worker:
    """A worker behind the proxy."""
    return Worker(backend)


@CUTS
def test_a_cut_forget_forgets_once(
    proxy: Proxy, backend: RedisBackend, w: Worker, cut: str
) -> None:
    backend.submit(request("r"))
    assert w.fail(w.one("a"))
    proxy.arm(cut)
    backend.forget("r")
    assert (proxy.cuts, backend.runs()) == (1, [])
    with pytest.raises(UnknownRun):
        backend.forget("r")


@CUTS
def test_a_cut_submit_is_accepted_once(proxy: Proxy, backend: RedisBackend, cut: str) -> None:
    proxy.arm(cut)
    run = backend.submit(request("r"))
    assert (run.id, run.state, proxy.cuts) == ("r", RunState.QUEUED, 1)
    assert [each.id for each in backend.runs()] == ["r"]
    assert Worker(backend).paths() == ["a"]


@CUTS
def test_a_cut_claim_loses_no_task(
    proxy: Proxy, backend: RedisBackend, w: Worker, cut: str
) -> None:
    backend.submit(request("r", "a", "b", "c"))
    proxy.arm(cut)
    claims = w.claim(2)
    assert [claim.task.path for claim in claims] == ["a", "b"]
    assert proxy.cuts == 1
    assert w.paths() == ["c"]
    assert w.lost(*claims) == []
    assert all(w.succeed(claim) for claim in claims)


@CUTS
def test_a_cut_claim_of_several_flows_loses_no_task(
    proxy: Proxy, backend: RedisBackend, cut: str
) -> None:
    other = ("other", FLOW[1])
    w = Worker(backend, flows=(FLOW, other))
    for number in range(3):
        backend.submit(request(f"r{number}", "a", "b"))
        backend.submit(request(f"o{number}", "a", flow=other))
    proxy.arm(cut)
    claims = w.claim()
    assert proxy.cuts == 1
    told = [(claim.task.flow, claim.task.run_id, claim.task.path) for claim in claims]
    expected = [(FLOW[0], f"r{number}", path) for number in range(3) for path in "ab"]
    assert sorted(told) == sorted(expected + [("other", f"o{number}", "a") for number in range(3)])
    assert w.claim() == []
    assert w.lost(*claims) == []
    assert all(w.succeed(claim) for claim in claims)


@CUTS
def test_a_cut_commit_counts_once_and_brings_the_next_tasks(
    proxy: Proxy, backend: RedisBackend, w: Worker, cut: str
) -> None:
    backend.submit(request("r"))
    made = success(w.one("a"), b"A", edge("a", "b"), edge("a", "c"), log=b"once")
    proxy.arm(cut)
    accepted, claims = backend.commit([made], w.ask())
    assert accepted == [True]
    assert sorted(claim.task.path for claim in claims) == ["b", "c"]
    assert [w.data(claim) for claim in claims] == [{"a": b"A"}] * 2
    assert [line.data for line in backend.logs("r")] == [b"once"]
    assert len(backend.attempts("r")) == 1
    assert w.claim() == []
    assert w.lost(*claims) == []


@CUTS
def test_a_cut_record_of_what_tasks_print_happens_once(
    proxy: Proxy, backend: RedisBackend, w: Worker, cut: str
) -> None:
    backend.submit(request("r", "a", "b"))
    a, b = (claim.task for claim in w.each("a", "b"))
    proxy.arm(cut)
    backend.printed([(a, b"1"), (b, b"2"), (a, b"3")])
    assert proxy.cuts == 1
    backend.printed([(a, b"4")])
    assert [line.data for line in backend.logs("r")] == [b"1", b"2", b"3", b"4"]


@CUTS
@pytest.mark.parametrize("kind", ["retry", "rescue", "fail", "release", "stop"])
def test_every_cut_outcome_is_recorded_once(
    proxy: Proxy, backend: RedisBackend, w: Worker, cut: str, kind: str
) -> None:
    backend.submit(request("r"))
    claim = w.one("a")
    why = failure(claim)
    made = {
        "retry": outcome(claim, failure=why, retry_at=1.0),
        "rescue": outcome(claim, failure=why, rescue=True),
        "fail": outcome(claim, failure=why),
        "release": outcome(claim, released=True),
        "stop": outcome(claim, stopped=True),
    }[kind]
    if kind == "stop":
        backend.control("r", "stop")
    proxy.arm(cut)
    backend.commit([made])
    assert proxy.cuts == 1
    backend.tick(w.id)
    again = w.claim()
    assert [(c.task.path, c.task.attempt) for c in again] == {
        "retry": [("a", 2)],
        "rescue": [("a", 1)],
        "fail": [],
        "release": [("a", 1)],
        "stop": [],
    }[kind]
    assert len(backend.attempts("r")) == (0 if kind == "release" else 1)


def test_a_call_that_is_repeated_is_never_taken_for_an_earlier_one(
    proxy: Proxy, backend: RedisBackend, w: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be given once more what that one got, which is being executed."""
    monkeypatch.setattr("random.choices", lambda letters, k: ["a"] * k)
    backend.submit(request("r", "a", "b"))
    assert [claim.task.path for claim in w.claim(1)] == ["a"]
    proxy.arm("before")
    assert [claim.task.path for claim in w.claim(1)] == ["b"]
    assert proxy.cuts == 1


@CUTS
def test_a_cut_fan_out_opens_every_scope_once(
    proxy: Proxy, backend: RedisBackend, w: Worker, cut: str
) -> None:
    backend.submit(request("r", "each"))
    claim = w.one("each")
    keys = [str(number) for number in range(700)]
    proxy.arm(cut)
    backend.stage(claim.task, scopes("each", keys[:650]))
    proxy.arm(cut)
    assert w.open(claim, scopes("each", keys[650:]), expects=700, window=100)
    assert proxy.cuts == 2
    taken: list[str] = []
    held = w.claim(1000)
    assert len(held) == 100
    while held and not held[0].task.closing:
        taken += [each.task.path for each in held]
        proxy.arm(cut)
        done = [success(c, b"", closes("each", c.task.path[5:-3])) for c in held]
        accepted, held = backend.commit(done, w.ask(1000))
        assert all(accepted)
    assert sorted(taken) == sorted(f"each[{key}]/x" for key in keys)
    assert [each.task.path for each in held] == ["each"]
    assert len(w.data(held[0])) == 700


@CUTS
def test_a_cut_control_and_a_cut_retry_happen_once(
    proxy: Proxy, backend: RedisBackend, w: Worker, cut: str
) -> None:
    backend.submit(request("r"))
    for action, state in (("pause", "paused"), ("resume", "queued")):
        proxy.arm(cut)
        assert backend.control("r", action).state == state  # type: ignore[arg-type]
    assert w.fail(w.one("a"))
    proxy.arm(cut)
    assert backend.retry("r", Retry()).round == 2
    assert backend.run("r").round == 2
    assert w.paths() == ["a"]


@CUTS
def test_a_cut_question_of_the_directory_is_answered(
    proxy: Proxy, backend: RedisBackend, w: Worker, cut: str
) -> None:
    proxy.arm(cut, word=b"SET")
    assert backend.remember("nonce", 60), "it was new, though the answer was lost"
    assert not backend.remember("nonce", 60)
    proxy.arm(cut, word=b"HSET")
    backend.register(Definition(flow="f", fingerprint="p", plan=b"{}"))
    assert backend.definition("f").fingerprint == "p"
    proxy.arm(cut, word=b"INCR")
    worker = backend.enter(backend.workers()[0])
    assert {info.id for info in backend.workers()} == {w.id, worker}


def test_a_claim_that_was_given_up_is_answered_by_the_next_one(
    proxy: Proxy, backend: RedisBackend, w: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend.submit(request("r", "a", "b"))
    monkeypatch.setattr("goflow_redis.link.PAUSES", (0.0,))
    proxy.arm("after")
    with pytest.raises(BackendError):
        w.claim(1)
    claims = w.claim(1)
    assert [claim.task.path for claim in claims] == ["a"], "it was ours all the time"
    assert w.paths() == ["b"]


@CUTS
def test_a_count_that_was_given_up_is_added_once_by_the_next_one(
    proxy: Proxy, backend: RedisBackend, w: Worker, monkeypatch: pytest.MonkeyPatch, cut: str
) -> None:
    monkeypatch.setattr("goflow_redis.link.PAUSES", (0.0,))
    name, before = (FLOW[0], "retries"), backend.figures().numbers
    proxy.arm(cut)
    with pytest.raises(BackendError):
        backend.count(w.id, {name: 1})
    backend.count(Worker(backend).id, {name: 10})
    backend.count(w.id, {name: 1})
    backend.count(w.id, {name: 100})
    assert backend.figures().numbers[name] - before.get(name, 0) == 111


def test_scripts_that_the_server_forgot_are_sent_again(server: RedisServer) -> None:
    with open_store(server.url, "faults") as backend:
        w = Worker(backend)
        backend.submit(request("r"))
        server.client.script_flush()
        claim = w.one("a")
        server.client.script_flush()
        assert w.succeed(claim, b"A", ends=True)
        assert backend.result("r") == Payload(b"A")


def test_killed_connections_are_made_again(server: RedisServer) -> None:
    with open_store(server.url, "faults") as backend:
        w = Worker(backend)
        waker = backend.watch()
        backend.submit(request("r"))
        for _ in range(3):
            server.client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            assert select.select([waker], [], [], 10)[0], "a dead connection wakes"
            waker.clear()
            claim = w.one("a")
            server.client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            waker.clear()
            assert w.release(claim)
            assert select.select([waker], [], [], 10)[0], "the new connection hears"
        waker.close()


def test_a_server_that_dies_and_comes_back_has_lost_nothing(own: RedisServer) -> None:
    backend = open_store(own.url, "faults")
    w = Worker(backend)
    backend.submit(request("r", "a", "b"))
    waker = backend.watch("r")
    held = w.one("a")
    own.kill()
    with pytest.raises(BackendError, match=r"redis\.sock"):
        backend.run("r")
    waker.clear()
    assert select.select([waker], [], [], 10)[0], "nobody may sleep on a server that is away"
    own.start()
    waker.clear()
    assert w.succeed(held, b"A", edge("a", "c"))
    assert select.select([waker], [], [], 10)[0]
    assert w.paths() == ["b", "c"]
    waker.close()
    backend.close()


def test_nothing_is_taken_back_before_the_server_was_there_for_a_lease(own: RedisServer) -> None:
    backend = open_store(own.url, "faults")
    w, keeper = Worker(backend), Worker(backend)
    backend.submit(request("r"))
    w.one("a")
    expire_leases(backend, w.id)
    backend.grace = backend.lease
    backend.tick(keeper.id)
    assert keeper.claim() == [], "the server has only just come up"
    backend.grace = 0.0
    backend._reap_at = 0.0
    backend.tick(keeper.id)
    assert keeper.one("a").task.lost == 1
    backend.close()


def test_after_an_outage_that_outlasted_its_patience_a_worker_reaps_again(
    own: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("goflow_redis.link.PAUSES", (0.0, 0.0))
    backend = open_store(own.url, "faults")
    w, keeper = Worker(backend), Worker(backend)
    backend.submit(request("r"))
    w.one("a")
    own.kill()
    with pytest.raises(BackendError):
        backend.tick(keeper.id)
    own.start()
    backend.grace = 0.1
    expire_leases(backend, w.id)
    deadline = time.monotonic() + 10
    while not (claims := keeper.claim()) and time.monotonic() < deadline:
        backend.tick(keeper.id)
    assert [claim.task.lost for claim in claims] == [1]
    backend.close()


def test_what_one_partition_gave_is_not_lost_when_another_does_not_answer(
    server: RedisServer, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise it would be held by a worker that knows nothing of it, and count as lost in the end."""
    server.client.hset("gf:{many}:meta", mapping={"schema": SCHEMA, "partitions": 4, "created": 1})
    with open_store(proxy.url, "many") as backend:
        teach(backend, server)
        w = Worker(backend)
        for number in range(12):
            backend.submit(request(f"r{number}"))
        monkeypatch.setattr("goflow_redis.link.PAUSES", (0.0,))
        proxy.arm("before", nth=3)
        with pytest.raises(BackendError):
            w.claim(100)
        claims = w.claim(100)
        assert {claim.task.run_id for claim in claims} == {f"r{number}" for number in range(12)}
        assert w.lost(*claims) == []


def test_what_a_vanished_worker_held_of_many_flows_comes_back_by_one_call(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Housekeeping takes no longer for every flow there is: on a loaded machine leases would run out meanwhile."""
    flows = [(f"flow{number}", "f1") for number in range(30)]
    with open_store(server.url, "flows") as backend:
        teach(backend, server)
        w, keeper = Worker(backend, flows), Worker(backend, flows)
        for key in flows:
            backend.submit(request(key[0], flow=key))
        assert len(w.claim()) == len(flows)
        expire_leases(backend, w.id)
        asked: list[str] = []
        run = backend.link.run

        def noting(script: str, partition: str, args: Sequence[Word]) -> Any:
            asked.append(script)
            return run(script, partition, args)

        monkeypatch.setattr(backend.link, "run", noting)
        backend._reap_at = 0.0
        backend.tick(keeper.id)
        assert asked.count("reap") == len(backend.keys.partitions)
        assert [claim.task.lost for claim in keeper.claim()] == [1] * len(flows)


def test_every_hold_lasts_for_the_lease_of_its_holder(server: RedisServer) -> None:
    """A worker with a short lease takes nothing from one that may be silent for longer."""
    with open_store(server.url, "leases") as short, open_store(server.url, "leases") as long:
        short.lease, long.lease = 0.5, 600.0
        patient, hasty = Worker(long), Worker(short)
        long.submit(request("r", "a", "b"))
        (a,) = patient.claim(1)
        (b,) = hasty.claim(1)
        time.sleep(0.6)
        keeper = Worker(short)
        short._reap_at = 0.0
        short.tick(keeper.id)
        assert keeper.paths() == [b.task.path]
        assert patient.lost(a) == []
        assert hasty.lost(b) == [(b.task.path, "lost")]
        for each in (long, short):
            each._reap_at = 0.0
            each.tick(patient.id)
        assert patient.succeed(a, b"A", ends=True)


def test_a_lease_that_a_renewal_prolongs_is_the_renewers(server: RedisServer) -> None:
    """Its setting may have changed with a restart of nothing but the configuration."""
    with open_store(server.url, "leases") as backend:
        backend.lease = 600.0
        w = Worker(backend)
        backend.submit(request("r"))
        a = w.one("a")
        backend.lease = 0.2
        assert w.lost(a) == []
        time.sleep(0.3)
        backend._reap_at = 0.0
        backend.tick(w.id)
        assert w.lost(a) == [("a", "lost")]


def test_a_connection_that_has_died_without_a_word_costs_no_lease(
    server: RedisServer, proxy: Proxy
) -> None:
    """A renewal is due after a third of it, and waits for half of it before it takes another connection."""
    config = Config(redis=Redis(url=proxy.url, namespace="faults"), worker=Settings(lease=2.0))
    with RedisBackend.open(proxy.url, config) as backend:
        w = Worker(backend)
        backend.submit(request("r"))
        claim = w.one("a")
        began = time.monotonic()
        proxy.deafen()
        assert w.lost(claim) == []
        assert time.monotonic() - began < 2.0 * 2 / 3
        proxy.unplug()
        with pytest.raises(BackendError, match="no answer"):
            w.lost(claim)
        assert time.monotonic() - began < 6.0, "a call is given up in time, too"


def test_a_script_cut_after_the_commit_of_an_end_leaves_the_result(
    proxy: Proxy, backend: RedisBackend, w: Worker
) -> None:
    backend.submit(request("r", handlers=("~finally",)))
    ends: Outcome = success(w.one("a"), b"A", ends=True)
    proxy.arm("after")
    assert backend.commit([ends], w.ask())[1][0].task.path == "~finally"
    backend.submit(request("bad"))
    proxy.arm("after")
    assert w.fail(w.one("a"))
    with pytest.raises(RunFailed, match="boom"):
        backend.result("bad")
    assert FLOW not in backend.waiting()


def test_two_workers_of_one_connection_renew_at_the_same_time(
    backend: RedisBackend, w: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Worker(backend)
    for run_id in ("r", "s"):
        backend.submit(request(run_id))
    mine, theirs = w.one("a").task, other.one("a").task
    keep = backend.keep_leases

    def meanwhile(*call: Any) -> Any:
        monkeypatch.undo()
        assert backend.renew(other.id, [theirs]) == []
        return keep(*call)

    monkeypatch.setattr(backend, "keep_leases", meanwhile)
    assert backend.renew(w.id, [mine]) == []
