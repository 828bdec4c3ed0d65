"""What attempts read from their run's store and wrote into it, for backends that tell it."""

from __future__ import annotations

import time
from typing import cast

import pytest
from msgspec.structs import replace

from goflow.backend import HISTORY, Access, Versioned
from goflow.errors import VersionGone
from goflow.message import Claim, Opened, Outcome, Reads, Step
from goflow.payload import JSON, Payload
from goflow.state import RunState
from goflow.testing.store import Store, closes, edge, failure, outcome, scopes
from goflow.testing.suite.base import Suite


def versioned(store: Store) -> Versioned:
    """The store by a connection of its own, if it has versions."""
    if not isinstance(store.backend, Versioned):
        pytest.skip("this backend does not keep what its runs' stores held before")
    return cast(Versioned, store.connect())


def reading(made: Outcome, **seen: int) -> Outcome:
    """The same outcome of an attempt that was given these versions, once each."""
    return replace(made, reads=Reads({key: ((number, 1),) for key, number in seen.items()}))


def wrote(claim: Claim, *arrivals: str, **values: str | None) -> Outcome:
    """An outcome that writes these values and goes on to these nodes."""
    writes = {k: None if value is None else Payload(value.encode()) for k, value in values.items()}
    ways = tuple(edge(claim.task.path, to) for to in arrivals)
    return outcome(claim, step=Step(output=Payload(b""), arrivals=ways, writes=writes))


def told(access: Access) -> tuple[str, int, int, dict[str, int], dict[str, int]]:
    """Path, round and attempt, the versions it was given (the last of each key) and made."""
    seen = {key: spans[-1][0] for key, spans in access.reads.seen.items()}
    return access.path, access.round, access.attempt, seen, access.writes


