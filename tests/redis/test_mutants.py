"""A test of the tests: each fence or check taken out of a script must make one of them fail.

A mutant is a script's part with a piece of text replaced; the checks named with it, which hold for the real
scripts, are run over it.
"""

from __future__ import annotations

import functools
import inspect
import re
import select
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from goflow.backend import Backend, FlowKey, Retry, Waker
from goflow.errors import GoflowError
from goflow.message import Claim, Rewind
from goflow.payload import Payload
from goflow.state import RunState
from goflow.testing.conformance import BackendConformance
from goflow.testing.store import (
    FLOW,
    Store,
    Worker,
    closes,
    edge,
    failure,
    outcome,
    request,
    scopes,
    success,
)
from goflow_redis import RedisBackend, scripts, waker
from tests.redis import bells, test_faults, wide, zombies
from tests.redis.hooks import RedisHooks, expire_leases, open_store, shared_server, teach
from tests.redis.proxy import Proxy

Check = str | Callable[[Store], None]


class Mutant(NamedTuple):
    """What is taken out of which file, and the checks of which one must notice."""

    name: str
    file: str
    text: str
    instead: str
    checks: tuple[Check, ...]
    #: whether every one of them must, and not just any
    each: bool = False


_ENTRY_ALONE = "string.match({}, '^[%d-]*')"


# -- checks beside those of the suite -------------------------------------------------------------


def the_queue_is_empty_in_the_end(store: Store) -> None:
    """After a vanished worker and a finished run nothing waits, is held or is due."""
    gone, w = store.worker(own=True), store.worker()
    store.submit("r", "a", "b")
    gone.each("a", "b")
    store.vanish(gone)
    store.tick()
    for claim in w.each("a", "b"):
        assert w.succeed(claim, b"", ends=claim.task.path == "a")
    backend = redis_of(store)
    queue = backend.keys.queue(backend.keys.partitions[0], *FLOW)
    assert backend.link.ask(queue, "XLEN", queue) == 0
    assert backend.link.ask(queue, "XPENDING", queue, "g")[0] == 0


def a_forgotten_run_is_listed_no_more(store: Store) -> None:
    """Not even as one that has gone, which no list of the seam would tell."""
    w = store.worker()
    store.submit("r")
    assert w.succeed(w.one("a"), b"", ends=True)
    store.backend.forget("r")
    keys = redis_of(store).keys
    assert redis_of(store).link.ask("r", "EXISTS", keys.runs(keys.partitions[0], FLOW[0])) == 0


def many_parked_tasks_come_back(store: Store) -> None:
    """More parked tasks than one script resumes are all ready again."""
    w = queued(store, 700)
    store.backend.control("r", "pause")
    assert w.claim(1000) == []
    store.backend.control("r", "resume")
    assert len({claim.task.path for claim in w.claim(1000)}) == 700


def queued(store: Store, count: int, *handlers: str) -> Worker:
    """A worker of a run so many of whose starts are in the queue: asked for, and handed back."""
    w = store.worker()
    store.submit("r", *(f"n{number}" for number in range(count)), handlers=handlers)
    for claim in w.claim(count):
        assert w.release(claim)
    return w


def handlers_do_not_wait_for_all_that_a_pause_kept_back(store: Store) -> None:
    """More than one script resumes are parked in a run that has failed."""
    w = queued(store, 300, "~finally")
    claim = w.one()
    store.backend.control("r", "pause")
    assert w.claim(1000) == []
    assert w.fail(claim)
    store.backend.control("r", "resume")
    assert w.succeed(w.one("~finally"))


def an_old_retry_does_not_disturb_a_new_round(store: Store) -> None:
    """A retry that was due before the run was stopped does not start a held node again."""
    w = store.worker()
    store.submit("r")
    assert w.retry(w.one("a"), at=0)
    store.backend.control("r", "stop")
    store.backend.retry("r", Retry())
    held = w.one("a")
    store.tick()
    assert w.claim() == []
    assert w.succeed(held, b"A", ends=True)


def a_queue_that_was_forgotten_is_known_when_something_of_it_comes_due(store: Store) -> None:
    """A retry that waits longer than an empty queue is kept finds it registered again, with its group."""
    w = store.worker()
    store.submit("r")
    assert w.retry(w.one("a"), at=0)
    backend = redis_of(store)
    (partition,) = backend.keys.partitions
    queue = backend.keys.queue(partition, *FLOW)
    backend.link.ask(queue, "UNLINK", queue)
    backend.link.ask(queue, "SREM", f"{partition}:classes", ":".join(FLOW))
    store.tick()
    assert backend.classes(partition) == [":".join(FLOW)]
    assert backend.link.ask(queue, "XINFO", "GROUPS", queue)
    assert w.one("a").task.attempt == 2


def stopped_with_branches(store: Store, count: int) -> tuple[Worker, list[str]]:
    """A worker of a run that was stopped with so many open branches, and their names."""
    w, names = store.worker(), [f"n{number}" for number in range(count)]
    store.submit("r", *names)
    for claim in w.claim(len(names)):
        assert w.open(claim, scopes(claim.task.path, "ab"), expects=2, window=1)
    store.backend.control("r", "stop")
    return w, names


def scopes_of_very_many_branches_expire_in_pieces(store: Store) -> None:
    """Of a run that ends with more open branches than a call may look at, all scopes expire, some at a time."""
    w, names = stopped_with_branches(store, 1100)
    backend = redis_of(store)
    keys = [f"{backend.keys.run('r')}:s:{name}" for name in names]
    counts = []
    for _ in range(15):
        lives = backend.link.ask_all("r", [("PTTL", key) for key in keys])
        counts.append(lives.count(-1))
        backend.tick(w.id)
    assert counts[0] == len(names)
    assert counts[-1] == 0
    assert counts[1] > 0


