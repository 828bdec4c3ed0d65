"""Every key has an owner or an expiry, and a finished run costs little."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from uuid import uuid4

import pytest

from goflow.backend import Definition, Retry
from goflow.message import Opened, Step
from goflow.payload import Payload
from goflow.state import RunState
from goflow.testing.store import FLOW, Worker, closes, edge, outcome, request, scopes
from goflow.testing.suite.watching import woken
from goflow.wholesale import Look
from goflow_redis import RedisBackend
from goflow_redis.keys import Keys
from goflow_redis.listing import SPAN
from tests.redis.hooks import expire_leases, open_store
from tests.redis.server import RedisServer

#: bytes a finished run of five nodes with results of 100 bytes may take
RUN_BYTES = 2048


@pytest.fixture
def backend(server: RedisServer) -> Iterator[RedisBackend]:
    """A connection to an empty store."""
    with open_store(server.url, "keys") as opened:
        yield opened


def leaks(server: RedisServer, backend: RedisBackend) -> list[str]:
    """Keys without an expiry that neither a run on its way nor the fixed list of `keys` owns."""
    keys: Keys = backend.keys
    owned = set(keys.of_directory())
    for partition in keys.partitions:
        classes, flows = backend.classes(partition), backend.flows(partition)
        owned.update(keys.of_partition(partition, classes, flows))
    living = {run.id for run in backend.runs() if not run.state.terminal}
    found = []
    for raw in server.client.keys("*"):
        key = raw.decode()
        run = re.fullmatch(r"gf:\{[^}]*\}:r:([^:]*)(:.*)?", key)
        if server.client.pttl(raw) == -1 and key not in owned and not (run and run[1] in living):
            found.append(key)
    return found


def a_life(backend: RedisBackend, run_id: str, ending: str) -> None:
    """A run that uses every key there is, and ends in one of four ways."""
    w = Worker(backend)
    backend.submit(request(run_id, "each", "b", handlers=("~on_failure", "~finally"), timeout=60.0))
    each, b = w.each("each", "b")
    assert w.retry(b, at=0, log=b"printed")
    backend.tick(w.id)
    backend.stage(each.task, scopes("each", "lost"))
    assert w.release(each)
    claims = {claim.task.path: claim for claim in w.claim()}
    each, b = claims["each"], claims["b"]
    backend.stage(each.task, scopes("each", "12345678"))
    opened = Opened(9, 2, tuple("123456789"), tuple(scopes("each", "9")))
    writes = {"key": Payload(b"value")}
    assert w.commit(outcome(each, step=Step(opened=opened, writes=dict(writes))))
    watcher = backend.watch(run_id)
    watcher.close()
    backend.control(run_id, "pause")
    backend.control(run_id, "resume")
    if ending == "stopped":
        backend.control(run_id, "stop")
        assert w.killed(b)
    elif ending == "failed":
        assert w.fail(b)
    else:
        while held := [c for c in w.claim() if c.task.path != "each"]:
            for claim in held:
                assert w.succeed(claim, b"", closes("each", claim.task.path[5]))
        if ending == "succeeded":
            assert w.succeed(b, b"done", ends=True)
        return_to = ending == "given up"
        assert not return_to or w.release(b)
    for claim in w.claim():
        if claim.task.path.startswith("~"):
            assert w.succeed(claim)
            for last in w.claim():
                assert w.succeed(last)
    backend.leave(w.id)


def test_what_a_branch_has_staged_lasts_as_long_as_it_is_held(
    backend: RedisBackend, server: RedisServer
) -> None:
    """Its next item may take longer to find than what is staged lives by itself: it would open afresh for ever."""
    w = Worker(backend)
    backend.submit(request("r", "each"))
    each = w.one("each")
    backend.stage(each.task, scopes("each", "12"))
    (staged,) = server.client.keys("*:r:r:t:*")
    server.client.pexpire(staged, 5000)
    assert w.lost(each) == []
    assert server.client.pttl(staged) > 5000
    assert w.open(each, scopes("each", "3"), expects=3)


@pytest.mark.parametrize("ending", ["succeeded", "failed", "stopped"])
def test_a_finished_run_leaves_only_what_expires(
    server: RedisServer, backend: RedisBackend, ending: str
) -> None:
    backend.register(Definition(flow=FLOW[0], fingerprint=FLOW[1], plan=b"{}"))
    backend.remember("nonce", 60)
    a_life(backend, "r", ending)
    drain(backend)
    assert backend.run("r").state == ending
    assert leaks(server, backend) == []
    lives = [server.client.pttl(key) for key in server.client.keys("*:r:r*")]
    kept = backend.dead if ending == "failed" else backend.retention
    assert all(0 < life <= kept for life in lives)


def test_scopes_of_very_many_branches_get_their_expiry_in_pieces(
    server: RedisServer, backend: RedisBackend
) -> None:
    """One command for each would hold the server up."""
    w, names = Worker(backend), [f"n{number}" for number in range(1100)]
    backend.submit(request("r", *names))
    claims = w.claim(len(names))
    assert len(claims) == len(names)
    for claim in claims:
        assert w.open(claim, scopes(claim.task.path, "ab"), expects=2, window=1)
    backend.control("r", "stop")
    assert backend.run("r").state is RunState.STOPPED
    lists = server.client.keys("*:r:r:s:*")
    assert len(lists) == len(names)
    counts = []
    while left := sum(server.client.pttl(key) == -1 for key in lists):
        counts.append(left)
        backend.tick(w.id)
    assert counts[0] == len(names)
    assert 6 <= len(counts) <= 22, counts  # a step of SSCAN gives some more or fewer
    drain(backend)
    assert leaks(server, backend) == []
    assert server.client.exists(f"{backend.keys.partitions[0]}:due") == 0


def test_scopes_of_very_many_branches_go_though_nobody_worked_until_their_run_was_gone(
    server: RedisServer, backend: RedisBackend
) -> None:
    w, names = Worker(backend), [f"n{number}" for number in range(600)]
    backend.submit(request("r", *names))
    for claim in w.claim(len(names)):
        assert w.open(claim, scopes(claim.task.path, "ab"), expects=2, window=1)
    backend.control("r", "stop")
    expiring = [key for key in server.client.keys("*:r:r*") if server.client.pttl(key) > 0]
    server.client.delete(*expiring)  # as its retention does
    assert len(server.client.keys("*:r:r:s:*")) == len(names)
    for _ in range(9):
        backend.tick(w.id)
    assert server.client.keys("*:r:r*") == []
    drain(backend)
    assert leaks(server, backend) == []


def test_what_is_left_over_by_attempts_expires_though_the_run_goes_on(
    server: RedisServer, backend: RedisBackend
) -> None:
    a_life(backend, "r", "given up")
    staged = server.client.keys("*:r:r:[tu]:*")
    assert all(server.client.pttl(key) > 0 for key in staged)
    assert leaks(server, backend) == []


def test_a_new_round_keeps_the_run_until_it_ends_again(
    server: RedisServer, backend: RedisBackend
) -> None:
    a_life(backend, "r", "failed")
    assert backend.run("r").state is RunState.FAILED
    backend.retry("r", Retry())
    lasting = [key for key in server.client.keys("*:r:r*") if b":ev" not in key]
    assert [key for key in lasting if server.client.pttl(key) != -1 and b":u:" not in key] == []
    backend.control("r", "stop")
    drain(backend)
    assert backend.run("r").state is RunState.STOPPED
    assert leaks(server, backend) == []


def drain(backend: RedisBackend) -> None:
    """Let a healthy worker finish whatever is ready, handlers included."""
    w = Worker(backend)
    while claims := w.claim():
        for claim in claims:
            assert w.succeed(claim)
    backend.leave(w.id)


def test_nothing_of_a_run_is_left_after_its_retention(
    server: RedisServer, backend: RedisBackend
) -> None:
    backend.retention = backend.dead = 50
    for number in range(20):
        a_life(backend, f"r{number}", ("succeeded", "failed", "stopped")[number % 3])
        drain(backend)
    time.sleep(0.2)
    w = Worker(backend)
    backend.claim(w.ask())
    backend._sweep_at = 0.0
    backend.tick(w.id)
    left = [key.decode() for key in server.client.keys("*:r:*") if b":u:" not in key]
    assert [key for key in left if ":ev" not in key] == []
    assert backend.runs() == []
    partition = backend.keys.partitions[0]
    assert server.client.zcard(backend.keys.runs(partition, FLOW[0])) == 0
    assert server.client.zcard(f"{partition}:due") == 0
    assert server.client.xlen(backend.keys.queue(partition, *FLOW)) == 0
    backend._sweep_at = 0.0
    backend.tick(w.id)
    assert backend.classes(partition) == [], "queues nobody uses go too"
    assert backend.flows(partition) == []
    w.backend.submit(request("again"))
    assert w.paths() == ["a"], "and come back"


def test_the_list_of_runs_is_rid_of_the_gone_as_fast_as_they_go(
    server: RedisServer, backend: RedisBackend
) -> None:
    w = Worker(backend)
    for run_id in ("old", "late"):
        backend.submit(request(run_id))
    assert w.succeed(w.claim()[0], b"", ends=True)
    listed = backend.keys.runs(backend.keys.partitions[0], FLOW[0])
    newest = server.client.zscore(listed, "old")
    for place in (4, 5, 6):  # as if so many runs had ended in each way, and gone
        start = place * SPAN + newest % SPAN
        gone = {f"gone{place}.{number}": start + number for number in range(1, 700)}
        server.client.zadd(listed, gone)
    backend._sweep_at = 0.0
    backend.tick(w.id)
    assert server.client.zcard(listed) < 700
    for _ in range(3):
        backend.tick(w.id)
    assert sorted(server.client.zrange(listed, 0, -1)) == [b"late", b"old"]


def test_a_flow_whose_list_grows_faster_than_it_is_gone_through_holds_up_no_other(
    server: RedisServer, backend: RedisBackend
) -> None:
    w = Worker(backend)
    busy, flows = ("busy", "1"), [("a", "1"), ("busy", "1"), ("c", "1")]
    backend.submit_all([request(f"{flow[0]}{n}", flow=flow) for flow in flows for n in range(100)])
    server.client.delete(*(backend.keys.run(f"{name}{n}") for name in "ac" for n in range(100)))
    (partition,) = backend.keys.partitions
    for tick in range(3):
        backend._sweep_at = 0.0
        backend.tick(w.id)
        backend.submit_all([request(f"busy{tick}-{n}", flow=busy) for n in range(100)])
    left = {flow[0]: server.client.zcard(backend.keys.runs(partition, flow[0])) for flow in flows}
    assert left == {"a": 0, "busy": 400, "c": 0}


def test_a_finished_run_of_five_nodes_takes_two_kilobytes(
    server: RedisServer, backend: RedisBackend
) -> None:
    w = Worker(backend)
    result, names = b"x" * 100, ["fetch", "parse", "check", "store", "report"]

    def one_run() -> None:
        backend.submit(request(uuid4().hex, names[0], payload=b"y" * 100, digest="d" * 64))
        for name, following in zip(names, [*names[1:], None], strict=True):
            arrivals = [edge(name, following)] if following else []
            assert w.succeed(w.one(name), result, *arrivals, ends=following is None)

    for _ in range(50):
        one_run()  # so that what is there once (scripts, queues, buffers) is there
    before = used(server)
    for _ in range(1000):
        one_run()
    taken = (used(server) - before) / 1000
    print(f"{taken:.0f} bytes a run")
    assert taken <= RUN_BYTES


def used(server: RedisServer) -> int:
    """Bytes of data, without buffers and the table of scripts."""
    return int(server.client.memory_stats()["dataset.bytes"])


@pytest.mark.parametrize("ending", ["succeeded", "failed", "stopped"])
def test_a_forgotten_run_leaves_no_key(
    server: RedisServer, backend: RedisBackend, ending: str
) -> None:
    a_life(backend, "r", ending)
    drain(backend)
    backend.forget("r")
    left = [key.decode() for key in server.client.keys("*:r:r*")]
    assert [key for key in left if not re.search(r":[tu]:", key)] == []
    assert all(server.client.pttl(key) > 0 for key in left)
    partition = backend.keys.partitions[0]
    assert server.client.zcard(backend.keys.runs(partition, FLOW[0])) == 0
    assert leaks(server, backend) == []


def test_an_ephemeral_store_leaves_no_key(server: RedisServer) -> None:
    before = set(server.client.keys("*"))
    backend = open_store(server.url, "keys", ephemeral=True)
    a_life(backend, "r", "failed")
    a_life(backend, "r2", "given up")
    backend.close()
    left = set(server.client.keys("*")) - before
    assert [key for key in left if server.client.pttl(key) == -1] == []


def test_small_results_are_told_with_the_end_of_their_runs_and_nobody_looks(
    backend: RedisBackend,
) -> None:
    w = Worker(backend)
    made = {"small": b"A", "none": b"", "large": b"x" * 5000}
    waker = backend.watch_ends()
    backend.submit_all([request(name) for name in made])
    assert all(w.succeed(claim, made[claim.task.run_id], ends=True) for claim in w.claim(10))
    told: dict[str, Look | None] = {}
    while len(told) < len(made) and woken(waker):
        waker.clear()
        told |= waker.ended(made) or {}
    waker.close()
    assert {name: look and look[1] for name, look in told.items()} == {
        "small": Payload(b"A"),
        "none": Payload(b""),
        "large": None,
    }


def test_attempts_name_their_workers_though_they_are_gone(
    server: RedisServer, backend: RedisBackend
) -> None:
    """One has left, one was gone for an hour; a connection of its own has seen neither."""
    leaving, vanishing = Worker(backend), Worker(backend)
    backend.submit(request("r", "a", "b"))
    a, b = leaving.each("a", "b")
    assert leaving.succeed(a)
    assert leaving.release(b)
    vanishing.one("b")
    expire_leases(backend, vanishing.id)
    backend._reap_at = 0.0
    backend.tick(leaving.id)
    assert leaving.succeed(leaving.one("b"), ends=True)
    backend.leave(leaving.id)
    backend._sweep_at = 0.0
    backend.tick(leaving.id)
    expire_leases(backend, leaving.id)
    assert backend.workers() == []
    name = f"here:{os.getpid()}"
    with open_store(server.url, "keys") as another:
        told = [(each.path, each.state, each.worker) for each in another.attempts("r")]
        assert told == [("a", "succeeded", name), ("b", "lost", name), ("b", "succeeded", name)]
        assert [each.worker for each in another.attempts_at("r", "b")] == [name, name]
    left = backend.link.ask("gf", "KEYS", f"{backend.keys.directory}:left:*")
    assert {backend.link.ask(key, "PTTL", key) > 0 for key in left} == {True}
