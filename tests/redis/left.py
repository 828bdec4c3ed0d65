"""What is left of runs and queues, and until when: nothing that nobody will remove."""

from __future__ import annotations

from goflow.backend import Retry
from goflow.message import Claim, Rewind
from goflow.payload import Payload
from goflow.state import RunState
from goflow.testing.store import FLOW, Store, Worker, scopes, success
from tests.redis.hooks import queue_of, redis_of


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
