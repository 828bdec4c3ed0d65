"""What doctor finds in a Redis store, what it repairs, and what it leaves alone."""

from __future__ import annotations

import select
import time
from collections.abc import Iterator

import msgspec
import pytest

from goflow.backend import Finding
from goflow.config import Config, Redis
from goflow.errors import BackendError
from goflow.message import Claim
from goflow.state import RunState
from goflow.testing.store import FLOW, OTHER, Worker, closes, request, scopes
from goflow.testing.suite.watching import woken
from goflow_redis import RedisBackend
from goflow_redis.listing import SPAN
from tests.redis.hooks import documented_rule, expire_leases, open_store
from tests.redis.server import RedisServer
from tests.redis.test_keys import a_life, drain, leaks


@pytest.fixture
def backend(server: RedisServer) -> Iterator[RedisBackend]:
    """A connection to an empty store."""
    with open_store(server.url, "do*[c]") as opened:
        yield opened


@pytest.fixture
def prefix(backend: RedisBackend) -> str:
    """What the keys of the one partition begin with."""
    (partition,) = backend.keys.partitions
    return partition


def finding(backend: RedisBackend, name: str, *, fix: bool = False) -> Finding:
    """The one finding of that name."""
    (found,) = [each for each in backend.diagnose(fix) if each.name == name]
    return found


def repaired(backend: RedisBackend, name: str, *words: str) -> None:
    """A problem is told with these words, repaired once, and then gone."""
    found = finding(backend, name)
    assert not found.ok
    assert not found.fixed
    assert "goflow doctor --fix" in found.text
    assert all(word in found.text for word in words), found.text
    fixed = finding(backend, name, fix=True)
    assert (fixed.ok, fixed.fixed) == (True, True)
    for fix in (False, True):
        again = finding(backend, name, fix=fix)
        assert (again.ok, again.fixed) == (True, False), again.text


def succeed(backend: RedisBackend, run_id: str) -> None:
    """A run that has succeeded."""
    w = Worker(backend)
    backend.submit(request(run_id))
    assert w.succeed(w.one("a"), b"A", ends=True)
    backend.leave(w.id)


def test_a_store_in_use_has_no_problem_and_a_server_that_keeps_nothing_is_a_warning(
    backend: RedisBackend,
) -> None:
    for number, ending in enumerate(("succeeded", "failed", "stopped", "given up")):
        a_life(backend, f"r{number}", ending)
        if ending != "given up":
            drain(backend)
    w = Worker(backend)
    backend.submit(request("held"))
    claims = w.claim()
    assert claims
    backend.remember("nonce", 60)
    found = backend.diagnose(False)
    assert [each.name for each in found if not each.ok] == []
    (warning,) = [each for each in found if each.name == "persistence"]
    assert warning.warning
    assert "loses every run" in warning.text
    before = backend.runs()
    assert [each.name for each in backend.diagnose(True) if each.fixed] == []
    assert backend.runs() == before


def test_what_a_crash_may_lose_is_told(own: RedisServer) -> None:
    with open_store(own.url, "doctor") as backend:
        assert "nothing it has answered" in finding(backend, "persistence").text
        own.client.config_set("appendfsync", "everysec")
        assert "last second" in finding(backend, "persistence").text
        own.client.config_set("appendonly", "no")
        own.client.config_set("save", "3600 1")
        snapshots = finding(backend, "persistence")
        assert snapshots.ok
        assert "since the last snapshot" in snapshots.text


def test_a_user_who_may_not_ask_for_settings_is_told_the_rest(server: RedisServer) -> None:
    server.client.execute_command("ACL", "SETUSER", "goflow", "on", ">secret", *documented_rule())
    try:
        url = f"unix://goflow:secret@{server.socket}"
        with open_store(url, "doctor") as backend:
            succeed(backend, "r")
            found = backend.diagnose(True)
    finally:
        server.client.acl_deluser("goflow")
    assert [each for each in found if not each.ok] == []
    assert "no append-only file" in next(f.text for f in found if f.name == "persistence")