def scopes_of_very_many_branches_go_after_their_run(store: Store) -> None:
    """Where nobody worked until the run was gone, its scopes go all the same."""
    w, names = stopped_with_branches(store, 600)
    backend = redis_of(store)
    run = backend.keys.run("r")
    for suffix in ("", ":d", ":l", ":x"):
        if backend.link.ask(run, "PTTL", run + suffix) > 0:
            backend.link.ask(run, "UNLINK", run + suffix)
    for _ in range(9):
        backend.tick(w.id)
    left = [name for name in names if backend.link.ask(run, "EXISTS", f"{run}:s:{name}")]
    assert left == [], "nobody will ever remove them"


def a_renewed_lease_holds(store: Store) -> None:
    """What was renewed a moment ago is not taken back."""
    w = store.worker()
    store.submit("r")
    held = w.one("a")
    expire_leases(redis_of(store), w.id)
    assert w.lost(held) == []
    store.tick()
    assert store.worker().claim() == []


def expire_staged(store: Store, branch: Claim) -> None:
    """What was staged for a branch of run `r` is gone."""
    backend = redis_of(store)
    entry = branch.task.token.rpartition(":")[2]
    assert backend.link.ask("", "UNLINK", f"{backend.keys.run('r')}:t:{entry}") == 1


def staged_scopes_that_expired_are_not_opened_without(store: Store) -> None:
    """A branch whose staged scopes are gone opens afresh."""
    w = store.worker()
    store.submit("r", "each")
    branch = w.one("each")
    store.backend.stage(branch.task, scopes("each", "ab"))
    expire_staged(store, branch)
    assert not w.open(branch, scopes("each", "c"), expects=3, keys=tuple("abc"))
    assert w.one("each").task.token != branch.task.token


def a_run_that_stops_does_not_wait_for_scopes_that_expired(store: Store) -> None:
    """A branch whose staged scopes are gone does not keep its run from being stopped."""
    w = store.worker()
    store.submit("r", "each")
    branch = w.one("each")
    store.backend.stage(branch.task, scopes("each", "ab"))
    expire_staged(store, branch)
    store.backend.control("r", "stop")
    assert not w.open(branch, scopes("each", "c"), expects=3)
    assert store.state() is RunState.STOPPED


def a_finished_run_expires(store: Store) -> None:
    """Every key of a finished run has a lifetime."""
    w = store.worker()
    store.submit("r")
    assert w.succeed(w.one("a"), b"A", ends=True, log=b"printed")
    backend = redis_of(store)
    for key in (backend.keys.run("r"), *(f"{backend.keys.run('r')}:{x}" for x in "dl")):
        assert backend.link.ask(key, "PTTL", key) > 0


def an_arrival_counts_once(store: Store) -> None:
    """Two nodes that send under the same source do not complete a join of two."""
    w = store.worker()
    store.submit("r", "a", "b")
    a, b = w.each("a", "b")
    assert w.succeed(a, b"A", edge("same", "join", 2))
    assert w.succeed(b, b"B", edge("same", "join", 2))
    assert w.claim() == []
    assert [source for source, _ in store.backend.arrivals("r", "join")] == ["same"]


def no_task_waits_in_a_failed_run(store: Store) -> None:
    """What becomes complete in a failed run does not wait for a worker."""
    w = store.worker()
    store.submit("r", "a", "b")
    a, b = w.each("a", "b")
    assert w.fail(a)
    assert w.succeed(b, b"B", edge("b", "c"))
    backend = redis_of(store)
    queue = backend.keys.queue(backend.keys.partitions[0], *FLOW)
    assert backend.link.ask(queue, "XLEN", queue) == 0


def no_queued_task_starts_in_a_failed_run(store: Store) -> None:
    """A task that was queued when its run failed is not given to anybody."""
    w = store.worker()
    store.submit("r", "a", "b")
    assert w.fail(w.one("a"))
    assert w.claim() == []


def no_scope_starts_in_a_failed_run(store: Store) -> None:
    """A scope that closes in the call that fails its run lets no other begin."""
    w = store.worker()
    store.submit("r", "each")
    assert w.open(w.one("each"), scopes("each", "abc"), expects=3, window=2)
    a, b = w.each("each[a]/x", "each[b]/x")
    closed = success(a, b"A", closes("each", "a"))
    failed = outcome(b, failure=failure(b, "boom"))
    assert w.backend.commit([closed, failed])[0] == [True, True]
    assert sorted(store.nodes()) == ["each", "each[a]/x", "each[b]/x"]


def a_handler_handed_back_comes_before_the_next(store: Store) -> None:
    """`~finally` waits for an `~on_failure` that was handed back."""
    w = store.worker()
    store.submit("r", handlers=("~on_failure", "~finally"))
    assert w.fail(w.one("a"))
    assert w.release(w.one("~on_failure"))
    assert w.paths() == ["~on_failure"]


def a_change_of_a_run_is_heard(store: Store) -> None:
    """Whoever watches a run wakes when it is paused."""
    store.submit("r")
    waker = store.backend.watch("r")
    try:
        store.backend.control("r", "pause")
        assert select.select([waker], [], [], 0.5)[0]
    finally:
        waker.close()


def the_second_of_one_moment_is_found(store: Store) -> None:
    """Two tasks that became ready at once are there for two claims of one."""
    w = store.worker()
    store.submit("r", "a", "b")
    assert sorted(claim.task.path for claim in (w.one(), w.one())) == ["a", "b"]


def an_outcome_counts_though_nothing_waits(store: Store) -> None:
    """A commit that asks for more is recorded where there is no more."""
    w = store.worker()
    store.submit("r")
    done = success(w.one("a"), b"A", ends=True)
    try:
        assert w.backend.commit([done], w.ask())[0] == [True]
    except ValueError as error:  # an answer of another length
        raise AssertionError from error


def the_only_task_is_given_though_the_answer_is_lost(
    proxy: Proxy, backend: RedisBackend, w: Worker, moment: str
) -> None:
    """The repeat of a claim that took all there was."""
    backend.submit(request("r"))
    proxy.arm(moment)
    assert w.paths() == ["a"]
    assert proxy.cuts == 1


def rings(waker: Waker, seconds: float) -> bool:
    """Whether it wakes."""
    return bool(select.select([waker], [], [], seconds)[0])


