"""What is too much for one script call is done in pieces, and between two of them nothing is lost, done twice or left."""

from __future__ import annotations

import select
from collections.abc import Iterable, Sequence
from typing import Any

from goflow.backend import Retry, Run
from goflow.errors import UnknownRun
from goflow.message import Arrival, Claim, Item, Opened, Step
from goflow.payload import Payload
from goflow.state import RunState
from goflow.testing.store import (
    FLOW,
    Store,
    Worker,
    closes,
    edge,
    outcome,
    request,
    scopes,
    success,
)
from goflow_redis import exchange
from goflow_redis.words import Word, hold_of
from tests.redis.hooks import redis_of

#: more starts, arrivals or branches than one call delivers, or looks at
MANY = 150


def names(count: int = MANY) -> list[str]:
    """So many node names."""
    return [f"n{number:04}" for number in range(count)]


def lives(store: Store, keys: Iterable[str]) -> list[int]:
    """How long each of a run's keys will be there (ms): -1 for ever, -2 it is not."""
    run = redis_of(store).keys.run("r")
    return [redis_of(store).link.ask(run, "PTTL", f"{run}:{key}") for key in keys]


def promote(store: Store) -> None:
    """One call of DUE."""
    backend = redis_of(store)
    backend._promote(backend.keys.partitions[0])


def with_branches(store: Store, count: int = MANY) -> Worker:
    """A worker of a run with so many open branches, each with a scope that waits; it holds nothing."""
    w = store.worker()
    store.submit("r", *names(count))
    for claim in w.claim(count):
        assert w.open(claim, scopes(claim.task.path, "ab"), expects=2, window=1)
    return w


# -- starts and arrivals ---------------------------------------------------------------------------


def every_start_begins_once(store: Store) -> None:
    """Also those that nobody had asked for when the run was paused."""
    w = store.worker()
    store.submit("r", *names())
    store.submit("r", *names())
    held = w.claim(10)
    store.backend.control("r", "pause")
    assert w.claim(1000) == []
    store.backend.control("r", "resume")
    claims = held + w.claim(1000)
    assert [claim.task.path for claim in claims] == names()
    assert {w.data(claim)[""] for claim in claims} == {b"in"}


def starts_begin_as_they_are_asked_for(store: Store) -> None:
    """All of them in the end, in their order."""
    w = store.worker()
    store.submit("r", *names())
    assert [claim.task.path for claim in w.claim(1000)] == names()


def starts_that_waited_are_there_for_who_plans_a_round(store: Store) -> None:
    """Before it begins, and none of them starts by that."""
    w = store.worker()
    store.submit("r", *names())
    redis_of(store).deliver_rest("r")
    assert len(store.nodes()) < MANY
    assert w.fail(w.one())
    redis_of(store).deliver_rest("r")
    assert sorted(store.nodes()) == names()
    assert lives(store, "m") == [-2]
    assert w.claim() == []
    store.backend.retry("r", Retry())
    assert sorted(claim.task.path for claim in w.claim(1000)) == names()


def starts_that_waited_begin_in_the_next_round(store: Store) -> None:
    """A run that ended before anybody had asked for them keeps them as long as itself."""
    w = store.worker()
    store.submit("r", *names())
    assert w.fail(w.one())
    assert store.state() is RunState.FAILED
    assert lives(store, "m")[0] > 0
    store.backend.retry("r", Retry())
    assert sorted(claim.task.path for claim in w.claim(1000)) == names()


def a_start_that_waits_for_nobody_is_found(store: Store) -> None:
    """`goflow doctor` sees starts that no list of what waits for demand names any more."""
    w, backend = store.worker(), redis_of(store)
    store.submit("r", *names())
    (partition,) = backend.keys.partitions
    pump = backend.keys.queue(partition, *FLOW).replace(":q:", ":p:")
    backend.link.ask(pump, "UNLINK", pump)
    (found,) = [each for each in backend.diagnose(fix=True) if each.name == "lost work"]
    assert found.fixed
    assert len(w.claim(1000)) == MANY