def test_a_policy_that_would_lose_work_is_a_problem_before_it_can(
    server: RedisServer, backend: RedisBackend
) -> None:
    assert finding(backend, "eviction").ok
    server.client.config_set("maxmemory-policy", "allkeys-lru")
    try:
        found = finding(backend, "eviction")
        assert not found.ok
        assert "noeviction" in found.text
        server.client.config_set("maxmemory-policy", "volatile-lru")
        found = finding(backend, "eviction")
        assert found.ok
        assert "before their retention" in found.text
    finally:
        server.client.config_set("maxmemory-policy", "noeviction")


def test_a_server_that_stands_still_while_it_frees_a_run_is_told(
    backend: RedisBackend, server: RedisServer
) -> None:
    name = "lazyfree-lazy-expire"
    before = server.client.config_get(name)[name]
    try:
        server.client.config_set(name, "no")
        assert "set lazyfree-lazy-expire yes" in finding(backend, "expiry").text
        server.client.config_set(name, "yes")
        assert "beside other work" in finding(backend, "expiry").text
    finally:
        server.client.config_set(name, before)


def test_a_server_that_is_almost_full_is_a_problem(
    server: RedisServer, backend: RedisBackend
) -> None:
    used = int(server.client.info("memory")["used_memory"])
    server.client.config_set("maxmemory", str(int(used * 1.05)))
    found = finding(backend, "memory")
    assert not found.ok
    assert "maxmemory" in found.text
    server.client.config_set("maxmemory", str(used * 10))
    assert finding(backend, "memory").ok


def test_a_key_that_holds_something_else_is_named_and_left_alone(
    server: RedisServer, backend: RedisBackend, prefix: str
) -> None:
    succeed(backend, "r")
    server.client.set(f"{prefix}:due", "mine")
    server.client.set(f"{prefix}:unheard-of", "mine")
    server.client.set(f"{prefix}x", "beside it")
    for fix in (False, True):
        found = finding(backend, "key types", fix=fix)
        assert not found.ok
        assert f"{prefix}:due holds a string, expected a zset" in found.text
        assert f"{prefix}:unheard-of holds a string, expected no such key" in found.text
        assert f"{prefix}x" not in found.text
    assert server.client.get(f"{prefix}:due") == b"mine"


def test_a_store_whose_first_key_holds_something_else_says_which(server: RedisServer) -> None:
    server.client.set("gf:{taken}:meta", "mine")
    with pytest.raises(BackendError, match=r"gf:\{taken\}:meta holds a string, expected a hash"):
        RedisBackend.open(server.url, Config(redis=Redis(url=server.url, namespace="taken")))


@pytest.mark.parametrize("ending", ["succeeded", "failed", "stopped"])
def test_keys_of_an_ended_run_that_would_stay_for_ever_get_their_expiry(
    server: RedisServer, backend: RedisBackend, prefix: str, ending: str
) -> None:
    a_life(backend, "r", ending)
    drain(backend)
    run = backend.run("r")
    for key in (f"{prefix}:r:r:d", f"{prefix}:r:r"):
        assert server.client.persist(key)
    repaired(backend, "leaks", "2 entries")
    kept = backend.dead if ending == "failed" else backend.retention
    assert kept - 60_000 < server.client.pttl(f"{prefix}:r:r:d") <= kept
    assert backend.run("r") == run
    assert leaks(server, backend) == []


def test_keys_of_a_run_that_has_gone_are_removed(
    server: RedisServer, backend: RedisBackend, prefix: str
) -> None:
    a_life(backend, "r", "failed")
    drain(backend)
    for key in server.client.keys("*r:r*"):
        server.client.persist(key)
    server.client.delete(f"{prefix}:r:r")
    assert not finding(backend, "leaks").ok
    backend.diagnose(True)
    assert [key for key in server.client.keys("*:r:r*") if server.client.pttl(key) == -1] == []
    assert leaks(server, backend) == []