def who_waits_for_the_end_hears_of_it_alone(store: Store) -> None:
    """A pause does not wake it, the end does."""
    store.submit("r")
    waker = redis_of(store).watch_end("r")
    try:
        store.backend.control("r", "pause")
        assert not rings(waker, 0.1)
        store.backend.control("r", "stop")
        assert rings(waker, 0.5)
    finally:
        waker.close()


def a_run_whose_end_submit_tells_ends_with_its_result(store: Store) -> None:
    """Who has waited for a run alone need not ask to be told of the next, nor for what it made."""
    w, backend = store.worker(own=True), redis_of(store)
    for name in ("r", "s"):
        store.submit(name)
        assert backend.end_told == (name if name == "s" else "")
        waker = backend.watch_end(name)
        try:
            assert not rings(waker, 0.05)
            assert w.succeed(w.one("a"), b"made", ends=True)
            assert rings(waker, 0.5)
            told = waker.made()
            assert told is not None
            assert told.data == b"made"
        finally:
            waker.close()


def who_watches_all_hears_all_beside_who_waits_for_the_end(store: Store) -> None:
    """Somebody who comes later and wants less takes nothing from it."""
    store.submit("r")
    of_all, of_end = redis_of(store).watch("r"), redis_of(store).watch_end("r")
    try:
        store.backend.control("r", "pause")
        assert rings(of_all, 0.5)
    finally:
        of_all.close()
        of_end.close()


def many_unfinished_nodes_go_on(store: Store) -> None:
    """A new round of more nodes than one script resets has all of them, once, though pieces are repeated."""
    w, names = store.worker(), [f"n{number}" for number in range(300)]
    backend = redis_of(store)
    store.submit("r", *names)
    claims = w.claim(300)
    backend.control("r", "stop")
    assert all(w.backend.commit([outcome(claim, stopped=True) for claim in claims])[0])
    run = backend.link.run

    def twice(script: str, partition: str, args: Any) -> Any:
        if script == "prepare":
            run(script, partition, args)
        return run(script, partition, args)

    backend.link.run = twice  # type: ignore[method-assign]
    backend.retry("r", Retry())
    assert len(backend.attempts("r")) == 300
    parked = f"{backend.keys.run('r')}:k"
    assert backend.link.ask(parked, "LLEN", parked) == 300 - 64
    assert sorted(claim.task.path for claim in w.claim(1000)) == sorted(names)


def many_failed_nodes_have_all_their_attempts_again(store: Store) -> None:
    """In a new round of more nodes than one script resets each makes its first attempt."""
    w, names = store.worker(), [f"n{number}" for number in range(300)]
    store.submit("r", *names)
    for later in (0.0, None):
        claims = w.claim(300)
        failed = [outcome(c, failure=failure(c, "boom"), retry_at=later) for c in claims]
        assert all(w.backend.commit(failed)[0])
        store.tick()
    store.backend.retry("r", Retry())
    assert [claim.task.attempt for claim in w.claim(1000)] == [1] * 300


def nothing_is_left_of_what_ended_beside_a_held_task(store: Store) -> None:
    """Of tasks that were claimed after one that is still held, none stays in the queue."""
    w = store.worker()
    store.submit("r", *"abcdef")
    held, *others = w.claim(6)
    done = [success(claim, b"", ends=False) for claim in others]
    assert all(w.backend.commit(done)[0])
    queue = queue_of(store)
    assert redis_of(store).link.ask(queue, "XLEN", queue) == 1
    assert w.succeed(held, b"", ends=True)
    assert redis_of(store).link.ask(queue, "XLEN", queue) == 0


def the_queue_is_empty_after_many(store: Store) -> None:
    """Many that end at once leave nothing."""
    w = store.worker()
    store.submit("r", *"abcdef")
    done = [success(claim, b"", ends=claim.task.path == "f") for claim in w.claim(6)]
    assert all(w.backend.commit(done)[0])
    assert redis_of(store).link.ask("", "XLEN", queue_of(store)) == 0


def what_was_not_delivered_stays(store: Store) -> None:
    """A group that was made anew has delivered less than what its workers hold."""
    w = store.worker()
    store.submit("r", *"abcdefgh")
    claims, queue = w.claim(8), queue_of(store)
    ask = redis_of(store).link.ask
    ask(queue, "XGROUP", "DESTROY", queue, "g")
    ask(queue, "XGROUP", "CREATE", queue, "g", "0")
    ask(queue, "XREADGROUP", "GROUP", "g", "60000", "COUNT", 4, "STREAMS", queue, ">")
    done = [success(claim, b"", ends=False) for claim in (*claims[:4], claims[7])]
    assert all(w.backend.commit(done)[0])
    assert ask(queue, "XLEN", queue) == 3


def queue_of(store: Store, flow: FlowKey = FLOW) -> str:
    """The queue of a flow."""
    backend = redis_of(store)
    return backend.keys.queue(backend.keys.partitions[0], *flow)


def bell_of(store: Store, flow: FlowKey = FLOW) -> str:
    """What rings for it."""
    return queue_of(store, flow).replace(":q:", ":b:")


OTHER = ("other", FLOW[1])


def resting(store: Store, *flows: FlowKey) -> tuple[Worker, waker.QueueWaker]:
    """A worker that listens to these flows, and has found nothing in their queues."""
    w = store.worker(*flows, own=True)
    for flow in flows:  # there are queues
        store.submit(f"before-{flow[0]}", flow=flow)
        store.backend.control(f"before-{flow[0]}", "stop")
    ear = redis_of_worker(w).watch()
    assert isinstance(ear, waker.QueueWaker)
    assert w.claim() == []
    return w, ear