def a_repeat_beside_another_run_is_told_apart(store: Store) -> None:
    """What a run that is there already had further starts for is not read as the next run's."""
    w = store.worker()
    first, second = request("r", *names()), request("q", *names(MANY + 20))
    for _ in range(2):
        told = redis_of(store)._submit(redis_of(store).keys.partitions[0], [first, second])
        assert [each.id for each in told if isinstance(each, Run)] == ["r", "q"]
    store.submit("p")
    assert len(w.claim(1000)) == 2 * MANY + 21


def what_is_sent_has_no_expiry(store: Store) -> None:
    """However long nobody asks for it."""
    w = store.worker()
    store.submit("r")
    assert w.succeed(w.one("a"), b"A", *sent("a"))
    assert lives(store, "m") == [-1]


def sent(source: str) -> list[Arrival]:
    """Arrivals at very many nodes, some with bytes of their own, that are no text."""
    return [
        edge(source, name, payload=b"\xff" + name.encode() if place % 2 else None)
        for place, name in enumerate(names())
    ]


def what_a_node_sends_to_very_many_arrives(store: Store) -> None:
    """Each once, with what it brings."""
    w = store.worker()
    store.submit("r")
    claim = w.one("a")
    assert w.succeed(claim, b"A", *sent("a"))
    assert w.succeed(claim, b"A", *sent("a"))
    claims = w.claim(1000)
    assert [each.task.path for each in claims] == names()
    for place, each in enumerate(claims):
        own = b"\xff" + each.task.path.encode()
        assert w.data(each) == {"a": own if place % 2 else b"A"}


def who_sleeps_hears_of_what_was_sent(store: Store) -> None:
    """Also where none of what the commit itself delivers is complete with that."""
    sender, w = store.worker(own=True), store.worker()
    store.submit("r", "a", "b")
    a, b = sender.each("a", "b")
    waker = store.backend.watch()
    try:
        assert w.claim() == []
        waker.clear()
        assert sender.succeed(a, b"A", *(edge("a", name, 2) for name in names()))
        assert sender.succeed(b, b"B", *(edge("b", name, 2) for name in reversed(names())))
        assert select.select([waker], [], [], 0.5)[0]
    finally:
        waker.close()
    assert len(w.claim(1000)) == MANY


def two_that_send_to_very_many_are_both_delivered(store: Store) -> None:
    """What the second sends on comes after what is left of the first."""
    w = store.worker()
    store.submit("r", "a", "b")
    a, b = w.each("a", "b")
    assert w.succeed(a, b"A", *(edge("a", name, 2) for name in names()))
    assert w.succeed(b, b"B", *(edge("b", name, 2) for name in names()))
    claims = w.claim(1000)
    assert sorted(each.task.path for each in claims) == names()
    assert w.data(claims[-1]) == {"a": b"A", "b": b"B"}


def what_was_sent_and_expired_is_sent_afresh(store: Store) -> None:
    """A node whose staged arrivals have gone is not recorded without them."""
    w, backend = store.worker(), redis_of(store)
    store.submit("r")
    claim = w.one("a")
    made = success(claim, b"A", *sent("a"))
    backend._post(made)
    staging = f"{backend.keys.run('r')}:t:{hold_of(claim.task)}"
    assert backend.link.ask(staging, "UNLINK", staging) == 1
    assert not w.commit(made)
    again = w.one("a")
    assert w.succeed(again, b"A", *sent("a"))
    assert sorted(each.task.path for each in w.claim(1000)) == names()


def what_an_interrupted_call_had_staged_arrives_once(store: Store) -> None:
    """Though the next call stages it again."""
    w, backend = store.worker(), redis_of(store)
    store.submit("r")
    claim = w.one("a")
    assert backend._stage(claim.task, [exchange.piece(sent("a")[-5:], "a")]) == 1
    assert w.succeed(claim, b"A", *sent("a"))
    assert sorted(each.task.path for each in w.claim(1000)) == names()


# -- scopes with many starts -----------------------------------------------------------------------


def wide_scopes(keys: Sequence[str], starts: int) -> tuple[Item, ...]:
    """Scopes of so many starts."""
    inner = tuple(f"x{number}" for number in range(starts))
    return tuple(Item(f"each[{key}]/", inner, Payload(key.encode())) for key in keys)


def opened(w: Worker, claim: Claim, items: tuple[Item, ...], window: int = 0) -> None:
    """Commit that the branch has these scopes."""
    step = Step(opened=Opened(len(items), window, None, items))
    assert w.commit(outcome(claim, step=step))