def test_a_run_on_its_way_that_would_expire_is_kept(
    server: RedisServer, backend: RedisBackend, prefix: str
) -> None:
    backend.submit(request("r"))
    server.client.expire(f"{prefix}:r:r", 100)
    server.client.expire(f"{prefix}:r:r:d", 100)
    repaired(backend, "endangered", "2 entries", "on their way")
    assert server.client.pttl(f"{prefix}:r:r") == -1
    w = Worker(backend)
    assert w.succeed(w.one("a"), b"A", ends=True)


def test_a_run_that_no_list_shows_is_listed_again(
    server: RedisServer, backend: RedisBackend, prefix: str
) -> None:
    succeed(backend, "first")
    succeed(backend, "second")
    server.client.zrem(f"{prefix}:runs:{FLOW[0]}", "first")
    repaired(backend, "run list", "1 entry")
    assert [run.id for run in backend.runs(state=RunState.SUCCEEDED)] == ["second", "first"]
    assert [run.created for run in backend.runs()] == sorted(
        (run.created for run in backend.runs()), reverse=True
    )


def test_a_run_that_is_listed_under_another_state_or_flow_is_put_in_its_place(
    server: RedisServer, backend: RedisBackend, prefix: str
) -> None:
    succeed(backend, "first")
    backend.submit(request("second"))
    backend.submit(request("third"))
    server.client.zincrby(f"{prefix}:runs:{FLOW[0]}", 2 * SPAN, "second")
    server.client.zadd(f"{prefix}:runs:{OTHER[0]}", {"third": 1, "nobody": 1})
    assert [run.id for run in backend.runs(state=RunState.QUEUED)] == ["third"]
    repaired(backend, "run list", "2 entries")
    assert [run.id for run in backend.runs(state=RunState.QUEUED)] == ["third", "second"]
    assert [run.id for run in backend.runs()] == ["third", "second", "first"]
    assert not server.client.exists(f"{prefix}:runs:{OTHER[0]}")


def test_a_flow_that_the_list_of_flows_forgot_is_listed_again(
    server: RedisServer, backend: RedisBackend, prefix: str
) -> None:
    succeed(backend, "r")
    server.client.delete(f"{prefix}:flows")
    assert backend.runs() == []
    repaired(backend, "flow list", "1 entry")
    assert [run.id for run in backend.runs()] == ["r"]


def test_dates_of_runs_that_have_gone_are_removed_and_those_of_others_kept(
    server: RedisServer, backend: RedisBackend, prefix: str
) -> None:
    w = Worker(backend)
    backend.submit(request("r", timeout=1000.0))
    assert w.retry(w.one("a"), at=time.time() + 1000)
    server.client.zadd(f"{prefix}:due", {"t:gone": 1e15, "n:gone:each[1]/x": 1e15})
    repaired(backend, "orphans", "2 entries", "have gone")
    assert set(server.client.zrange(f"{prefix}:due", 0, -1)) == {b"t:r", b"n:r:a"}


def test_a_passing_key_without_an_expiry_gets_one(
    server: RedisServer, backend: RedisBackend, prefix: str
) -> None:
    w = Worker(backend)
    backend.submit(request("r", "each"))
    each = w.one("each")
    backend.stage(each.task, scopes("each", "12"))
    (staged,) = server.client.keys("*:r:r:t:*")
    assert server.client.persist(staged)
    repaired(backend, "passing keys", staged.decode())
    assert server.client.pttl(staged) > 0
    assert w.open(each, scopes("each", "3"), expects=3), "what was staged is still there"
    for claim in w.claim():
        assert w.succeed(claim, b"", closes("each", claim.task.path[5]))
    assert w.succeed(w.one("each"), b"all", ends=True)


def test_a_queue_that_no_worker_would_look_at_is_found_again(
    server: RedisServer, backend: RedisBackend, prefix: str
) -> None:
    backend.submit(request("r"))
    server.client.delete(f"{prefix}:classes")
    repaired(backend, "queues", ":".join(FLOW))
    with open_store(server.url, backend.keys.namespace) as other:
        w = Worker(other)
        assert w.succeed(w.one("a"), b"A", ends=True)