def rung(ear: waker.QueueWaker, bell: str) -> None:
    """Wait until it has heard this bell."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        rings(ear, 0.1)
        ear.clear()
        if bell in (ear._rung[bell.partition(":b:")[0]] or ()):
            return
    raise AssertionError(f"{bell} did not ring")


def what_rang_and_what_an_outcome_makes_ready_are_claimed_together(store: Store) -> None:
    """The queue of what is committed is looked into though it has not rung, and so is the one that has."""
    w, ear = resting(store, FLOW, OTHER)
    store.submit("r")
    rung(ear, bell_of(store))
    (claim,) = w.claim(9)
    store.submit("s", flow=OTHER)
    rung(ear, bell_of(store, OTHER))
    _, claims = w.backend.commit([success(claim, b"", edge("a", "b"))], w.ask(9))
    assert sorted(each.task.path + each.task.run_id for each in claims) == ["as", "br"]
    ear.close()


def a_queue_it_does_not_listen_to_is_looked_into(store: Store) -> None:
    """A flow that is asked for since a moment is looked for whichever queue rang."""
    w, ear = resting(store, FLOW)
    both = Worker(w.backend, (FLOW, OTHER))
    store.submit("s")
    rung(ear, bell_of(store))
    store.submit("r", flow=OTHER)
    assert sorted(claim.task.run_id for claim in both.claim(9)) == ["r", "s"]
    ear.close()


def another_thread_looks_into_every_queue(store: Store) -> None:
    """What rang for one thread's worker says nothing to the others."""
    w, ear = resting(store, FLOW, OTHER)
    store.submit("r")
    rung(ear, bell_of(store))
    store.submit("s", flow=OTHER)
    found: list[Claim] = []
    thread = threading.Thread(target=lambda: found.extend(w.claim(9)))
    thread.start()
    thread.join()
    assert sorted(claim.task.run_id for claim in found) == ["r", "s"]
    ear.close()


def once_in_a_while_all_are_looked_into(store: Store) -> None:
    """What was not heard of is found though another queue rings."""
    w, ear = resting(store, FLOW, OTHER)
    store.submit("r", flow=OTHER)
    rung(ear, bell_of(store, OTHER))
    ear._rung[redis_of(store).keys.partitions[0]] = {bell_of(store)}
    assert w.claim() == [], "it has looked into all a moment ago"
    ear._rung[redis_of(store).keys.partitions[0]] = {bell_of(store)}
    ear._round_at.clear()
    assert w.paths() == ["a"]
    ear.close()


def what_attempts_read_goes_with_its_run(store: Store) -> None:
    """It has an expiry once the run has ended, and none in a round that follows."""
    w = store.worker()
    store.submit("r")
    made = success(w.one("a"), b"", ends=True, writes={"k": Payload(b"v")})
    assert w.commit(made)
    key = f"{redis_of(store).keys.run('r')}:c"
    assert redis_of(store).link.ask(key, "PTTL", key) > 0
    store.backend.retry("r", Retry(rewind=Rewind(removed=("a",), ready=("a",))))
    assert redis_of(store).link.ask(key, "PTTL", key) == -1


def redis_of_worker(w: Worker) -> RedisBackend:
    """A worker's connection."""
    assert isinstance(w.backend, RedisBackend)
    return w.backend


def redis_of(store: Store) -> RedisBackend:
    """The store's first connection."""
    assert isinstance(store.backend, RedisBackend)
    return store.backend


def cut(check: Callable[..., None]) -> Callable[[Store], None]:
    """A check of the faults, with its answer lost."""

    def run(store: Store) -> None:
        proxy = Proxy(shared_server().socket)
        backend = open_store(proxy.url, redis_of(store).keys.namespace)
        backend.link._scripts = redis_of(store).link._scripts
        teach(backend, shared_server())
        try:
            check(proxy, backend, Worker(backend), "after")
        finally:
            backend.close()
            proxy.close()

    return run