def scopes_of_many_starts_begin_bit_by_bit(store: Store) -> None:
    """Each start once, with the input of its scope."""
    w = store.worker()
    store.submit("r", "each")
    opened(w, w.one("each"), wide_scopes("abc", MANY))
    claims = w.claim(1000)
    assert len({claim.task.path for claim in claims}) == len(claims) == 3 * MANY
    for claim in claims:
        assert w.data(claim) == {"": claim.task.path[5].encode()}


def a_window_is_filled_though_its_scopes_have_many_starts(store: Store) -> None:
    """Two scopes that end in one call make room for two, however many starts these have."""
    w = store.worker()
    store.submit("r", "each")
    opened(w, w.one("each"), wide_scopes("abcd", 70), window=2)
    claims = {claim.task.path: claim for claim in w.claim(1000)}
    assert len(claims) == 140
    ends = [success(claims[f"each[{key}]/x0"], b"", closes("each", key)) for key in "ab"]
    assert store.backend.commit(ends)[0] == [True, True]
    assert len(w.claim(1000)) == 140


# -- very many open branches -----------------------------------------------------------------------


def begun_again(store: Store, count: int) -> Worker:
    """A worker of a run so many of whose branches have room for a scope: it was stopped, and has a new round."""
    w = with_branches(store, count)
    claims = w.claim(1000)
    store.backend.control("r", "stop")
    ends = [success(c, b"", closes(c.task.path.partition("[")[0], "a")) for c in claims]
    assert all(store.backend.commit(ends)[0])
    assert store.state() is RunState.STOPPED
    store.backend.retry("r", Retry())
    return w


def very_many_branches_go_on_in_a_new_round(store: Store) -> None:
    """Those that it does not begin with are gone through by the housekeeping, and whoever waits hears of them."""
    w = begun_again(store, 250)
    started = w.claim(1000)
    assert 0 < len(started) < 250
    waker = store.backend.watch()
    try:
        assert w.claim() == []
        promote(store)
        assert select.select([waker], [], [], 0.5)[0]
    finally:
        waker.close()
    store.tick()
    assert len({claim.task.path for claim in [*started, *w.claim(1000)]}) == 250


def very_many_branches_go_on_after_a_pause(store: Store) -> None:
    """Also where the first one came while they were gone through."""
    w = begun_again(store, 250)
    promote(store)
    store.backend.control("r", "pause")
    store.tick()
    assert w.claim(1000) == []
    store.backend.control("r", "resume")
    started = w.claim(1000)
    assert 0 < len(started) < 250
    store.tick()
    assert len({claim.task.path for claim in [*started, *w.claim(1000)]}) == 250


def stopped(store: Store, count: int = MANY) -> Worker:
    """A worker of a run that was stopped with so many open branches, nothing of which has an expiry yet."""
    w = with_branches(store, count)
    store.backend.control("r", "stop")
    assert store.state() is RunState.STOPPED
    return w


def scopes_of_a_new_round_stay(store: Store) -> None:
    """No scope of a run on its way has an expiry, at any time."""
    for wait in (False, True):
        w = store.worker() if wait else stopped(store)
        store.tick()
        lists = [f"s:{name}" for name in names()]
        assert all(life > 0 for life in lives(store, lists))
        store.backend.retry("r", Retry())
        assert set(lives(store, [*lists, "x"])) == {-1}
        store.tick()
        assert set(lives(store, [*lists, "x"])) == {-1}
        store.backend.control("r", "stop")
    store.backend.retry("r", Retry())
    store.tick()
    assert len(w.claim(1000)) == MANY


def who_dies_before_a_new_round_leaves_nothing_for_ever(store: Store) -> None:
    """Scopes that were kept for it get their expiry again."""
    stopped(store)
    store.tick()
    backend = redis_of(store)
    (partition,) = backend.keys.partitions
    while backend.link.run("keep", partition, [backend.lives, "r"]):
        continue
    lists = [f"s:{name}" for name in names()]
    assert set(lives(store, [*lists, "x"])) == {-1}
    assert backend.link.ask(partition, "ZADD", f"{partition}:due", "XX", "CH", 1, "x:r:") == 1
    store.tick()
    assert all(life > 0 for life in lives(store, [*lists, "x"]))
    assert backend.link.ask(partition, "EXISTS", f"{partition}:walks") == 0


