"""Forgetting a run that has ended: at once, whole, and never one that is on its way."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from goflow.backend import Retry
from goflow.errors import Conflict, UnknownRun
from goflow.payload import Payload
from goflow.state import RunState
from goflow.testing.store import Store, closes, edge, scopes
from goflow.testing.suite.base import Suite


class Forgetting(Suite):
    @pytest.mark.parametrize("ending", ["succeeded", "failed", "stopped"])
    def test_a_run_that_has_ended_is_forgotten_however_it_ended(
        self, store: Store, ending: str
    ) -> None:
        w = store.worker()
        store.submit("r")
        store.submit("other")
        claims = {claim.task.run_id: claim for claim in w.claim()}
        if ending == "succeeded":
            assert w.succeed(claims["r"], b"A", ends=True, log=b"said")
        elif ending == "failed":
            assert w.fail(claims["r"], log=b"said")
        else:
            store.backend.control("r", "stop")
            assert w.killed(claims["r"])
        assert store.state() == ending
        store.backend.forget("r")
        assert [run.id for run in store.connect().runs()] == ["other"]
        assert w.succeed(claims["other"], b"B", ends=True), "what is beside it is left alone"
        assert store.backend.result("other").data == b"B"

    def test_nothing_of_a_forgotten_run_can_be_asked_for(self, store: Store) -> None:
        w = store.worker()
        self.chain(store, w)
        store.backend.forget("r")
        backend = store.backend
        asked: list[Callable[[], object]] = [
            lambda: backend.run("r"),
            lambda: backend.result("r"),
            lambda: backend.request("r"),
            lambda: backend.nodes("r"),
            lambda: backend.output("r", "a"),
            lambda: backend.attempts("r"),
            lambda: backend.logs("r"),
            lambda: backend.context("r", "k"),
            lambda: backend.control("r", "stop"),
            lambda: backend.retry("r", Retry()),
            lambda: backend.forget("r"),
        ]
        for ask in asked:
            with pytest.raises(UnknownRun):
                ask()

    def test_a_run_on_its_way_is_not_forgotten(self, store: Store) -> None:
        w = store.worker()
        store.submit("r")
        with pytest.raises(Conflict, match="goflow stop r"):
            store.backend.forget("r")
        a = w.one("a")
        with pytest.raises(Conflict):
            store.backend.forget("r")
        store.backend.control("r", "pause")
        with pytest.raises(Conflict):
            store.backend.forget("r")
        store.backend.control("r", "resume")
        assert w.succeed(a, b"A", ends=True)
        assert store.backend.result("r").data == b"A"

    def test_a_run_in_a_new_round_is_on_its_way_again(self, store: Store) -> None:
        w = store.worker()
        store.submit("r")
        assert w.fail(w.one("a"))
        self.again(store)
        with pytest.raises(Conflict):
            store.backend.forget("r")
        assert w.succeed(w.one("a"), b"A", ends=True)
        store.backend.forget("r")
        assert store.backend.runs() == []

    def test_the_id_is_free_and_its_new_run_inherits_nothing(self, store: Store) -> None:
        w = store.worker()
        store.submit("r", "each", "b", "c")
        each, b, c = w.each("each", "b", "c")
        assert w.open(each, scopes("each", "123"), window=1)
        assert w.retry(b, at=0, log=b"printed")
        assert w.succeed(c, b"C", edge("c", "join", 2), writes={"k": Payload(b"1")}, log=b"printed")
        assert w.fail(w.one("each[1]/x"))
        store.tick()
        assert store.state() is RunState.FAILED
        store.backend.forget("r")
        store.submit("r", "each", "b", payload=b"another")
        store.tick()
        assert set(store.nodes()) == {"each", "b"}
        assert store.backend.context("r", "k") is None
        assert store.backend.logs("r") == []
        assert store.backend.attempts("r") == []
        each, b = w.each("each", "b")
        assert w.data(b) == {"": b"another"}
        assert not w.succeed(c, b"late", ends=True), "what the old one left comes too late"
        assert w.open(each, scopes("each", "1"))
        assert w.succeed(w.one("each[1]/x"), b"x", closes("each", "1"))
        assert w.succeed(w.one("each"), b"all")
        assert w.succeed(b, b"B", ends=True)
        assert store.backend.result("r").data == b"B"

    def test_a_run_that_nobody_knows_cannot_be_forgotten(self, store: Store) -> None:
        with pytest.raises(UnknownRun, match="'r'"):
            store.backend.forget("r")
