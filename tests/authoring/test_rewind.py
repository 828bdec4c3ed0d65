"""`goflow retry`: what `--from` repeats, and when `--adopt` lets a run move to another definition."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from goflow import Conflict, Context, Dag, RunFailed, Workflow
from goflow.backend import Backend, NodeRun
from goflow.client import Client
from goflow.config import Config
from goflow.errors import UnknownNode
from goflow.host import register
from goflow.message import RESULT, Rewind
from goflow.plan import Plan
from goflow.rewind import find, rewind_from
from goflow.state import NodeState
from goflow.workflow import Flow, build
from goflow_local import LocalBackend
from tests.properties.hands import Hands
from tests.redis.hooks import RedisHooks

Draw = Callable[[Dag], object]


def flow_of(draw: Draw) -> Flow:
    def define(workflow: Workflow, context: Context) -> None:
        draw(workflow.dag)

    return build("flow", define)


def plan_of(draw: Draw) -> Plan:
    return flow_of(draw).plan


def tell(data: bytes, options: object, context: Context) -> str:
    return f"{context.node}({data.decode()})"


def broken(data: bytes) -> bytes:
    raise ValueError("boom")


def nodes(*names: str, **works: Any) -> Callable[[Dag], None]:
    """`"a > b"` draws two nodes and an edge, `"a"` a node; `works` replaces what nodes do."""

    def draw(dag: Dag) -> None:
        for line in names:
            chain = line.split(" > ")
            for name in chain:
                if name not in dag._drawn.drafts:
                    dag.node(name, works.get(name, tell))
            for before, after in pairwise(chain):
                dag.edge(before, after)

    return draw


# -- from a node: what is undone ------------------------------------------------------------------


def test_a_node_and_all_after_it_are_undone_and_its_own_inbox_stays() -> None:
    plan = plan_of(nodes("a > b > d", "a > c > d"))
    assert rewind_from(plan, "b") == Rewind(
        removed=("b", "d", RESULT), ready=("b",), dropped=(("d", "b", False),)
    )


def test_what_came_from_beside_stays_in_a_joins_inbox() -> None:
    undone = rewind_from(plan_of(nodes("a > b > d", "a > c > d")), "c")
    assert ("d", "b", False) not in undone.dropped


def test_several_ends_forget_what_the_repeated_ones_brought() -> None:
    undone = rewind_from(plan_of(nodes("a > b", "c")), "a")
    assert undone.removed == ("a", "b", RESULT)
    assert set(undone.dropped) == {("b", "a", False), (RESULT, "b", False)}


def nested(dag: Dag) -> None:
    inner = dag.foreach_branch("each", lambda data: {"k": "1", "l": "2"})
    inner.node("x", tell)
    sub = Dag()
    sub.node("deep", tell)
    sub.node("beside", tell)
    inner.sub_dag("sub", sub)
    inner.edge("x", "sub")
    inner.node("other", tell)
    dag.edge("each", dag.node("last", tell))


def test_the_branches_around_a_node_wait_for_its_scope_again() -> None:
    undone = rewind_from(plan_of(nested), "each[k]/sub/deep")
    assert undone.ready == ("each[k]/sub/deep",)
    assert undone.reopened == ("each[k]/sub", "each")
    assert set(undone.removed) == {"each[k]/sub/deep", "each[k]", "last", RESULT}
    assert set(undone.dropped) == {
        ("each[k]/sub", "deep", True),
        ("each", "k", True),
        ("each[k]", "sub", False),
        ("last", "each", False),
    }


def test_a_repeated_branch_is_undone_whole() -> None:
    undone = rewind_from(plan_of(nested), "each")
    assert (undone.ready, undone.reopened) == (("each",), ())
    assert undone.removed == ("each", "last", RESULT)


def test_a_node_the_flow_has_not_cannot_be_repeated() -> None:
    with pytest.raises(UnknownNode):
        rewind_from(plan_of(nested), "each[k]/nowhere")


# -- which node a user means ----------------------------------------------------------------------


def recorded(*paths: str) -> list[NodeRun]:
    return [NodeRun(path=path, state=NodeState.SUCCEEDED) for path in paths]


def test_a_path_or_a_plain_name_that_is_unique_names_a_node() -> None:
    plan = plan_of(nested)
    there = recorded("each", "each[k]/x", "each[k]", "each[l]/x", "each[k]/sub/deep", "last")
    assert find(plan, there, "each[k]/x") == "each[k]/x"
    assert find(plan, there, "deep") == "each[k]/sub/deep"
    assert find(plan, there, "each") == "each"


def test_a_name_that_several_nodes_share_is_told_with_their_paths() -> None:
    there = recorded("each[k]/x", "each[l]/x")
    with pytest.raises(Conflict, match=r"2 nodes are called 'x': .*each\[k\]/x, each\[l\]/x"):
        find(plan_of(nested), there, "x")


def test_a_node_that_was_not_reached_is_told_apart_from_one_that_is_not_there() -> None:
    there = recorded("each")
    with pytest.raises(UnknownNode, match="has not been reached in this run"):
        find(plan_of(nested), there, "last")
    with pytest.raises(UnknownNode, match=r"no node 'eahc', did you mean 'each'\?"):
        find(plan_of(nested), there, "eahc")


# -- runs that go on ------------------------------------------------------------------------------


class History:
    """One run over a store, continued under one definition after the other."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.client = Client(self.backend)
        self.executed: dict[str, int] = {}

    def start(self, draw: Draw) -> None:
        flow = flow_of(draw)
        register(self.backend, flow)
        self.client.submit("flow", "in", run_id="r")
        self._work(flow)

    def adopt(self, draw: Draw, from_node: str | None = None) -> None:
        """`goflow retry --adopt [--from NODE]`, worked off."""
        flow = flow_of(draw)
        register(self.backend, flow)
        self.client.retry("r", plan=flow.plan, from_node=from_node)
        self._work(flow)

    def again(self, draw: Draw, from_node: str | None = None) -> None:
        """`goflow retry [--from NODE]` with these function bodies, worked off."""
        self.client.retry("r", from_node=from_node)
        self._work(flow_of(draw))

    def _work(self, flow: Flow) -> None:
        hands = Hands(self.backend, flow, lambda low, high: low)
        hands.work()
        self.executed = dict(hands.executed)
        assert self.client.run("r").state.terminal, "nothing is left that would end this run"

    @property
    def result(self) -> str:
        made = self.client.result("r")
        return made.text()