MUTANTS = [
    Mutant(
        "a run stays listed under the state it had",
        "_records",
        "    if state ~= run.listed then\n",
        "    if false then\n",
        ("test_a_run_is_listed_under_the_state_it_is_in",),
    ),
    Mutant(
        "a forgotten run stays in its list",
        "forget",
        "call('ZREM', list_key(run.flow), id)",
        "",
        (a_forgotten_run_is_listed_no_more,),
    ),
    Mutant(
        "a context value that is written over is forgotten",
        "commit",
        "    if last > 0 or old ~= '' then set_data(run, 'w:' .. last .. ':' .. key, old) end\n",
        "",
        ("test_each_value_stays_a_version_in_the_order_of_commits",),
    ),
    Mutant(
        "earlier context values are kept without a limit",
        "commit",
        "    while kept > HISTORY do\n",
        "    while false do\n",
        ("test_of_each_key_the_oldest_versions_go_first",),
    ),
    Mutant(
        "what an attempt wrote has the number of the value before it",
        "commit",
        "made[index] = last + 1",
        "made[index] = last",
        ("test_an_attempt_is_told_with_what_it_read_and_wrote",),
    ),
    Mutant(
        "what attempts read stays for ever",
        "_records",
        "'[alcm]'",
        "'[alm]'",
        (what_attempts_read_goes_with_its_run,),
    ),
    Mutant(
        "a commit is not fenced",
        "commit",
        "if node and node[ENTRY] == head[HELD] then",
        "if node then",
        ("test_a_late_commit_changes_nothing",),
    ),
    Mutant(
        "a commit counts whatever the state",
        "commit",
        "    if node[STATE] == 'R' then\n      answer",
        "    if true then\n      answer",
        ("test_the_same_commit_twice_changes_nothing",),
    ),
    Mutant(
        "a repeated commit is refused",
        "commit",
        "      answer = '1'   -- the same once more\n",
        "      answer = '0'\n",
        (cut(test_faults.test_a_cut_commit_counts_once_and_brings_the_next_tasks),),
    ),
    Mutant(
        "a claim is not remembered",
        "commit",
        "call('SET', memory, name",
        "call('SET', memory .. ':', name",
        (cut(test_faults.test_a_cut_claim_loses_no_task),),
    ),
    Mutant(
        "expired scopes are not missed",
        "commit",
        "if head[STAGED] >= 0 and staged ~= head[STAGED] then",
        "if false then",
        (staged_scopes_that_expired_are_not_opened_without,),
    ),
    Mutant(
        "an opening that is refused settles nothing",
        "commit",
        "    if not opened then return '0' end\n",
        "    if not opened then settled[run] = nil return '0' end\n",
        (a_run_that_stops_does_not_wait_for_scopes_that_expired,),
    ),
    Mutant(
        "a wide branch starts its first scopes only",
        "commit",
        "if room(node) > 0 then call('ZADD', pump_key",
        "if false then call('ZADD', pump_key",
        ("test_a_wide_fan_out_opens_in_chunks_and_closes_with_every_result",),
    ),
    Mutant(
        "a failure does not end the run",
        "commit",
        "if not is_handler(node) then set_ending(run, 'failed', failure) end",
        "",
        ("test_a_node_that_failed_for_good_fails_the_run",),
    ),
    Mutant(
        "a submit is not recognised",
        "submit",
        "local known = call('HGET', key, ':d')",
        "local known = false",
        ("test_submitting_again_changes_nothing_of_a_run_that_is_on_its_way",),
    ),
    Mutant(
        "a digest is not compared",
        "submit",
        "known == digest and 'same' or 'conflict'",
        "'same'",
        ("test_the_same_id_with_another_digest_is_a_conflict",),
    ),
    Mutant(
        "the reaper keeps the old entry",
        "reap",
        "  acknowledge(class, entry)\n",
        "",
        (the_queue_is_empty_in_the_end,),
    ),
    Mutant(
        "a lost worker is not counted",
        "reap",
        "node[LOST] = node[LOST] + 1",
        "node[LOST] = node[LOST]",
        ("test_every_vanished_worker_counts",),
    ),
    Mutant(
        "the reaper leaves the node as it is",
        "reap",
        "      requeue(run, node)\n",
        "",
        ("test_a_vanished_workers_tasks_are_ready_again",),
    ),
    Mutant(
        "a lease is not renewed",
        "renew",
        "  for first = 1, #entries, 1000 do",
        "  for first = 1, 0 do",
        (a_renewed_lease_holds,),
    ),
    Mutant(
        "an entry handed out again is held as before",
        "_take",
        "local hold = entry .. letters\n",
        "local hold = entry\n",
        zombies.CHECKS,
        each=True,
    ),
    Mutant(
        "a commit looks at the entry alone",
        "commit",
        "if node and node[ENTRY] == head[HELD] then",
        "if node and entry_of(node[ENTRY]) == entry_of(head[HELD]) then",
        (zombies.its_outcome_is_refused, zombies.it_cannot_hand_the_task_back),
        each=True,
    ),
    Mutant(
        "a renewal looks at the entry alone",
        "renew",
        "node[ENTRY] == held",
        "entry_of(node[ENTRY]) == entry_of(held)",
        (zombies.its_renewal_keeps_no_lease,),
    ),
    Mutant(
        "staging looks at the entry alone",
        "stage",
        "node[ENTRY] ~= held then return -1 end\n",
        f"{_ENTRY_ALONE.format('node[ENTRY]')} ~= {_ENTRY_ALONE.format('held')} then return -1 end\n"
        "held = node[ENTRY]\n",
        (zombies.its_scopes_are_not_among_those_of_the_holder,),
    ),
    Mutant(
        "printing looks at the entry alone",
        "printed",
        "node[ENTRY] == held",
        f"{_ENTRY_ALONE.format('node[ENTRY]')} == {_ENTRY_ALONE.format('held')}",
        (zombies.what_it_prints_is_not_kept,),
    ),
    Mutant(
        "a renewal does not look at the hold",
        "renew",
        "node[STATE] == 'R' and node[ENTRY] == held",
        "node[STATE] == 'R'",
        ("test_a_task_that_is_no_longer_held_cannot_be_renewed",),
    ),
    Mutant(
        "a stop kills nothing",
        "control",
        "  run.kill = 1\n",
        "",
        ("test_stopping_kills_what_runs_and_starts_nothing",),
    ),
    Mutant(
        "resume forgets parked nodes",
        "control",
        "if unpark(run, 128) then demand_all(run, {''}) end",
        "unpark(run, 128)",
        (many_parked_tasks_come_back,),
    ),
    Mutant(
        "resume leaves handlers among what is parked",
        "control",
        "  if run.ending ~= '-' then return free_handlers() end\n",
        "",
        (handlers_do_not_wait_for_all_that_a_pause_kept_back,),
    ),
    Mutant(
        "resume wakes nobody",
        "control",
        "'*', 'resume', id)",
        "'1-1', 'resume', id)",
        ("test_everyone_who_listens_wakes",),
    ),
    Mutant(
        "a retry is opened again by its repeat",
        "retry",
        "if call('HGET', run.key, ':x') == nonce then",
        "if false then",
        (cut(test_faults.test_a_cut_control_and_a_cut_retry_happen_once),),
    ),
    Mutant(
        "a chunk of scopes is staged again by its repeat",
        "stage",
        "if call('GET', marked) ~= mark then",
        "if true then",
        (cut(test_faults.test_a_cut_fan_out_opens_every_scope_once),),
    ),
    Mutant(
        "what a task prints is not fenced",
        "printed",
        "node[STATE] == 'R' and node[ENTRY] == held",
        "node[STATE] == 'R'",
        ("test_a_task_that_is_held_no_more_adds_nothing",),
    ),
    Mutant(
        "a task that has ended goes on printing",
        "printed",
        "node[STATE] == 'R' and node[ENTRY] == held",
        "node[ENTRY] == held",
        ("test_a_task_that_is_held_no_more_adds_nothing",),
    ),
    Mutant(
        "what a task prints is recorded again by its repeat",
        "printed",
        "call('GET', marked) ~= mark",
        "true",
        (cut(test_faults.test_a_cut_record_of_what_tasks_print_happens_once),),
    ),
    Mutant(
        "a due retry does not look at the node",
        "due",
        "if node and node[STATE] == 'T' and node[DUE] <= NOW then",
        "if node then",
        (an_old_retry_does_not_disturb_a_new_round,),
    ),
    Mutant(
        "paused runs go on",
        "_take",
        "and run.state ~= 'paused' and (run.ending == '-' or is_handler(node)) then",
        "and (run.ending == '-' or is_handler(node)) then",
        ("test_a_paused_run_starts_nothing_until_it_is_resumed",),
    ),
    Mutant(
        "ending runs go on",
        "_take",
        "and run.state ~= 'paused' and (run.ending == '-' or is_handler(node)) then",
        "and run.state ~= 'paused' then",
        (no_queued_task_starts_in_a_failed_run,),
    ),
    Mutant(
        "an ending run makes nodes ready",
        "_ready",
        "if run.ending ~= '-' and not is_handler(node) then",
        "if false then",
        (no_task_waits_in_a_failed_run,),
    ),
    Mutant(
        "an arrival counts twice",
        "_ready",
        "if string.find(node[INBOX], mark, 1, true) then return end",
        "",
        (an_arrival_counts_once,),
    ),
    Mutant(
        "a branch never closes",
        "_ready",
        "elseif node[CLOSED] >= node[CLOSINGS] then",
        "elseif node[CLOSED] > node[CLOSINGS] then",
        ("test_a_branch_closes_when_all_its_scopes_have_arrived",),
    ),
    Mutant(
        "a window is not kept",
        "_ready",
        "if node[WINDOW] == 0 then return left end",
        "do return left end",
        ("test_no_more_scopes_than_the_window_are_on_their_way",),
    ),
    Mutant(
        "a run ends while nodes run",
        "_ending",
        "or run.terminal or run.held > 0 then",
        "or run.terminal then",
        ("test_siblings_of_a_failed_node_finish_and_are_recorded",),
    ),
    Mutant(
        "handlers do not wait for each other",
        "_ending",
        "if not string.find('DFC', node[STATE], 1, true) then return end",
        "",
        (a_handler_handed_back_comes_before_the_next,),
    ),
    Mutant(
        "a finished run stays for ever",
        "_records",
        "      call('PEXPIRE', key, life)\n",
        "",
        (a_finished_run_expires,),
    ),
    Mutant(
        "what a claim finds before it takes is forgotten",
        "_vain",
        "first, early, lasts = index, answer[1] and answer[1][2], nil",
        "first, early, lasts = index, nil, nil",
        (the_second_of_one_moment_is_found,),
    ),
    Mutant(
        "a claim in vain does not look at what waits for demand",
        "_vain",
        "if call('EXISTS', KEYS[1] .. ':p:' .. class) == 1 then lasts = nil break end",
        "",
        (many_parked_tasks_come_back,),
    ),
    Mutant(
        "a claim in vain is not a repeat",
        "_vain",
        " and ARGV[4] == '0'",
        "",
        (cut(the_only_task_is_given_though_the_answer_is_lost),),
    ),
    Mutant(
        "a claim in vain has no outcomes",
        "_vain",
        "and #ARGV == asked + 7 ",
        "",
        (an_outcome_counts_though_nothing_waits,),
    ),
    Mutant(
        "who waits for the end is marked as who watches all",
        "watch",
        "ends and not all and '%d.5' or '%d'",
        "'%d'",
        (who_waits_for_the_end_hears_of_it_alone,),
    ),
    Mutant(
        "who waits for the end takes over from who watches all",
        "watch",
        "ends and not all and '%d.5' or '%d'",
        "ends and '%d.5' or '%d'",
        (who_watches_all_hears_all_beside_who_waits_for_the_end,),
    ),
    Mutant(
        "every change is told to who waits for the end",
        "_records",
        "(run.ended or not string.find(run.watched, '.', 1, true))",
        "true",
        (who_waits_for_the_end_hears_of_it_alone,),
    ),
    Mutant(
        "submit tells no end",
        "submit",
        "if watched > 0 then",
        "if false then",
        (a_run_whose_end_submit_tells_ends_with_its_result,),
    ),
    Mutant(
        "an end is told without its result",
        "_records",
        "if result and #result <= TOLD then",
        "if false then",
        (a_run_whose_end_submit_tells_ends_with_its_result,),
    ),
    Mutant(
        "the end is not told to who waits for it alone",
        "_records",
        "(run.ended or not string.find(run.watched, '.', 1, true))",
        "not string.find(run.watched, '.', 1, true)",
        (who_waits_for_the_end_hears_of_it_alone,),
    ),
    Mutant(
        "a node is parked again by a repeat",
        "prepare",
        " and not (node[STATE] == 'K' and node[DUE] == round) then",
        " then",
        (many_unfinished_nodes_go_on,),
    ),
    Mutant(
        "parked nodes of a new round wait for ever",
        "retry",
        "if unpark(run, 64) then call('ZADD', pump_key(run.class), NOW, id .. ':') end",
        "unpark(run, 64)",
        (many_unfinished_nodes_go_on,),
    ),
    Mutant(
        "a scope that is over lets no other start",
        "_ready",
        "  for _, each in pairs(demand) do release(each[1], each[2], each[3]) end\n",
        "",
        ("test_no_more_scopes_than_the_window_are_on_their_way",),
    ),
    Mutant(
        "scopes start in a run that has an ending",
        "_ready",
        "  if count <= 0 or run.ending ~= '-' then return 0 end\n",
        "  if count <= 0 then return 0 end\n",
        (no_scope_starts_in_a_failed_run,),
    ),
    Mutant(
        "a parked node does not begin again",
        "_ready",
        "      if node[DUE] > 0 then begin_again(node) end\n",
        "",
        (many_failed_nodes_have_all_their_attempts_again,),
    ),
    Mutant(
        "what ended after the oldest held task stays in the queue",
        "_ready",
        "  if rest[1] then call('XDEL', queue, unpack(rest)) end\n",
        "",
        (nothing_is_left_of_what_ended_beside_a_held_task,),
    ),
    Mutant(
        "what ended before the oldest held task stays in the queue",
        "_ready",
        "  if last then call('XTRIM', queue, 'MINID', oldest or last) end\n",
        "",
        ("test_a_branch_closes_when_all_its_scopes_have_arrived", the_queue_is_empty_after_many),
    ),
    Mutant(
        "what was not delivered goes with what ended",
        "_ready",
        "if known < 4 or known < #some then",
        "if known < 4 then",
        (what_was_not_delivered_stays,),
    ),
    Mutant(
        "a queue that was forgotten is not known when it is there again",
        "_basics",
        "    open_queue(flow, class)\n    entry =",
        "    entry =",
        (a_queue_that_was_forgotten_is_known_when_something_of_it_comes_due,),
    ),
    Mutant(
        "scopes of very many branches get their expiry at once",
        "_records",
        "local SOME = 100 ",
        "local SOME = 100000 ",
        (scopes_of_very_many_branches_expire_in_pieces,),
    ),
    Mutant(
        "the expiry of scopes is not gone on with",
        "due",
        "  if step[1] ~= '0' then\n",
        "  if false then\n",
        (scopes_of_very_many_branches_expire_in_pieces,),
    ),
    Mutant(
        "scopes of very many branches stay when their run has gone",
        "due",
        "  elseif life == -2 then\n",
        "  elseif false then\n",
        (scopes_of_very_many_branches_go_after_their_run,),
    ),
    Mutant(
        "the list of very many branches goes with its run",
        "_records",
        "      begin_walk(run)\n",
        "      call('PEXPIRE', run.key .. ':x', life)\n      begin_walk(run)\n",
        (scopes_of_very_many_branches_go_after_their_run,),
    ),
    Mutant(
        "what waits in a run that ends is kept for ever",
        "_records",
        "'[alcm]'",
        "'[alc]'",
        (wide.starts_that_waited_begin_in_the_next_round,),
    ),
    Mutant(
        "nobody asks for further starts",
        "submit",
        "      call('ZADD', P .. ':p:' .. class, NOW, id .. ':*')\n",
        "",
        (wide.starts_begin_as_they_are_asked_for,),
    ),
    Mutant(
        "nobody asks for further starts after a pause",
        "control",
        "  if string.find(run.uses, 'm', 1, true) then demand_all(run, {'*'}) end\n",
        "",
        (wide.every_start_begins_once,),
    ),
    Mutant(
        "a repeated submit takes its pieces for the next run's",
        "submit",
        "    cursor = cursor + pieces\n",
        "",
        (wide.a_repeat_beside_another_run_is_told_apart,),
    ),
    Mutant(
        "lost demand for what was sent is not found",
        "lost",
        "if going and string.find(run.uses, 'm', 1, true) and not pumped('*') then",
        "if false then",
        (wide.a_start_that_waits_for_nobody_is_found,),
    ),
    Mutant(
        "what a node sends to very many is not asked for",
        "commit",
        "  await_mail(run)\n",
        "",
        (wide.what_a_node_sends_to_very_many_arrives,),
    ),
    Mutant(
        "what is sent takes the place of what waits",
        "commit",
        "if call('EXISTS', mail) == 1 then",
        "if false then",
        (wide.two_that_send_to_very_many_are_both_delivered,),
    ),
    Mutant(
        "what was staged to be sent expires while it waits",
        "commit",
        "    call('PERSIST', mail)\n",
        "",
        (wide.what_is_sent_has_no_expiry,),
    ),
    Mutant(
        "a node is recorded without what has expired of what it sends",
        "commit",
        "if call('LLEN', staging) ~= head[MAILED] then",
        "if false then",
        (wide.what_was_sent_and_expired_is_sent_afresh,),
    ),
    Mutant(
        "further starts of a scope are forgotten",
        "_ready",
        "  if rest then\n",
        "  if false then\n",
        (wide.scopes_of_many_starts_begin_bit_by_bit,),
    ),
    Mutant(
        "scopes that are too much for a call are forgotten",
        "_ready",
        "call('LPUSH', scope_key(run, node), items[place])",
        "node[RELEASED] = node[RELEASED] + 1",
        (wide.scopes_of_many_starts_begin_bit_by_bit,),
    ),
    Mutant(
        "nobody asks for scopes that are too much for a call",
        "_ready",
        "    demand_all(run, {node[PATH]})\n",
        "",
        (wide.a_window_is_filled_though_its_scopes_have_many_starts,),
    ),
    Mutant(
        "very many branches are not gone through after a pause",
        "_ready",
        "  begin_walk(run)\n",
        "",
        (wide.very_many_branches_go_on_after_a_pause,),
    ),
    Mutant(
        "very many branches are not gone through in a new round",
        "retry",
        "  begin_walk(run)\n",
        "",
        (wide.very_many_branches_go_on_in_a_new_round,),
    ),
    Mutant(
        "nobody hears of branches that are gone through",
        "due",
        "    minted[run.class] = minted[run.class] or ''   -- so that `ring` wakes who takes them\n",
        "",
        (wide.very_many_branches_go_on_in_a_new_round,),
    ),
    Mutant(
        "going through branches ends at the first piece",
        "due",
        "    further[#further + 1] = member\n  else",
        "  else",
        (wide.very_many_branches_go_on_in_a_new_round,),
    ),
    Mutant(
        "a new round does not wait until its scopes are kept",
        "retry",
        "if wide and call('HGET', P .. ':walks', id) ~= 'K' then",
        "if false then",
        (wide.scopes_of_a_new_round_stay,),
    ),
    Mutant(
        "what is kept for a new round that never comes stays for ever",
        "keep",
        "call('ZADD', P .. ':due', NOW + HOUR, 'x:' .. id .. ':')\n",
        "",
        (wide.who_dies_before_a_new_round_leaves_nothing_for_ever,),
    ),
    Mutant(
        "an expiry goes on where keeping ended",
        "due",
        "if not place or string.find(place, '^K') then",
        "if not place then",
        (wide.who_dies_before_a_new_round_leaves_nothing_for_ever,),
    ),
    Mutant(
        "a new round begins without scopes that were forgotten",
        "retry",
        " or call('HEXISTS', run.key, ':f') == 1 then",
        " then",
        (wide.what_is_about_to_be_forgotten_begins_no_round,),
    ),
    Mutant(
        "a date of a run that was forgotten is left",
        "forget",
        "call('ZREM', P .. ':due', 'x:' .. id .. ':')\n",
        "",
        (wide.what_is_about_to_be_forgotten_begins_no_round,),
    ),
    Mutant(
        "watchers hear nothing",
        "_records",
        "if run.watched and (run.ended",
        "if false and (run.ended",
        (a_change_of_a_run_is_heard,),
    ),
    *(
        Mutant(
            f"nobody hears of the tasks that {name} makes ready",
            name,
            "\nring()\n",
            "\n",
            (bells.whoever_listens_hears_of_every_task,),
        )
        for name in ("submit", "commit", "due", "reap", "lost", "control", "retry")
    ),
    Mutant(
        "bells grow for ever",
        "_basics",
        "'MAXLEN', '~', '1', ",
        "",
        (bells.a_bell_forgets_what_is_long_past,),
    ),
    Mutant(
        "nobody hears of the second of two tasks",
        "_take",
        "taken[class] = entries[#entries][1]",
        "taken[class] = minted[class]",
        (bells.what_a_call_leaves_is_heard_of,),
    ),
    Mutant(
        "every step of a chain wakes everybody",
        "_basics",
        "if taken[class] ~= entry then",
        "if true then",
        (bells.a_chain_wakes_nobody_else,),
    ),
]


