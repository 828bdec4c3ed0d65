"""Drawing a Dag: what each call makes."""

from __future__ import annotations

import re
from enum import IntEnum, StrEnum

from goflow import Dag, Workflow
from goflow.testing import run
from goflow.workflow import build
from tests.authoring.drawing import chain, edges, problems, same


def test_a_node_without_work_passes_its_input_through() -> None:
    dag = Dag()
    dag.node("through")
    assert run(dag, b"\xff\x00").data == b"\xff\x00"


def test_a_wrong_keyword_hides_no_other_problem() -> None:
    dag = Dag()
    dag.node("a", same, retry=3)  # type: ignore[call-arg]
    dag.edge("a", "b", exec_only=True)  # type: ignore[call-arg]
    dag.foreach_branch("each", list, parallel=2).node("c c", same)  # type: ignore[call-arg]
    branches = dag.conditional_branch("kind", ["x"], same, agregator=same)  # type: ignore[call-arg]
    branches["x"].node("d", same)
    found = [re.sub(r" \([^ ]*:\d+\)", "", text) for text in problems(dag)]
    assert found[:3] == [
        "node('a'): no option 'retry', did you mean 'retries'?",
        "edge('a', 'b'): no option 'exec_only', did you mean 'execution_only'?",
        "foreach_branch('each'): no option 'parallel', did you mean 'max_parallel'?",
    ]
    assert (
        found[3] == "conditional_branch('kind'): no option 'agregator', did you mean 'aggregator'?"
    )
    assert found[4] == "edge 'a' -> 'b': no node 'b' (there is 'a', 'each', 'kind')"
    assert found[5].startswith("in 'each': node 'c c': illegal name")
    assert __file__ in problems(dag)[0]


def test_a_second_call_pipes_a_further_function_inside_the_node() -> None:
    dag = Dag()
    dag.node("n", lambda data: data + b"1", retries=2)
    dag.node("n", lambda data: data + b"2")
    dag.node("n", lambda data: data + b"3")
    assert run(dag, b"0").data == b"0123"
    assert dag.freeze()[0].nodes["n"].retries == 2


def test_a_dag_knows_its_starts_and_ends_in_declared_order() -> None:
    dag = chain("c", "b")
    dag.node("z")
    dag.node("a")
    graph, _ = dag.freeze()
    assert graph.starts == ("c", "z", "a")
    assert graph.ends == ("b", "z", "a")


def test_an_arrow_chains_handles_names_and_lists() -> None:
    dag = Dag()
    a, b, c, d = (dag.node(name) for name in "abcd")
    a >> [b, c] >> d
    assert edges(dag) == [("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")]

    dag = Dag()
    a, *_ = (dag.node(name) for name in "abcde")
    a >> ["b", "c"] >> ("d", "e")
    "d" >> dag.node("f")
    ["d", "e"] >> dag.node("g")
    a >> "b2" >> "b3"
    dag.node("b2")
    dag.node("b3")
    assert edges(dag) == [
        ("a", "b"),
        ("a", "c"),
        ("b", "d"),
        ("b", "e"),
        ("c", "d"),
        ("c", "e"),
        ("d", "f"),
        ("d", "g"),
        ("e", "g"),
        ("a", "b2"),
        ("b2", "b3"),
    ]


def test_a_list_of_nodes_may_be_bracketed_with_what_follows() -> None:
    dag = Dag()
    a, b, c, d = (dag.node(name) for name in "abcd")
    a >> (b >> [c, d])
    assert edges(dag) == [("b", "c"), ("b", "d"), ("a", "c"), ("a", "d")]


def test_edges_may_be_drawn_before_their_nodes() -> None:
    dag = Dag()
    dag.edge("a", "b")
    dag.node("b")
    dag.node("a")
    assert dag.freeze()[0].starts == ("a",)


def test_append_takes_over_nodes_and_edges() -> None:
    dag = chain("a", "b")
    dag.append(chain("c", "d"))
    dag.edge("b", "c")
    assert list(dag.freeze()[0].nodes) == ["a", "b", "c", "d"]
    assert edges(dag) == [("a", "b"), ("c", "d"), ("b", "c")]


def test_one_dag_may_stand_in_several_places_and_flows() -> None:
    inner = Dag()
    inner.node("add", lambda data: data + b"+")

    def define(workflow: Workflow, context: object) -> None:
        workflow.dag.sub_dag("first", inner) >> workflow.dag.sub_dag("second", inner)

    assert run(build("one", define), b"0").data == b"0++"
    assert run(build("two", define), b"1").data == b"1++"


def test_a_sub_dag_may_be_a_function_that_returns_one() -> None:
    dag = Dag()
    dag.sub_dag("inner", lambda: chain("x"))
    assert list(dag.freeze()[1]) == ["inner", "inner/x"]


def test_condition_keys_that_are_numbers_become_text() -> None:
    class Level(IntEnum):
        LOW = 1

    class Kind(StrEnum):
        PASS = "pass"

    dag = Dag()
    branches = dag.conditional_branch("b", [Level.LOW, 2, Kind.PASS], lambda data: Level.LOW)
    assert list(branches) == ["1", "2", "pass"]
    branches[1].node("x", lambda data: b"low")
    branches["2"].node("x")
    branches[Kind.PASS].node("x")
    assert run(dag).data == b"low"


def test_assigning_another_dag_replaces_the_workflows() -> None:
    def define(workflow: Workflow, context: object) -> None:
        workflow.dag.node("forgotten")
        workflow.dag = chain("a", "b")

    assert list(build("flow", define).plan.graph.nodes) == ["a", "b"]