def who_dies_while_scopes_are_kept_leaves_nothing_for_ever(store: Store) -> None:
    """The expiry does not go on where that ended."""
    stopped(store)
    store.tick()
    backend = redis_of(store)
    (partition,) = backend.keys.partitions
    assert backend.link.run("keep", partition, [backend.lives, "r"]) == 1
    lists = [f"s:{name}" for name in names()]
    assert -1 in lives(store, lists)
    assert backend.link.ask(partition, "ZADD", f"{partition}:due", "XX", "CH", 1, "x:r:") == 1
    store.tick()
    assert all(life > 0 for life in lives(store, [*lists, "x"]))


def lose_all_but_scopes(store: Store) -> None:
    """Run `r` is past its retention, before anybody has gone through its branches."""
    backend = redis_of(store)
    run = backend.keys.run("r")
    gone = ("", ":d", ":a", ":l", ":c", ":m", ":ev", ":k")
    backend.link.ask(run, "UNLINK", *(run + suffix for suffix in gone))


def a_new_run_inherits_no_scopes(store: Store) -> None:
    """Those of a run of its id that nobody has gone through go, and its own stay."""
    stopped(store)
    lose_all_but_scopes(store)
    w = store.worker()
    store.submit("r", "n0001")
    assert w.open(w.one("n0001"), scopes("n0001", "xy"), expects=2, window=1)
    store.tick()
    assert set(lives(store, [f"s:{name}" for name in names() if name != "n0001"])) == {-2}
    assert lives(store, ["s:n0001", "x"]) == [-1, -1]
    (x,) = w.claim()
    assert w.succeed(x, b"", closes("n0001", "x"))
    assert w.one("n0001[y]/x")


def nothing_is_wrong_with_what_is_about_to_be_gone_through(store: Store) -> None:
    """`goflow doctor` leaves to the housekeeping what is on its list, also of a run that has gone."""
    w = begun_again(store, 250)
    w.claim(1000)
    for gone in (False, True):
        if gone:
            store.backend.control("r", "stop")
            lose_all_but_scopes(store)
        for fix in (False, True):
            found = redis_of(store).diagnose(fix=fix)
            assert [
                each
                for each in found
                if not each.ok or (each.fixed and each.name != "expired runs")
            ] == []
    store.tick()
    backend = redis_of(store)
    assert backend.link.ask("r", "KEYS", f"{backend.keys.run('r')}*") == []


def scopes_that_the_store_has_lost_hold_up_no_worker(store: Store) -> None:
    """What nobody can start is asked for no more, and others go on."""
    w = store.worker()
    store.submit("r", "each")
    assert w.open(w.one("each"), scopes("each", [f"k{n}" for n in range(MANY)]), expects=MANY)
    backend = redis_of(store)
    lost = f"{backend.keys.run('r')}:s:each"
    assert backend.link.ask("r", "UNLINK", lost) == 1
    for _ in range(100):  # a claim that nothing is left for asks once more
        _, tasks, *rested = claim_once(store, w)
        if rested:
            break
    assert tasks == []
    assert rested, "a worker would ask for ever"


def claim_once(store: Store, w: Worker) -> list[Any]:
    """The answer of one call of COMMIT that claims."""
    backend = redis_of(store)
    name = f"{backend.mark}aa{next(backend._calls)}"
    args: list[Word] = [backend.lives, w.id, name, 0, 32, 1, ":".join(FLOW), 0]
    told: list[Any] = backend.link.run("commit", backend.keys.partitions[0], args)
    return told


def what_is_about_to_be_forgotten_begins_no_round(store: Store) -> None:
    """Whoever forgets a run with very many branches may die halfway; another goes on."""
    stopped(store)
    backend = redis_of(store)
    (partition,) = backend.keys.partitions
    how, _ = backend.link.run("forget", partition, [backend.lives, "r"])
    assert how == b"more"
    try:
        store.backend.retry("r", Retry())
    except UnknownRun:
        pass
    else:
        raise AssertionError("a round was begun without some of its scopes")
    store.backend.forget("r")
    left = backend.link.ask(partition, "KEYS", f"{partition}:r:r*")
    assert left == []
    assert backend.link.ask(partition, "EXISTS", f"{partition}:due", f"{partition}:walks") == 0