#: what is taken out of which function of the waker, and the check that must notice
PASSED_OVER: list[tuple[str, str, Callable[[Store], None]]] = [
    (
        "worthwhile",
        "queue in rung or ",
        what_rang_and_what_an_outcome_makes_ready_are_claimed_together,
    ),
    (
        "worthwhile",
        " or queue in others",
        what_rang_and_what_an_outcome_makes_ready_are_claimed_together,
    ),
    (
        "_sure",
        "and self._queues[partition].streams.keys() >= set(queues)",
        a_queue_it_does_not_listen_to_is_looked_into,
    ),
    (
        "_sure",
        "and threading.get_ident() == self._thread",
        another_thread_looks_into_every_queue,
    ),
    (
        "_sure",
        "and time.monotonic() < self._round_at.get(partition, 0.0)",
        once_in_a_while_all_are_looked_into,
    ),
]


class Mutated(RedisHooks, BackendConformance):
    """The suite over a backend whose scripts are given."""

    __test__ = False
    wide = 3000

    def __init__(self, changed: dict[str, scripts.Script]) -> None:
        self._changed = changed

    def open_backend(self, folder: Path, *, ephemeral: bool = False) -> Backend:
        backend = super().open_backend(folder, ephemeral=ephemeral)
        assert isinstance(backend, RedisBackend)
        backend.link._scripts = self._changed
        return backend


