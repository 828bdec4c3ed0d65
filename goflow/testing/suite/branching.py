"""Opened branches and sub-DAGs: all scopes or none, a window of them on their way, one closing."""

from __future__ import annotations

from goflow.message import Item
from goflow.payload import Payload
from goflow.state import NodeState, RunState
from goflow.testing.store import Store, closes, edge, scopes, success
from goflow.testing.suite.opening import Opening


class Branching(Opening):
    def test_every_scope_starts_with_its_payload(self, store: Store) -> None:
        w = store.worker()
        branch = self.branch(store, w)
        items = [
            Item("each[a]/", ("x", "y"), Payload(b"1")),
            Item("each[b]/", ("x",), Payload(b"2", "text/plain")),
        ]
        assert w.open(branch, items, keys=("a", "b"))
        ax, ay, bx = w.each("each[a]/x", "each[a]/y", "each[b]/x")
        assert w.inputs(ax) == w.inputs(ay) == {"": Payload(b"1")}
        assert w.inputs(bx) == {"": Payload(b"2", "text/plain")}
        assert (ax.task.attempt, ax.task.lost, ax.task.closing) == (1, 0, False)
        assert store.backend.output("r", "each") is None, "an open branch has no result yet"
        node = store.node("each")
        assert node.state is NodeState.RUNNING
        assert (node.width, node.done, node.keys) == (2, 0, ("a", "b"))

    def test_a_branch_closes_when_all_its_scopes_have_arrived(self, store: Store) -> None:
        w = store.worker()
        assert w.open(self.branch(store, w), scopes("each", "cab"), keys=("c", "a", "b"))
        claims = w.each("each[a]/x", "each[b]/x", "each[c]/x")
        for number, claim in enumerate(claims):
            assert w.claim() == []
            assert store.node("each").done == number
            self.close_scope(w, claim)
        closing = w.one("each")
        assert closing.task.closing
        assert closing.task.keys == ("c", "a", "b"), "keys stay in the order they were opened"
        assert closing.task.width == 3
        assert w.data(closing) == {"a": b"A", "b": b"B", "c": b"C"}
        assert w.succeed(closing, b"all", ends=True)
        assert store.output("each") == b"all"
        assert store.backend.result("r").data == b"all"

    def test_positions_are_keys_where_none_are_named(self, store: Store) -> None:
        w = store.worker()
        assert w.open(self.branch(store, w), scopes("each", "01"), keys=None)
        for claim in w.each("each[0]/x", "each[1]/x"):
            self.close_scope(w, claim)
        closing = w.one("each")
        assert closing.task.keys is None
        assert closing.task.width == 2
        assert store.node("each").keys is None

    def test_closing_arrivals_do_not_mix_with_those_that_opened_it(self, store: Store) -> None:
        w = store.worker()
        store.submit("r", "a", "b")
        for claim in w.each("a", "b"):
            name = claim.task.path
            assert w.succeed(claim, name.encode(), edge(name, "each", 2))
        branch = w.one("each")
        assert w.data(branch) == {"a": b"a", "b": b"b"}
        assert w.open(branch, scopes("each", "ab"), keys=("a", "b"))
        for claim in w.each("each[a]/x", "each[b]/x"):
            self.close_scope(w, claim)
        assert w.data(w.one("each")) == {"a": b"A", "b": b"B"}

    def test_a_sub_dag_closes_when_each_of_its_ends_has_arrived(self, store: Store) -> None:
        w = store.worker()
        store.submit("r", "kyc")
        item = Item("kyc/", ("x", "y"), Payload(b"in"))
        assert w.open(w.one("kyc"), [item], expects=2)
        x, y = w.each("kyc/x", "kyc/y")
        assert w.succeed(x, b"X", closes("kyc", "x"))
        assert w.claim() == []
        assert w.succeed(y, b"Y", closes("kyc", "y", carries=False))
        closing = w.one("kyc")
        assert closing.task.closing
        assert w.data(closing) == {"x": b"X", "y": None}

    def test_several_ends_of_a_scope_join_before_they_leave_it(self, store: Store) -> None:
        w = store.worker()
        items = [Item("each[k]/", ("x", "y"), Payload(b"in"))]
        assert w.open(self.branch(store, w), items, keys=("k",))
        x, y = w.each("each[k]/x", "each[k]/y")
        assert w.succeed(x, b"X", edge("x", "each[k]", 2))
        assert w.succeed(y, b"Y", edge("y", "each[k]", 2))
        join = w.one("each[k]")
        assert w.data(join) == {"x": b"X", "y": b"Y"}
        assert w.succeed(join, b"K", closes("each", "k"))
        assert w.data(w.one("each")) == {"k": b"K"}

    def test_a_branch_inside_a_branch_closes_from_the_inside(self, store: Store) -> None:
        w = store.worker()
        assert w.open(self.branch(store, w), scopes("each", "ab", "in"), keys=("a", "b"))
        for inner in w.each("each[a]/in", "each[b]/in"):
            assert w.open(inner, scopes(inner.task.path, "01"), keys=None)
        for claim in w.claim():
            owner, _, key = claim.task.path.removesuffix("]/x").rpartition("[")
            assert w.succeed(claim, key.encode(), closes(owner, key))
        for inner in w.each("each[a]/in", "each[b]/in"):
            assert inner.task.closing
            assert w.data(inner) == {"0": b"0", "1": b"1"}
            key = inner.task.path[5]
            assert w.succeed(inner, key.encode(), closes("each", key))
        assert w.data(w.one("each")) == {"a": b"a", "b": b"b"}

    def test_no_more_scopes_than_the_window_are_on_their_way(self, store: Store) -> None:
        w = store.worker()
        keys = tuple("abcdefg")
        assert w.open(self.branch(store, w), scopes("each", keys), window=3, keys=keys)
        held = w.claim()
        assert [c.task.path for c in held] == ["each[a]/x", "each[b]/x", "each[c]/x"]
        for key in "defg":
            assert w.claim() == []
            self.close_scope(w, held.pop(0))
            held.append(w.one(f"each[{key}]/x"))
        while held:
            assert w.claim() == []
            self.close_scope(w, held.pop())
        assert set(w.inputs(w.one("each"))) == set(keys)

    def test_one_commit_that_closes_several_scopes_lets_as_many_follow(self, store: Store) -> None:
        w = store.worker()
        keys = tuple("abcdefg")
        assert w.open(self.branch(store, w), scopes("each", keys), window=3, keys=keys)
        done = [success(c, b"", closes("each", c.task.path[5])) for c in w.claim()]
        accepted, claims = store.backend.commit(done, w.ask())
        assert accepted == [True] * 3
        assert [c.task.path for c in claims] == ["each[d]/x", "each[e]/x", "each[f]/x"]

    def test_a_scope_of_several_nodes_holds_its_place_in_the_window_to_its_end(
        self, store: Store
    ) -> None:
        w = store.worker()
        keys = ("a", "b")
        assert w.open(self.branch(store, w), scopes("each", keys), window=1, keys=keys)
        assert w.succeed(w.one("each[a]/x"), b"", edge("x", "each[a]/y"))
        last = w.one("each[a]/y")
        assert w.claim() == []
        assert w.succeed(last, b"", closes("each", "a"))
        w.one("each[b]/x")

    def test_a_window_of_one_whose_first_node_retries_starts_no_other_scope(
        self, store: Store
    ) -> None:
        w = store.worker()
        keys = ("a", "b")
        assert w.open(self.branch(store, w), scopes("each", keys), window=1, keys=keys)
        assert w.retry(w.one("each[a]/x"), at=0)
        store.tick()
        again = w.one("each[a]/x")
        assert again.task.attempt == 2
        assert w.claim() == []

    def test_a_closing_task_that_fails_and_is_retried_keeps_its_inputs(self, store: Store) -> None:
        w = store.worker()
        assert w.open(self.branch(store, w), scopes("each", "a"), keys=("a",))
        self.close_scope(w, w.one("each[a]/x"))
        assert w.retry(w.one("each"), at=0)
        store.tick()
        again = w.one("each")
        assert (again.task.attempt, again.task.closing) == (2, True)
        assert (again.task.keys, again.task.width) == (("a",), 1)
        assert w.data(again) == {"a": b"A"}

    def test_a_closing_task_whose_worker_vanishes_comes_back_as_it_was(self, store: Store) -> None:
        zombie, w = store.worker(own=True), store.worker()
        assert w.open(self.branch(store, w), scopes("each", "a"), keys=("a",))
        self.close_scope(w, w.one("each[a]/x"))
        zombie.one("each")
        store.vanish(zombie)
        store.tick()
        again = w.one("each")
        assert (again.task.closing, again.task.lost) == (True, 1)
        assert (again.task.keys, again.task.width) == (("a",), 1)
        assert w.data(again) == {"a": b"A"}

    def test_a_scope_that_fails_fails_the_run_and_starts_no_other(self, store: Store) -> None:
        w = store.worker()
        keys = tuple("abcd")
        assert w.open(self.branch(store, w), scopes("each", keys), window=2, keys=keys)
        a, b = w.each("each[a]/x", "each[b]/x")
        assert w.fail(a)
        assert w.claim() == []
        self.close_scope(w, b)
        assert w.claim() == []
        assert store.state() is RunState.FAILED
        assert store.node("each[a]/x").state is NodeState.FAILED
        assert store.node("each[b]/x").state is NodeState.SUCCEEDED
