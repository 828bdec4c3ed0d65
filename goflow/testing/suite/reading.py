"""Reading a run: node states, attempts, what is not recorded, revisions, and ids nobody knows."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from goflow.backend import Backend, Retry
from goflow.errors import GoflowError, UnknownRun
from goflow.state import NodeState
from goflow.testing.store import Store, edge
from goflow.testing.suite.base import Suite
from goflow.wholesale import nodes_and_tries

_READS: dict[str, Callable[[Backend], object]] = {
    "run": lambda b: b.run("nobody"),
    "result": lambda b: b.result("nobody"),
    "request": lambda b: b.request("nobody"),
    "nodes": lambda b: b.nodes("nobody"),
    "some nodes": lambda b: b.nodes("nobody", ["a"]),
    "arrivals": lambda b: b.arrivals("nobody", "a"),
    "output": lambda b: b.output("nobody", "a"),
    "attempts": lambda b: b.attempts("nobody"),
    "nodes and tries": lambda b: nodes_and_tries(b, "nobody"),
    "logs": lambda b: b.logs("nobody"),
    "pause": lambda b: b.control("nobody", "pause"),
    "resume": lambda b: b.control("nobody", "resume"),
    "stop": lambda b: b.control("nobody", "stop"),
    "retry": lambda b: b.retry("nobody", Retry()),
    "context": lambda b: b.context("nobody", "key"),
    "context_keys": lambda b: b.context_keys("nobody"),
    "watch": lambda b: b.watch("nobody"),
}


class Reading(Suite):
    @pytest.mark.parametrize("read", _READS)
    def test_a_run_that_nobody_submitted_is_unknown(self, store: Store, read: str) -> None:
        store.submit("somebody")
        with pytest.raises(UnknownRun) as error:
            _READS[read](store.backend)
        assert "nobody" in str(error.value)

    def test_nodes_come_in_the_order_they_were_first_ready(self, store: Store) -> None:
        w = store.worker()
        store.submit("r", "z", "a")
        z, a = w.each("z", "a")
        assert w.succeed(a, b"A", edge("a", "m"), edge("a", "b"))
        assert w.retry(z, at=0)
        store.tick()
        assert w.one("m").task.path == "m"
        recorded = [node.path for node in store.connect().nodes("r")]
        assert recorded == ["z", "a", "m", "b"]

    def test_nodes_can_be_picked_by_path(self, store: Store) -> None:
        store.submit("r", "a", "b", "c")
        picked = store.backend.nodes("r", ["c", "a", "nowhere"])
        assert [node.path for node in picked] == ["a", "c"]
        assert store.backend.nodes("r", []) == []

    def test_a_node_tells_its_life(self, store: Store) -> None:
        w = store.worker()
        store.submit("r", "a")
        ready = store.node("a")
        assert (ready.state, ready.started, ready.finished) == (NodeState.READY, None, None)
        assert ready.ready is not None
        claim = w.one("a")
        running = store.node("a")
        assert (running.state, running.worker, running.finished) == (NodeState.RUNNING, w.id, None)
        assert running.started is not None
        assert w.fail(claim, "boom")
        failed = store.node("a")
        assert failed.state is NodeState.FAILED
        assert failed.finished is not None
        assert failed.error == "ValueError: boom"
        assert (failed.width, failed.done, failed.keys) == (None, 0, None)

    def test_a_join_waits_until_the_last_of_its_inputs(self, store: Store) -> None:
        w = store.worker()
        store.submit("r", "a", "b")
        a, b = w.each("a", "b")
        assert w.succeed(a, b"A", edge("a", "join", 2))
        assert store.nodes().get("join", NodeState.WAITING) is NodeState.WAITING
        assert w.succeed(b, b"B", edge("b", "join", 2))
        assert store.nodes()["join"] is NodeState.READY

    def test_what_is_not_recorded_is_none(self, store: Store) -> None:
        w = store.worker()
        store.submit("r")
        assert store.backend.output("r", "a") is None
        assert store.backend.output("r", "nowhere") is None
        assert store.backend.arrivals("r", "nowhere") == []
        assert store.backend.attempts("r") == []
        assert store.backend.logs("r") == []
        w.one("a")
        assert store.backend.output("r", "a") is None
        assert store.backend.attempts("r") == []

    def test_attempts_tell_how_each_ended(self, store: Store) -> None:
        w = store.worker()
        store.submit("r", "a", "b")
        a, b = w.each("a", "b")
        assert w.retry(a, at=0, message="once")
        store.tick()
        assert w.succeed(w.one("a"), b"A")
        store.backend.control("r", "stop")
        assert w.killed(b)
        told = store.connect().attempts("r")
        assert [(t.path, t.attempt, t.state) for t in told] == [
            ("a", 1, "failed"),
            ("a", 2, "succeeded"),
            ("b", 1, "stopped"),
        ]
        assert told[0].error is not None
        assert "ValueError: once" in told[0].error
        assert (told[1].error, told[2].error) == (None, None)
        assert {t.digest for t in told} == {"c0de"}
        assert {t.round for t in told} == {1}
        assert "" not in {t.worker for t in told}, "HOST:PID, or at least its number"
        assert [t for t in told if not t.finished >= t.started > 0] == []

    def test_every_change_raises_the_revision(self, store: Store) -> None:
        w = store.worker()
        seen = [store.submit("r", "a", "b", "c").revision]

        def grown() -> bool:
            seen.append(store.run().revision)
            return seen[-1] > seen[-2]

        a, b, c = w.each("a", "b", "c")
        assert grown()
        assert w.retry(a, at=0)
        assert grown()
        assert w.release(b)
        assert grown()
        b = w.one("b")
        assert w.succeed(b, b"", edge("b", "next"))
        assert grown()
        store.backend.control("r", "pause")
        assert grown()
        store.backend.control("r", "resume")
        assert grown()
        assert w.fail(c)
        assert grown()
        store.backend.retry("r", Retry())
        assert grown()
        store.backend.control("r", "stop")
        assert grown()

    def test_looking_changes_nothing(self, store: Store) -> None:
        w = store.worker()
        store.submit("r")
        claim = w.one("a")
        before = store.run()
        for name in ("request", "nodes", "attempts", "logs"):
            getattr(store.backend, name)("r")
        with pytest.raises(GoflowError):
            store.backend.result("r")
        assert w.claim() == []
        assert w.lost(claim) == []
        store.tick()
        assert store.run() == before

    def test_an_ephemeral_store_works_and_keeps_nothing(self, store: Store) -> None:
        backend = self.open_backend(store.folder / "ephemeral", ephemeral=True)
        backend.close()
        brief = Store(self, store.folder / "ephemeral", ephemeral=True)
        w = brief.worker()
        brief.submit("r")
        assert w.succeed(w.one("a"), b"A", ends=True)
        assert brief.backend.result("r").data == b"A"
        brief.close()
        later = Store(self, store.folder / "ephemeral")
        try:
            assert later.backend.runs() == []
        finally:
            later.close()