def test_tasks_of_vanished_workers_are_a_problem_while_nobody_can_take_them(
    backend: RedisBackend,
) -> None:
    w = Worker(backend)
    backend.submit(request("r"))
    w.one("a")
    assert finding(backend, "workers").text == "1 alive"
    expire_leases(backend, w.id)
    found = finding(backend, "workers")
    assert not found.ok
    assert "1 task held" in found.text
    assert "start a worker" in found.text
    other = Worker(backend)
    assert finding(backend, "workers").ok
    backend.tick(other.id)
    assert other.paths() == ["a"]
    assert backend.run("r").state is RunState.RUNNING


@pytest.mark.parametrize("state", ["ready", "running", "retrying", "parked", "open"])
def test_work_that_nothing_would_ever_take_is_put_back(
    server: RedisServer, backend: RedisBackend, prefix: str, state: str
) -> None:
    """Whatever removed the entry: a trimmed stream, a date or a list that somebody deleted."""
    w = Worker(backend)
    backend.submit(request("r", timeout=1000.0))
    queue = f"{prefix}:q:{':'.join(FLOW)}"
    late: list[Claim] = []
    if state == "ready":
        server.client.xtrim(queue, maxlen=0)
    elif state == "running":
        late = [w.one("a")]
        server.client.xtrim(queue, maxlen=0)
    elif state == "retrying":
        assert w.retry(w.one("a"), at=0)
        server.client.zrem(f"{prefix}:due", "n:r:a")
    elif state == "parked":
        backend.control("r", "pause")
        assert w.claim() == []
        backend.control("r", "resume")
        backend.control("r", "pause")
        assert w.claim() == []
        server.client.delete(f"{prefix}:r:r:k")
        backend.control("r", "resume")
    else:
        assert w.open(w.one("a"), scopes("a", "12"), expects=2, window=1)
        assert w.succeed(w.one("a[1]/x"), b"1", closes("a", "1"))
        assert w.release(w.one("a[2]/x"))
        server.client.xtrim(queue, maxlen=0)
    backend.tick(w.id)
    assert w.claim() == []
    repaired(backend, "lost work", "1 entry", "never be taken")
    backend.tick(w.id)
    (again,) = w.claim()
    assert [w.succeed(claim) for claim in late] == [False] * len(late)
    last = again.task.path == "a[2]/x"
    assert w.succeed(again, b"", *([closes("a", "2")] if last else []), ends=not last)
    if last:
        assert w.succeed(w.one("a"), b"all", ends=True)
    assert backend.run("r").state is RunState.SUCCEEDED
    assert leaks(server, backend) == []


def rewrite(server: RedisServer, key: str, field: str, *values: tuple[int, object]) -> None:
    """Put values in these places of a record, as an error or an older release might have left it."""
    told = server.client.hget(key, field)
    assert isinstance(told, bytes)
    record = msgspec.msgpack.decode(told)
    for place, value in values:
        record[place] = value
    server.client.hset(key, field, msgspec.msgpack.encode(record))


@pytest.mark.parametrize("handlers", [(), ("~finally",)], ids=["plain", "finally"])
def test_a_stopping_run_whose_held_work_is_lost_gets_to_its_end(
    server: RedisServer, backend: RedisBackend, prefix: str, handlers: tuple[str, ...]
) -> None:
    w = Worker(backend)
    backend.submit(request("r", handlers=handlers))
    late = w.one("a")
    assert backend.control("r", "stop").state is RunState.STOPPING
    server.client.xtrim(f"{prefix}:q:{':'.join(FLOW)}", maxlen=0)
    repaired(backend, "lost work", "1 entry")
    assert not w.succeed(late, ends=True)
    for path in handlers:
        assert w.succeed(w.one(path))
    assert backend.run("r").state is RunState.STOPPED
    assert leaks(server, backend) == []