def run_checks(mutant: Mutant, folder: Path, changed: dict[str, scripts.Script]) -> None:
    """Run the checks of a mutant over these scripts."""
    for number, check in enumerate(mutant.checks):
        suite = Mutated(changed)
        place = folder / str(number)
        place.mkdir()
        store = Store(suite, place)
        try:
            if isinstance(check, str):
                getattr(suite, check)(store)
            else:
                check(store)
        finally:
            store.close()


@functools.cache
def assembled() -> dict[str, scripts.Script]:
    """All scripts, for the server of the tests."""
    return {name: assemble(name) for name in scripts.NAMES}


def assemble(name: str) -> scripts.Script:
    """One of them, as it is now."""
    version = shared_server().client.info("server")["redis_version"]
    return scripts.assemble(name, int(version.split(".")[0]) >= 7)


def consists_of(name: str, file: str) -> bool:
    """Whether a script is made of that file, or that with others."""
    return name == file or bool(re.search(rf"^-- uses:.* {file[1:]}\b", scripts._read(name), re.M))


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name.replace(" ", "-"))
def test_what_a_script_checks_is_missed_when_it_is_gone(
    mutant: Mutant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "real").mkdir()
    run_checks(mutant, tmp_path / "real", assembled())
    read = scripts._read

    def mutated(name: str) -> str:
        text = read(name)
        return text.replace(mutant.text, mutant.instead) if name == mutant.file else text

    count = read(mutant.file).count(mutant.text)
    assert count == 1, "the script has changed: bring the mutant along"
    affected = [name for name in scripts.NAMES if consists_of(name, mutant.file)]
    assert affected
    with monkeypatch.context() as patched:
        patched.setattr(scripts, "_read", mutated)
        changed = assembled() | {name: assemble(name) for name in affected}
    for number, checks in enumerate(
        [(one,) for one in mutant.checks] if mutant.each else [mutant.checks]
    ):
        folder = tmp_path / f"mutant{number}"
        folder.mkdir()
        with pytest.raises((AssertionError, GoflowError, pytest.fail.Exception)) as missed:
            run_checks(mutant._replace(checks=checks), folder, changed)
        assert "Timeout" not in str(missed.value), "the clock has noticed it, and no check"


@pytest.mark.parametrize(("function", "text", "check"), PASSED_OVER)
def test_a_queue_that_is_wrongly_passed_over_is_missed(
    function: str,
    text: str,
    check: Callable[[Store], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real, mutant = tmp_path / "real", tmp_path / "mutant"
    for folder in (real, mutant):
        folder.mkdir()
    on(check, real)
    source = textwrap.dedent(inspect.getsource(getattr(waker.QueueWaker, function)))
    assert source.count(text) == 1, "the waker has changed: bring the mutant along"
    made: dict[str, Any] = {}
    exec(source.replace(text, ""), vars(waker), made)
    monkeypatch.setattr(waker.QueueWaker, function, made[function])
    with pytest.raises(AssertionError):
        on(check, mutant)


def on(check: Callable[[Store], None], folder: Path) -> None:
    """Run a check over a store of its own."""
    store = Store(Mutated(assembled()), folder)
    try:
        check(store)
    finally:
        store.close()
