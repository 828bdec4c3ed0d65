"""Repeating a run from a node, and moving it to another definition."""

from __future__ import annotations

import pytest

from goflow.errors import Conflict
from goflow.message import Arrival, Item, Rewind
from goflow.payload import Payload
from goflow.state import NodeState
from goflow.testing.store import FLOW, NEWER, Store, closes, edge, scopes
from goflow.testing.suite.base import Suite


class Rewinding(Suite):
    def test_a_node_and_all_after_it_can_be_repeated(self, store: Store) -> None:
        w = store.worker()
        self.chain(store, w)
        gone = Rewind(removed=("b", "c", "~result"), ready=("b",), dropped=(("c", "b", False),))
        self.again(store, gone)
        assert store.output("a") == b"A"
        assert store.output("b") is None
        assert store.output("c") is None
        assert store.nodes() == {"a": NodeState.SUCCEEDED, "b": NodeState.READY}
        with pytest.raises(Conflict):
            store.backend.result("r")
        b = w.one("b")
        assert (b.task.round, b.task.attempt) == (2, 1), "a repeated node has a new idempotency key"
        assert w.data(b) == {"a": b"A"}
        assert w.succeed(b, b"B2", edge("b", "c"))
        c = w.one("c")
        assert c.task.round == 2
        assert w.data(c) == {"b": b"B2"}
        assert w.succeed(c, b"C2", ends=True)
        assert store.backend.result("r").data == b"C2"
        assert store.backend.context("r", "k") == Payload(b"1")

    def test_a_start_can_be_repeated(self, store: Store) -> None:
        w = store.worker()
        self.chain(store, w)
        dropped = (("b", "a", False), ("c", "b", False))
        self.again(store, Rewind(removed=("a", "b", "c"), ready=("a",), dropped=dropped))
        assert w.data(w.one("a")) == {"": b"in"}
        assert w.claim() == []

    def test_a_join_keeps_what_came_from_nodes_that_are_not_repeated(self, store: Store) -> None:
        w = store.worker()
        store.submit("r", "a", "b")
        a, b = w.each("a", "b")
        assert w.succeed(a, b"A", edge("a", "join", 2))
        assert w.succeed(b, b"B", edge("b", "join", 2))
        assert w.succeed(w.one("join"), b"J", ends=True)
        dropped = (("join", "b", False),)
        self.again(store, Rewind(removed=("b", "join"), ready=("b",), dropped=dropped))
        assert store.backend.arrivals("r", "join") == [("a", Payload(b"A"))]
        assert w.succeed(w.one("b"), b"B2", edge("b", "join", 2))
        assert w.data(w.one("join")) == {"a": b"A", "b": b"B2"}

    def test_repeating_a_node_that_still_waits_does_not_start_it_without_its_inputs(
        self, store: Store
    ) -> None:
        w = store.worker()
        store.submit("r", "a", "b")
        a, b = w.each("a", "b")
        assert w.succeed(a, b"A", edge("a", "join", 2))
        assert w.fail(b)
        self.again(store, Rewind(removed=("join",), ready=("join",)))
        b = w.one("b")
        assert w.claim() == [], "the join still waits for b"
        assert w.succeed(b, b"B", edge("b", "join", 2))
        assert w.data(w.one("join")) == {"a": b"A", "b": b"B"}

    def test_repeating_a_node_that_was_ready_already_makes_it_ready_once(
        self, store: Store
    ) -> None:
        w = store.worker()
        store.submit("r", "a", "b")
        store.backend.control("r", "stop")
        self.again(store, Rewind(removed=("a",), ready=("a",)))
        assert store.backend.waiting().get(FLOW, 0) == 2
        assert w.paths() == ["a", "b"]

    def test_what_else_is_unfinished_goes_on_beside_a_repeated_node(self, store: Store) -> None:
        w = store.worker()
        store.submit("r", "a", "b", "c")
        a, b = w.one("a"), w.one("b")
        assert w.succeed(a, b"A", edge("a", "d"))
        assert w.fail(b)
        dropped = (("d", "a", False),)
        self.again(store, Rewind(removed=("a", "d"), ready=("a",), dropped=dropped))
        claims = {c.task.path: c.task.round for c in w.claim()}
        assert claims == {"a": 2, "b": 1, "c": 1}

    def test_a_repeated_branch_opens_anew(self, store: Store) -> None:
        w = store.worker()
        store.submit("r")
        assert w.succeed(w.one("a"), b"A", edge("a", "each"))
        assert w.open(w.one("each"), scopes("each", "ab"), keys=("a", "b"))
        for claim in w.each("each[a]/x", "each[b]/x"):
            assert w.succeed(claim, b"old", closes("each", claim.task.path[5]))
        assert w.succeed(w.one("each"), b"old", ends=True)
        self.again(store, Rewind(removed=("each",), ready=("each",)))
        assert store.nodes() == {"a": NodeState.SUCCEEDED, "each": NodeState.READY}
        branch = w.one("each")
        assert not branch.task.closing
        assert w.data(branch) == {"a": b"A"}
        assert w.open(branch, scopes("each", "bc"), keys=("b", "c"))
        claims = w.each("each[b]/x", "each[c]/x")
        assert [c.task.round for c in claims] == [2, 2]
        for claim in claims:
            assert w.succeed(claim, b"new", closes("each", claim.task.path[5]))
        closing = w.one("each")
        assert closing.task.keys == ("b", "c")
        assert w.data(closing) == {"b": b"new", "c": b"new"}

    def test_a_node_inside_a_branch_can_be_repeated(self, store: Store) -> None:
        w = store.worker()
        store.submit("r", "each")
        assert w.open(w.one("each"), scopes("each", "ab"), window=1, keys=("a", "b"))
        for key in "ab":
            claim = w.one(f"each[{key}]/x")
            assert w.succeed(claim, key.encode(), edge("x", f"each[{key}]/y"))
            assert w.succeed(w.one(f"each[{key}]/y"), key.encode(), closes("each", key))
        assert w.succeed(w.one("each"), b"old", edge("each", "end"))
        assert w.succeed(w.one("end"), b"old", ends=True)
        rewind = Rewind(
            removed=("each[a]/y", "end", "~result"),
            ready=("each[a]/y",),
            dropped=(("each", "a", True), ("end", "each", False)),
            reopened=("each",),
        )
        self.again(store, rewind)
        node = store.node("each")
        assert (node.state, node.width, node.done) == (NodeState.RUNNING, 2, 1)
        assert store.output("each") is None
        y = w.one("each[a]/y")
        assert w.claim() == []
        assert y.task.round == 2
        assert w.data(y) == {"x": b"a"}
        assert w.succeed(y, b"new", closes("each", "a"))
        closing = w.one("each")
        assert (closing.task.closing, closing.task.keys) == (True, ("a", "b"))
        assert w.data(closing) == {"a": b"new", "b": b"b"}
        assert w.succeed(closing, b"all", edge("each", "end"))
        end = w.one("end")
        assert w.data(end) == {"each": b"all"}
        assert w.succeed(end, b"new", ends=True)
        assert store.backend.result("r").data == b"new"
        told = [(a.path, a.round) for a in store.backend.attempts("r")]
        for path in ("each", "each[a]/y", "end"):
            assert {(path, 1), (path, 2)} <= set(told), "both rounds stay visible"
        assert ("each[b]/y", 2) not in told

    def test_removing_the_join_of_a_scope_leaves_the_scopes_other_nodes(self, store: Store) -> None:
        w = store.worker()
        store.submit("r", "each")
        assert w.open(w.one("each"), [Item("each[k]/", ("x", "y"), Payload(b""))], keys=("k",))
        x, y = w.each("each[k]/x", "each[k]/y")
        assert w.succeed(x, b"X", edge("x", "each[k]", 2))
        assert w.succeed(y, b"Y", edge("y", "each[k]", 2))
        assert w.succeed(w.one("each[k]"), b"K", closes("each", "k"))
        assert w.succeed(w.one("each"), b"all", ends=True)
        rewind = Rewind(
            removed=("each[k]/y", "each[k]"),
            ready=("each[k]/y",),
            dropped=(("each", "k", True), ("each[k]", "y", False)),
            reopened=("each",),
        )
        self.again(store, rewind)
        assert store.output("each[k]/x") == b"X"
        assert store.output("each[k]") is None
        assert w.succeed(w.one("each[k]/y"), b"Y2", edge("y", "each[k]", 2))
        assert w.data(w.one("each[k]")) == {"x": b"X", "y": b"Y2"}

    def test_removing_a_node_leaves_those_whose_names_begin_alike(self, store: Store) -> None:
        w = store.worker()
        names = ("a.b", "ab", "a-1", "A", "a")
        store.submit("r", *names)
        for claim in w.each(*names):
            assert w.succeed(claim, b"old", ends=claim.task.path == "a")
        self.again(store, Rewind(removed=("a",), ready=("a",)))
        assert w.paths() == ["a"]
        assert {p for p, s in store.nodes().items() if s is NodeState.SUCCEEDED} == {
            "a.b",
            "ab",
            "a-1",
            "A",
        }

    def test_an_adopted_run_moves_to_the_new_definition(self, store: Store) -> None:
        w, newer = store.worker(FLOW), store.worker(NEWER)
        store.submit("r", "a", "b")
        a, b = w.each("a", "b")
        assert w.succeed(a, b"A", edge("a", "c"))
        assert w.fail(b)
        added = (("a", Arrival("d", "a", 1)), ("a", Arrival("c", "a", 1)))
        self.again(store, Rewind(arrivals=added, fingerprint=NEWER[1]))
        assert store.run().fingerprint == NEWER[1]
        assert w.claim() == []
        claims = {c.task.path: c for c in newer.claim()}
        assert set(claims) == {"b", "c", "d"}, "what was there, and what the new edge leads to"
        assert {c.task.fingerprint for c in claims.values()} == {NEWER[1]}
        assert newer.data(claims["d"]) == {"a": b"A"}
        assert newer.data(claims["c"]) == {"a": b"A"}

    def test_an_added_arrival_may_complete_a_join(self, store: Store) -> None:
        w = store.worker()
        store.submit("r", "a", "b", "c")
        a, b, c = w.each("a", "b", "c")
        assert w.succeed(a, b"A", edge("a", "join", 2))
        assert w.succeed(b, b"B")
        assert w.fail(c)
        self.again(store, Rewind(arrivals=(("b", Arrival("join", "b", 2)),)))
        claims = {claim.task.path: claim for claim in w.claim()}
        assert set(claims) == {"c", "join"}
        assert w.data(claims["join"]) == {"a": b"A", "b": b"B"}

    def test_an_added_arrival_that_is_there_already_does_not_count(self, store: Store) -> None:
        w = store.worker()
        store.submit("r", "a", "b")
        a, b = w.each("a", "b")
        assert w.succeed(a, b"A", edge("a", "join", 2))
        assert w.fail(b)
        self.again(store, Rewind(arrivals=(("a", Arrival("join", "a", 2)),)))
        b = w.one("b")
        assert w.claim() == [], "the join still waits for b"
        assert w.succeed(b, b"B", edge("b", "join", 2))
        assert w.data(w.one("join")) == {"a": b"A", "b": b"B"}