@pytest.mark.parametrize("handlers", [(), ("~finally",)], ids=["plain", "finally"])
def test_a_run_about_to_end_that_nothing_holds_is_moved_on(
    server: RedisServer, backend: RedisBackend, prefix: str, handlers: tuple[str, ...]
) -> None:
    w = Worker(backend)
    backend.submit(request("r", handlers=handlers))
    w.one("a")
    backend.control("r", "stop")
    server.client.xtrim(f"{prefix}:q:{':'.join(FLOW)}", maxlen=0)
    rewrite(server, f"{prefix}:r:r", ":s", (4, 0))
    rewrite(server, f"{prefix}:r:r", "a", (0, "K"), (1, "-"))
    repaired(backend, "lost work", "1 entry")
    for path in handlers:
        assert w.succeed(w.one(path))
    assert backend.run("r").state is RunState.STOPPED


def test_a_handler_that_waits_for_the_end_of_no_pause_is_put_back(
    server: RedisServer, backend: RedisBackend, prefix: str
) -> None:
    w = Worker(backend)
    backend.submit(request("r", handlers=("~finally",)))
    claim = w.one("a")
    backend.control("r", "pause")
    assert w.fail(claim)
    assert finding(backend, "lost work").ok, "it waits for the end of the pause"
    rewrite(server, f"{prefix}:r:r", ":s", (0, "running"))
    assert w.claim() == []
    repaired(backend, "lost work", "1 entry")
    assert w.succeed(w.one("~finally"))
    assert backend.run("r").state is RunState.FAILED


def test_parked_nodes_that_are_put_back_wake_an_idle_worker(
    server: RedisServer, backend: RedisBackend, prefix: str
) -> None:
    w, waker = Worker(backend), backend.watch()
    try:
        backend.submit(request("r", *(f"n{number}" for number in range(300))))
        backend.control("r", "pause")
        assert w.claim() == []
        backend.control("r", "resume")
        server.client.delete(f"{prefix}:p:{':'.join(FLOW)}")
        while claims := w.claim():
            for claim in claims:
                assert w.succeed(claim)
        while select.select([waker], [], [], 0.1)[0]:  # of the end of the pause it hears as well
            waker.clear()
            assert w.claim() == []
        with open_store(server.url, backend.keys.namespace) as another:
            assert finding(another, "lost work", fix=True).fixed
        assert woken(waker)
        assert w.claim()
    finally:
        waker.close()


def test_a_queue_that_somebody_removed_is_forgotten_until_work_comes_back(
    server: RedisServer, backend: RedisBackend, prefix: str
) -> None:
    w = Worker(backend)
    backend.submit(request("r"))
    server.client.delete(f"{prefix}:q:{':'.join(FLOW)}")
    backend._sweep_at = 0.0
    backend.tick(w.id)
    assert backend.classes(prefix) == []
    repaired(backend, "lost work", "1 entry")
    assert backend.classes(prefix) == [":".join(FLOW)]
    assert w.succeed(w.one("a"), ends=True)


def test_a_queue_that_was_forgotten_is_listed_again_when_a_retry_falls_due(
    server: RedisServer, backend: RedisBackend, prefix: str
) -> None:
    w = Worker(backend)
    backend.submit(request("r"))
    assert w.retry(w.one("a"), at=0)
    server.client.delete(f"{prefix}:q:{':'.join(FLOW)}")
    backend._sweep_at = time.monotonic() + 60
    backend._sweep(prefix)
    assert backend.classes(prefix) == []
    backend.tick(w.id)
    held = w.one("a")
    assert backend.classes(prefix) == [":".join(FLOW)]
    expire_leases(backend, w.id)
    backend.tick(w.id)
    assert not w.succeed(held), "whoever vanished with it is noticed"
    assert w.succeed(w.one("a"), ends=True)


@pytest.mark.parametrize("starts", [("a",), tuple(f"n{number}" for number in range(250))])
def test_a_timeout_whose_date_has_gone_is_put_back(
    server: RedisServer, backend: RedisBackend, prefix: str, starts: tuple[str, ...]
) -> None:
    w = Worker(backend)
    backend.submit(request("r", *starts, timeout=1000.0))
    w.one()
    (before,) = server.client.zrange(f"{prefix}:due", 0, -1, withscores=True)
    server.client.delete(f"{prefix}:due")
    repaired(backend, "lost work", "1 entry")
    assert server.client.zrange(f"{prefix}:due", 0, -1, withscores=True) == [before]