@pytest.fixture(params=["local", "redis"])
def history(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[History]:
    """A store without any run: every backend must do what a rewind says."""
    if request.param == "local":
        backend: Backend = LocalBackend.open("local", Config(), ephemeral=True)
    else:
        backend = RedisHooks().open_backend(tmp_path)
    with backend:
        yield History(backend)


def refused(history: History, draw: Draw, from_node: str | None = None) -> str:
    with pytest.raises(Conflict) as raised:
        history.adopt(draw, from_node)
    return str(raised.value)


def test_a_corrected_function_finishes_an_old_run(history: History) -> None:
    history.start(nodes("a > b > c", b=broken))
    history.again(nodes("a > b > c"))
    assert history.result == "c(b(a(in)))"
    assert history.executed == {"b": 1, "c": 1}


def test_a_succeeded_run_is_repeated_from_a_node_only(history: History) -> None:
    history.start(nodes("a > b"))
    with pytest.raises(Conflict):
        history.again(nodes("a > b"))
    history.again(nodes("a > b"), "b")
    assert history.executed == {"b": 1}


def test_changed_options_let_a_run_move(history: History) -> None:
    history.start(nodes("a > b", b=broken))

    def draw(dag: Dag) -> None:
        dag.node("a", tell, retries=5) >> dag.node("b", tell, timeout=60)

    history.adopt(draw)
    assert history.result == "b(a(in))"
    assert history.executed == {"b": 1}
    assert history.client.run("r").fingerprint == plan_of(draw).fingerprint


def test_a_node_added_at_the_end_runs_too(history: History) -> None:
    history.start(nodes("a > b", b=broken))
    history.adopt(nodes("a > b > c"))
    assert history.result == "c(b(a(in)))"


def test_a_node_added_after_one_that_has_run_gets_its_result(history: History) -> None:
    history.start(nodes("a > b", b=broken))
    history.adopt(nodes("a > b", "a > c > d"))
    assert history.executed == {"b": 1, "c": 1, "d": 1, RESULT: 1}
    assert history.result == '{"b":"b(a(in))","d":"d(c(a(in)))"}'


def test_an_end_that_is_followed_by_a_new_node_is_no_end_any_more(history: History) -> None:
    history.start(nodes("a", "b", b=broken))
    history.adopt(nodes("a > c", "b"))
    assert history.executed == {"c": 1, "b": 1, RESULT: 1}
    assert history.result == '{"c":"c(a(in))","b":"b(in)"}'


def test_a_run_moves_though_nobody_had_come_to_all_of_its_starts(history: History) -> None:
    names = [f"n{number}" for number in range(150)]
    history.start(nodes(*names, n0=broken))
    history.adopt(nodes(*names[:-1], "n149 > last"))
    assert history.executed == dict.fromkeys([*names, "last", RESULT], 1)


def test_a_node_that_nobody_had_come_to_can_be_named(history: History) -> None:
    names = [f"n{number}" for number in range(150)]
    history.start(nodes(*names, n0=broken))
    history.again(nodes(*names), "n149")
    assert history.executed == dict.fromkeys([*names, RESULT], 1)


def test_several_ends_may_become_one(history: History) -> None:
    history.start(nodes("a", "b", b=broken))
    history.adopt(nodes("a > c", "b > c"))
    assert history.result == 'c({"a":"a(in)","b":"b(in)"})'


def test_one_end_may_become_several(history: History) -> None:
    history.start(nodes("a > c", "b > c", b=broken))
    history.adopt(nodes("a", "b > c"))
    assert history.result == '{"a":"a(in)","c":"c(b(in))"}'


def test_a_step_added_before_a_failed_node_runs_first(history: History) -> None:
    history.start(nodes("a > c", c=broken))
    history.adopt(nodes("a > b > c"))
    assert history.executed == {"b": 1, "c": 1}
    assert history.result == "c(b(a(in)))"


def test_a_join_waits_for_an_added_edge_too(history: History) -> None:
    history.start(nodes("a > j", "b > j", b=broken))
    history.adopt(nodes("a > j", "b > j", "a > c > j"))
    assert history.result == 'j({"a":"a(in)","b":"b(in)","c":"c(a(in))"})'


def test_a_failed_join_can_lose_an_input(history: History) -> None:
    history.start(nodes("a > j", "b > j", "a > k", "b > k", j=broken))
    history.adopt(nodes("a > j", "b > k", "a > k"))
    assert history.result == '{"j":"j(a(in))","k":"k({\\"b\\":\\"b(in)\\",\\"a\\":\\"a(in)\\"})"}'


def test_a_join_that_waits_can_lose_what_it_waits_for(history: History) -> None:
    history.start(nodes("a > j", "b > j", "b > k", b=broken))
    history.adopt(nodes("a > j", "b > k"))
    assert history.result == '{"j":"j(a(in))","k":"k(b(in))"}'


def test_a_branch_may_be_added(history: History) -> None:
    history.start(nodes("a > b", b=broken))

    def draw(dag: Dag) -> None:
        nodes("a > b")(dag)
        dag.foreach_branch("each", lambda data: [1, 2]).node("x", tell)
        dag.edge("a", "each")
        dag.edge("each", "b")

    history.adopt(draw)
    assert history.executed["each[0]/x"] == 1
    assert history.result.startswith('b({"a":"a(in)","each":')


def branch(inner: Draw, after: Draw = lambda dag: None) -> Draw:
    def draw(dag: Dag) -> None:
        inner(dag.foreach_branch("each", lambda data: {"k": "1", "l": "2"}))
        after(dag)

    return draw


def once_broken(data: str, options: object, context: Context) -> str:
    """Fails in the scope of item 2."""
    if "2" in data:
        raise ValueError("boom")
    return f"{context.node}({data})"


def test_inside_an_open_branch_a_run_moves_too(history: History) -> None:
    history.start(branch(nodes("x > y", y=once_broken)))
    history.adopt(branch(nodes("x > w > y")))
    assert history.executed["each[l]/w"] == 1
    made = history.client.result("r").json()
    assert made["l"] == "each[l]/y(each[l]/w(each[l]/x(2)))"


def test_an_open_branch_whose_dag_ends_otherwise_is_to_be_repeated(history: History) -> None:
    history.start(branch(nodes("x > y", y=once_broken)))
    after = branch(nodes("x > y > z"))
    assert "node 'each' is open and its DAG ends otherwise now (z)" in refused(history, after)
    history.adopt(after, "each")
    assert history.client.result("r").json()["l"] == "each[l]/z(each[l]/y(each[l]/x(2)))"


def test_a_node_inside_may_be_repeated_when_its_dag_ends_as_before(history: History) -> None:
    history.start(branch(nodes("x > y", y=once_broken)))
    ends_otherwise = branch(nodes("x > y", "z"))
    assert "ends otherwise" in refused(history, ends_otherwise, "each[l]/x")
    history.adopt(branch(nodes("x > w > y")), "each[l]/x")
    assert history.executed["each[l]/x"] == 1
    assert history.client.result("r").json()["l"] == "each[l]/y(each[l]/w(each[l]/x(2)))"


def test_inside_a_branch_that_has_run_nothing_new_runs(history: History) -> None:
    after = nodes("last", last=broken)

    def last(dag: Dag) -> None:
        nodes("last")(dag)
        dag.edge("each", "last")

    def last_broken(dag: Dag) -> None:
        after(dag)
        dag.edge("each", "last")

    history.start(branch(nodes("x"), last_broken))
    history.adopt(branch(nodes("x > y"), last))
    assert history.executed == {"last": 1}


@pytest.mark.parametrize(
    ("before", "after", "parts"),
    [
        (
            nodes("a > b > c", b=broken),
            nodes("x > c"),
            ["no node 'a'", "no node 'b'", "node 'x' is a new start node"],
        ),
        (nodes("a > b", b=broken), nodes("a > bb"), ["no node 'b', did you mean 'bb'?"]),
        (nodes("a > b", b=broken), nodes("a > b", "c"), ["node 'c' is a new start node"]),
        (
            nodes("a > b", "x > y > c", c=broken),
            nodes("a > b", "x > y > c > b"),
            ["node 'b' has run and waits for 'c' now: repeat it with --from"],
        ),
        (
            nodes("a", "b", b=broken),
            nodes("a > b"),
            ["node 'b' waits for a now, and did not when it was reached"],
        ),
        (
            nodes("a > b", b=broken),
            nodes("a", "b"),
            ["node 'b' starts its DAG now, and did not when it was reached"],
        ),
    ],
)
def test_a_run_that_cannot_move_says_all_that_is_in_the_way(
    history: History, before: Draw, after: Draw, parts: list[str]
) -> None:
    history.start(before)
    text = refused(history, after)
    assert text.startswith("the run cannot move to the present definition:\n  - ")
    for part in parts:
        assert part in text
    assert text.count("\n") == len(parts)
    with pytest.raises(RunFailed):
        history.client.result("r")


def test_a_succeeded_run_does_not_move_without_a_node_to_repeat(history: History) -> None:
    history.start(nodes("a"))
    assert "run r has succeeded: " in refused(history, nodes("a > b"))
    history.adopt(nodes("a > b"), "a")
    assert history.result == "b(a(in))"


def test_a_run_with_nothing_left_to_do_does_not_move(history: History) -> None:
    history.start(nodes("a", "b", b=lambda data: repr(history.client.stop("r").state)))
    assert history.executed == {"a": 1, "b": 1}, "the join of both ends was stopped"
    assert "all has run, 'b' too: repeat a node with --from" in refused(history, nodes("a > b"))


def test_what_has_run_without_a_new_input_may_be_repeated_meanwhile(history: History) -> None:
    history.start(nodes("a > b", "x > y > c", c=broken))
    assert history.executed == {"a": 1, "b": 1, "x": 1, "y": 1, "c": 1}
    history.adopt(nodes("a > b", "x > y > c > b"), "b")
    assert history.result == 'b({"a":"a(in)","c":"c(y(x(in)))"})'
    assert history.executed == {"b": 1, "c": 1}


def test_a_new_edge_with_a_forwarder_is_refused(history: History) -> None:
    history.start(nodes("a > b", b=broken))

    def draw(dag: Dag) -> None:
        nodes("a > b", "c")(dag)
        dag.edge("a", "c", forwarder=lambda data: data.upper())

    text = refused(history, draw)
    assert "edge 'a' -> 'c' is new and has a forwarder" in text
    assert "repeat 'a' with --from" in text
    history.adopt(draw, "a")
    assert history.client.result("r").json()["c"] == "c(A(IN))"


def test_what_came_over_a_forwarder_stays(history: History) -> None:
    def draw(b: Any, more: bool) -> Draw:
        def drawing(dag: Dag) -> None:
            nodes("a", "c > b", b=b, c=broken if not more else tell)(dag)
            dag.edge("a", "b", forwarder=lambda data: data.upper())
            if more:
                nodes("a > d > b")(dag)

        return drawing

    history.start(draw(tell, False))
    history.adopt(draw(tell, True))
    assert history.result == 'b({"c":"c(in)","a":"A(IN)","d":"d(a(in))"})'


def test_an_open_node_of_another_kind_is_refused(history: History) -> None:
    history.start(branch(nodes("x", x=broken)))

    def draw(dag: Dag) -> None:
        sub = Dag()
        sub.node("x", tell)
        dag.sub_dag("each", sub)

    assert re.search(r"no node 'each\[\w\]'", refused(history, draw))


def test_a_run_that_was_stopped_moves_too(history: History) -> None:
    flow = flow_of(nodes("a > b"))
    register(history.backend, flow)
    history.client.submit("flow", "in", run_id="r")
    history.client.stop("r")
    history.adopt(nodes("a > b > c"))
    assert history.result == "c(b(a(in)))"
