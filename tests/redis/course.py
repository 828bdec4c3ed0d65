"""How runs go on: what starts, what does not, and what comes once."""

from __future__ import annotations

from typing import Any

from goflow.backend import Retry
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
from goflow_redis import RedisBackend
from tests.redis.hooks import expire_leases, redis_of
from tests.redis.proxy import Proxy


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


def a_renewed_lease_holds(store: Store) -> None:
    """What was renewed a moment ago is not taken back."""
    w = store.worker()
    store.submit("r")
    held = w.one("a")
    expire_leases(redis_of(store), w.id)
    assert w.lost(held) == []
    store.tick()
    assert store.worker().claim() == []


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
