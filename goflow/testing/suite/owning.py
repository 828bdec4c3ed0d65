"""Runs with one owner: only it executes them, and when it is gone anybody may."""

from __future__ import annotations

import pytest

from goflow.backend import Retry
from goflow.errors import Conflict
from goflow.state import RunState
from goflow.testing.store import Store, edge
from goflow.testing.suite.base import Suite


class Owning(Suite):
    @pytest.fixture
    def _owned(self) -> None:
        if not self.exclusive:
            pytest.skip("any worker takes any run of this store")

    def test_the_store_says_whether_runs_may_have_an_owner(self, store: Store) -> None:
        assert store.backend.exclusive is self.exclusive
        assert store.backend.name

    def test_a_run_without_an_owner_is_never_abandoned(self, store: Store) -> None:
        zombie = store.worker(own=True)
        run = store.submit("r")
        assert (run.owner, run.abandoned) == (0, False)
        zombie.one("a")
        store.vanish(zombie)
        store.tick()
        assert not store.run().abandoned

    @pytest.mark.usefixtures("_owned")
    def test_an_owned_run_goes_to_its_owner_only(self, store: Store) -> None:
        owner, w = store.worker(own=True), store.worker()
        run = store.submit("r", owner=owner.id)
        store.submit("free")
        assert (run.owner, run.abandoned) == (owner.id, False)
        assert w.claim(run_id="r") == []
        assert [c.task.run_id for c in w.claim()] == ["free"]
        claim = owner.one("a", run_id="r")
        assert owner.succeed(claim, b"A", edge("a", "b"))
        assert w.claim() == []
        store.tick()
        assert w.claim() == []
        assert owner.succeed(owner.one("b", run_id="r"), b"B", ends=True)
        assert store.backend.result("r").data == b"B"

    @pytest.mark.usefixtures("_owned")
    def test_a_worker_that_asks_for_its_run_gets_no_other(self, store: Store) -> None:
        owner = store.worker()
        store.submit("free")
        store.submit("r", owner=owner.id)
        assert [c.task.run_id for c in owner.claim(run_id="r")] == ["r"]
        assert owner.claim(run_id="r") == []

    @pytest.mark.usefixtures("_owned")
    @pytest.mark.parametrize("goodbye", [False, True], ids=["vanished", "left"])
    def test_an_abandoned_run_is_adopted_by_any_worker(self, store: Store, goodbye: bool) -> None:
        owner, w = store.worker(own=True), store.worker()
        store.submit("r", "a", "b", owner=owner.id)
        assert owner.succeed(owner.one("a", run_id="r"), b"A", edge("a", "c"))
        held = owner.one("b", run_id="r")
        if goodbye:
            owner.backend.leave(owner.id)
        else:
            store.vanish(owner)
        store.tick()
        assert store.run().abandoned
        store.tick(w)
        assert store.run().round == 1
        claims = {c.task.path: c for c in w.claim()}
        assert set(claims) == {"b", "c"}
        assert goodbye or claims["b"].task.lost == 1
        assert w.data(claims["c"]) == {"a": b"A"}
        assert not owner.succeed(held, b"late")
        assert owner.claim(run_id="r") == []
        assert w.succeed(claims["b"], b"B")
        assert w.succeed(claims["c"], b"C", ends=True)
        assert store.state() is RunState.SUCCEEDED

    @pytest.mark.usefixtures("_owned")
    def test_a_run_whose_owner_went_before_it_began_is_adopted(self, store: Store) -> None:
        owner, w = store.worker(own=True), store.worker()
        store.submit("r", owner=owner.id)
        store.vanish(owner)
        assert store.run().abandoned
        store.tick(w)
        assert w.succeed(w.one("a"), b"A", ends=True)
        assert store.backend.result("r").data == b"A"

    @pytest.mark.usefixtures("_owned")
    def test_a_run_with_a_live_owner_cannot_be_retried(self, store: Store) -> None:
        owner = store.worker()
        store.submit("r", owner=owner.id)
        with pytest.raises(Conflict):
            store.backend.retry("r", Retry())
        owner.one("a", run_id="r")
        with pytest.raises(Conflict):
            store.backend.retry("r", Retry())
        assert store.run().round == 1

    @pytest.mark.usefixtures("_owned")
    def test_a_retry_of_an_abandoned_run_has_a_new_owner(self, store: Store) -> None:
        owner, w = store.worker(own=True), store.worker()
        heir = store.worker(own=True)
        store.submit("r", "a", "b", owner=owner.id)
        assert owner.succeed(owner.one("a", run_id="r"), b"A", edge("a", "c"))
        held = owner.one("b", run_id="r")
        store.vanish(owner)
        store.tick()
        run = store.backend.retry("r", Retry(owner=heir.id))
        assert (run.round, run.owner, run.abandoned) == (2, heir.id, False)
        assert run.state is RunState.QUEUED
        assert w.claim() == []
        claims = {c.task.path: c for c in heir.claim(run_id="r")}
        assert set(claims) == {"b", "c"}
        assert claims["b"].task.round == 1, "unfinished nodes keep their idempotency key"
        assert heir.data(claims["c"]) == {"a": b"A"}
        assert not owner.succeed(held, b"late")

    @pytest.mark.usefixtures("_owned")
    def test_a_run_that_a_worker_adopted_cannot_be_retried(self, store: Store) -> None:
        owner, w = store.worker(own=True), store.worker()
        store.submit("r", owner=owner.id)
        store.vanish(owner)
        store.tick(w)
        w.one("a")
        with pytest.raises(Conflict):
            store.backend.retry("r", Retry())

    @pytest.mark.usefixtures("_owned")
    def test_a_new_round_of_a_failed_run_may_have_an_owner(self, store: Store) -> None:
        w, owner = store.worker(), store.worker(own=True)
        store.submit("r")
        assert w.fail(w.one("a"))
        run = store.backend.retry("r", Retry(owner=owner.id))
        assert run.owner == owner.id
        assert w.claim() == []
        assert owner.succeed(owner.one("a", run_id="r"), b"A", ends=True)

    @pytest.mark.usefixtures("_owned")
    def test_an_owned_run_is_controlled_like_any_other(self, store: Store) -> None:
        owner = store.worker(own=True)
        store.submit("r", "a", "b", owner=owner.id)
        claim = owner.one("a", run_id="r")
        store.backend.control("r", "pause")
        assert owner.claim(run_id="r") == []
        store.backend.control("r", "resume")
        other = owner.one("b", run_id="r")
        store.backend.control("r", "stop")
        assert sorted(owner.lost(claim, other)) == [("a", "stop"), ("b", "stop")]
        assert owner.killed(claim)
        assert owner.killed(other)
        assert store.state() is RunState.STOPPED

    @pytest.mark.usefixtures("_owned")
    def test_an_owner_runs_the_handlers_of_its_run(self, store: Store) -> None:
        owner, w = store.worker(own=True), store.worker()
        store.submit("r", owner=owner.id, handlers=("~finally",))
        assert owner.succeed(owner.one("a", run_id="r"), b"A", ends=True)
        assert w.claim() == []
        assert owner.succeed(owner.one("~finally", run_id="r"))
        assert store.state() is RunState.SUCCEEDED