class Remembering(Suite):
    def test_each_value_stays_a_version_in_the_order_of_commits(self, store: Store) -> None:
        seen = versioned(store)
        w = store.worker()
        store.submit("r", "a", "b", "c", "d")
        store.submit("other")
        a, b, c, d = (claim for claim in w.claim() if claim.task.run_id == "r")
        assert seen.present("r", "k") == (0, None)
        assert seen.version("r", "k", 0) is None
        assert w.commit(wrote(a, k="1"))
        both, _ = w.backend.commit([wrote(b, k="2"), wrote(c, k=None, new="")])
        assert both == [True, True]
        assert seen.present("r", "k") == (3, None), "a deletion is a version, too"
        assert w.commit(wrote(d, k="4"))
        values = [None, b"1", b"2", None, b"4"]
        for number, value in enumerate(values):
            payload = None if value is None else Payload(value)
            assert seen.version("r", "k", number) == payload, number
        assert seen.present("r", "k") == (4, Payload(b"4"))
        assert seen.present("r", "new") == (1, Payload(b""))
        assert seen.present("other", "k") == (0, None)
        with pytest.raises(VersionGone):
            seen.version("r", "k", 5)

    def test_an_attempt_is_told_with_what_it_read_and_wrote(self, store: Store) -> None:
        seen = versioned(store)
        w = store.worker()
        store.submit("r", "a", "b")
        a, b = w.each("a", "b")
        before = time.time()
        reads = Reads({"x": ((0, 2), (3, 1)), "ü": ((1, 1),)}, whole=False)
        assert w.commit(replace(wrote(a, "c", x="1", y="1"), reads=reads))
        assert w.commit(reading(wrote(b), x=1))
        first, second = seen.accesses("r")
        assert first.reads == reads
        assert told(first)[3:] == ({"x": 3, "ü": 1}, {"x": 1, "y": 1})
        assert (first.token, first.closing, first.handler) == (a.task.token, False, False)
        assert before - 5 < first.at <= second.at < time.time() + 5
        assert told(second) == ("b", 1, 1, {"x": 1}, {})
        assert w.succeed(w.one("c"))
        assert len(seen.accesses("r")) == 2, "one that does neither leaves nothing"

    def test_failed_attempts_tell_what_they_read(self, store: Store) -> None:
        seen = versioned(store)
        w = store.worker()
        store.submit("r", "a")
        claim = w.one("a")
        assert w.commit(reading(outcome(claim, failure=failure(claim), retry_at=1.0), k=1))
        store.tick()
        claim = w.one("a")
        assert w.commit(reading(outcome(claim, failure=failure(claim), rescue=True), k=2))
        claim = w.one("a")
        assert w.commit(reading(outcome(claim, failure=failure(claim)), k=3))
        found = [(each.attempt, each.handler, told(each)[3]) for each in seen.accesses("r")]
        assert found == [(1, False, {"k": 1}), (2, False, {"k": 2}), (2, True, {"k": 3})]
        assert store.state() is RunState.FAILED

    def test_stopped_attempts_and_handlers_tell_what_they_read(self, store: Store) -> None:
        seen = versioned(store)
        w = store.worker()
        store.submit("r", "a", handlers=("~finally",))
        a = w.one("a")
        store.backend.control("r", "stop")
        assert w.commit(reading(outcome(a, stopped=True), k=1))
        assert w.commit(reading(wrote(w.one("~finally"), k="end"), k=2))
        found = [(each.path, each.handler, told(each)[3]) for each in seen.accesses("r")]
        assert found == [("a", False, {"k": 1}), ("~finally", False, {"k": 2})]

    def test_what_opens_a_branch_and_what_closes_it_are_two(self, store: Store) -> None:
        seen = versioned(store)
        w = store.worker()
        store.submit("r", "each")
        claim = w.one("each")
        opened = Opened(1, 0, ("k",), tuple(scopes("each", "k")))
        opens = Step(opened=opened, writes={"k": Payload(b"1")})
        assert w.commit(reading(outcome(claim, step=opens), k=0))
        inner = w.one("each[k]/x")
        up = Step(output=Payload(b""), arrivals=(closes("each", "k"),))
        assert w.commit(reading(outcome(inner, step=up), k=1))
        assert w.commit(reading(wrote(w.one("each"), k="2"), k=1))
        found = [(each.path, each.closing, *told(each)[3:]) for each in seen.accesses("r")]
        assert found == [
            ("each", False, {"k": 0}, {"k": 1}),
            ("each[k]/x", False, {"k": 1}, {}),
            ("each", True, {"k": 1}, {"k": 2}),
        ]

    def test_refused_and_repeated_outcomes_leave_no_version(self, store: Store) -> None:
        seen = versioned(store)
        zombie, w = store.worker(own=True), store.worker()
        store.submit("r", "a")
        old = zombie.one("a")
        store.vanish(zombie)
        store.tick(w)
        made = reading(wrote(w.one("a"), k="1"), k=0)
        assert not zombie.commit(reading(wrote(old, k="late"), k=0))
        assert w.commit(made)
        assert w.commit(made), "the same once more is harmless"
        assert seen.present("r", "k") == (1, Payload(b"1"))
        assert len(seen.accesses("r")) == 1

    def test_a_later_round_goes_on_counting(self, store: Store) -> None:
        seen = versioned(store)
        w = store.worker()
        store.submit("r", "a")
        assert w.commit(wrote(w.one("a"), "b", k="1"))
        claim = w.one("b")
        assert w.commit(reading(outcome(claim, failure=failure(claim)), k=1))
        self.again(store)
        assert seen.present("r", "k") == (1, Payload(b"1")), "what is recorded stays"
        assert w.commit(reading(wrote(w.one("b"), k="2"), k=1))
        assert [told(each) for each in seen.accesses("r")] == [
            ("a", 1, 1, {}, {"k": 1}),
            ("b", 1, 1, {"k": 1}, {}),
            ("b", 2, 1, {"k": 1}, {"k": 2}),
        ]

    def test_of_each_key_the_oldest_versions_go_first(self, store: Store) -> None:
        seen = versioned(store)
        w = store.worker()
        nodes = [f"n{number}" for number in range(7)]
        store.submit("r", *nodes)
        large = HISTORY // 4
        for number, claim in enumerate(w.each(*nodes), 1):
            value = Payload(f"{number}".encode() + b" " * large, JSON)
            assert w.succeed(claim, writes={"k": value, "small": Payload(b"s")})
        kept = []
        for number in range(1, 8):
            try:
                found = seen.version("r", "k", number)
            except VersionGone:
                continue
            assert found is not None
            assert found.data.startswith(b"%d " % number)
            kept.append(number)
        assert kept == [4, 5, 6, 7], "three before the present one are as many as fit"
        with pytest.raises(VersionGone):
            seen.version("r", "k", 0)
        assert seen.version("r", "small", 1) == Payload(b"s"), "another key has room of its own"
