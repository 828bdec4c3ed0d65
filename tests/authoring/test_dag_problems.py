"""How problems of a Dag and of a flow are told: all at once, with file and line."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from goflow import Dag, DefinitionError, Workflow
from goflow.dag import Branches
from goflow.workflow import build
from tests.authoring.drawing import chain, problem, problems, same


def test_all_problems_are_told_at_once() -> None:
    dag = chain("a", "b", "c")
    dag.node("bad name")
    dag.node("many", retries=-1)
    dag.edge("c", "a")
    dag.edge("a", "nowhere")
    dag.sub_dag("empty", Dag())
    told = "\n".join(problems(dag))
    for part in ("illegal name", "retries must be", "cycle: a -> b -> c -> a", "nowhere", "empty"):
        assert part in told
    assert len(problems(dag)) == 5


def test_the_error_names_the_flow_and_counts_the_problems() -> None:
    def define(workflow: Workflow, context: object) -> None:
        workflow.dag.node("bad name")
        workflow.timeout = -1

    with pytest.raises(DefinitionError) as raised:
        build("thumbnails", define)
    text = str(raised.value)
    assert text.startswith("flow 'thumbnails' has 2 problems:\n  - timeout must be seconds > 0")
    assert "\n  - node 'bad name'" in text


def _line(marker: str) -> int:
    lines = Path(__file__).read_text().splitlines()
    (number,) = [n for n, line in enumerate(lines, 1) if line.endswith(f"#{marker}")]
    return number


@pytest.mark.parametrize(
    ("marker", "draw"),
    [
        ("node", lambda dag: dag.node("bad name")),  #node
        ("edge", lambda dag: dag.edge("a", "nowhere")),  #edge
        ("arrow", lambda dag: dag.node("a") >> "nowhere"),  #arrow
        ("reverse", lambda dag: "nowhere" >> dag.node("a")),  #reverse
        ("group", lambda dag: dag.node("a") >> ["a2"] >> "nowhere"),  #group
        ("sub", lambda dag: dag.sub_dag("bad name", chain("x"))),  #sub
        ("foreach", lambda dag: dag.foreach_branch("bad name", same).node("x")),  #foreach
        ("cond", lambda dag: dag.conditional_branch("bad name", "k", same)),  #cond
        ("key", lambda dag: _branches(dag)["zzz"]),  #key
        ("append", lambda dag: dag.append(None)),  #append
    ],
)  # fmt: skip
def test_a_problem_names_file_and_line(marker: str, draw: Callable[[Dag], object]) -> None:
    dag = chain("first", "a2")
    draw(dag)
    if marker == "edge":
        dag.node("a")
    place = f"{__file__}:{_line(marker)}"
    assert any(place in text for text in problems(dag))


def _branches(dag: Dag) -> Branches:
    branches = dag.conditional_branch("kind", ["k"], same)
    branches["k"].node("x")
    return branches


def test_a_wrong_signature_names_where_the_function_is() -> None:
    def work(a: bytes, b: object, c: object, d: object) -> bytes:
        return a

    dag = Dag()
    dag.node("n", work)
    assert f"{__file__}:{inspect.getsourcelines(work)[1]}" in problem(dag)


# -- workflows ------------------------------------------------------------------------------------


def wrong(define: Callable[[Workflow, Any], object], name: str = "flow") -> str:
    with pytest.raises(DefinitionError) as raised:
        build(name, define)
    return str(raised.value)


@pytest.mark.parametrize("timeout", [0, -1, "5", True, float("nan"), float("inf")], ids=repr)
def test_a_flows_timeout_is_a_number_of_seconds(timeout: Any) -> None:
    def define(workflow: Workflow, context: object) -> None:
        workflow.dag.node("n")
        workflow.timeout = timeout

    assert "timeout must be seconds > 0, or None" in wrong(define)


def test_a_flows_name_follows_the_rule() -> None:
    assert "illegal flow name" in wrong(lambda workflow, context: workflow.dag.node("n"), "a b")


def test_a_flow_has_one_handler_of_each_kind() -> None:
    def define(workflow: Workflow, context: object) -> None:
        workflow.dag.node("n")
        workflow.on_failure(lambda error: None)
        workflow.on_failure(lambda error: None)
        workflow.finally_(5)  # type: ignore[type-var]

    text = wrong(define)
    assert "on_failure is given twice" in text
    assert "finally_ must be a function, got int" in text


def test_a_workflows_dag_must_be_one() -> None:
    def define(workflow: Workflow, context: object) -> None:
        workflow.dag = "dag"  # type: ignore[assignment]

    assert "workflow.dag must be a goflow.Dag, got str" in wrong(define)


def nested(levels: int, uses: int = 1) -> Dag:
    dag = chain("leaf")
    for _ in range(levels):
        outer = Dag()
        for use in range(uses):
            outer.sub_dag(f"use{use}", dag)
        dag = outer
    return dag


def test_a_billion_nodes_drawn_in_few_lines_are_refused_at_once() -> None:
    assert "at most 1,000,000 are allowed" in problem(nested(30, uses=2))


def test_a_dag_inside_itself_is_told_as_that_however_deep() -> None:
    dag, inner = Dag(), Dag()
    dag.sub_dag("a", inner)
    inner.sub_dag("b", dag)
    assert "the Dag contains itself" in problem(dag)
