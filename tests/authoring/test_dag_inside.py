"""What is wrong with what is inside a Dag: empty ones, branches' keys, itself, another's nodes."""

from __future__ import annotations

from typing import Any

import pytest

from goflow import Dag
from goflow.testing import run
from tests.authoring.drawing import chain, problem, problems, same


def test_an_empty_dag_is_told() -> None:
    assert "the DAG is empty" in problem(Dag())


@pytest.mark.parametrize("kind", ["sub_dag", "conditional", "foreach"])
def test_an_empty_dag_inside_is_told_where_it_was_made(kind: str) -> None:
    dag = Dag()
    label = "inner"
    if kind == "sub_dag":
        dag.sub_dag("inner", Dag())
    elif kind == "conditional":
        dag.conditional_branch("inner", ["left"], same)
        label = "inner[left]"
    else:
        dag.foreach_branch("inner", same)
    text = problem(dag)
    assert f"node '{label}' ({__file__}:" in text
    assert "its DAG is empty" in text


def test_a_problem_inside_is_told_with_the_way_to_it() -> None:
    dag = Dag()
    inner = dag.foreach_branch("each", same)
    branch = inner.conditional_branch("kind", ["left"], same)["left"]
    branch.sub_dag("deep", chain("a"))
    branch.edge("deep", "nowhere")
    assert problem(dag).startswith("in 'each': in 'kind[left]': edge 'deep' -> 'nowhere'")


@pytest.mark.parametrize("conditions", [[], (), {}], ids=repr)
def test_empty_conditions_are_told(conditions: Any) -> None:
    dag = Dag()
    dag.conditional_branch("b", conditions, same)["whatever"].node("x")
    assert "conditions is empty" in problem(dag)


@pytest.mark.parametrize("conditions", ["pass", b"pass", 5, None], ids=repr)
def test_conditions_that_are_no_list_of_keys_are_told(conditions: Any) -> None:
    dag = Dag()
    dag.conditional_branch("b", conditions, same)
    assert f"conditions must be a list of keys, got {conditions!r}" in problem(dag)


@pytest.mark.parametrize("key", ["", "x" * 257, "é" * 129, 1.5, None, b"k", "\ud800"], ids=ascii)
def test_a_key_that_cannot_be_one_is_told(key: Any) -> None:
    dag = Dag()
    dag.conditional_branch("b", ["fine", key], same)["fine"].node("x")
    assert "must be text of 1 to 256 bytes in UTF-8, or a whole number" in problem(dag)


def test_a_key_may_have_256_bytes_and_any_characters() -> None:
    dag = Dag()
    keys = ["é" * 128, "a/b [c] 100%"]
    for branch in dag.conditional_branch("b", keys, lambda data: keys[1]).values():
        branch.node("x", lambda data, context: context.node)
    assert run(dag).text() == "b[a%2Fb%20%5Bc%5D%20100%25]/x"


@pytest.mark.parametrize("keys", [["a", "a"], [1, "1"]], ids=repr)
def test_a_key_listed_twice_is_told(keys: list[str | int]) -> None:
    dag = Dag()
    dag.conditional_branch("b", keys, same)[keys[0]].node("x")
    assert f"condition key {str(keys[0])!r} is listed twice" in problem(dag)


def test_a_condition_that_was_not_listed_names_the_nearest() -> None:
    dag = Dag()
    branches = dag.conditional_branch("kind", ["pass", "fail"], same)
    branches["pass"].node("x")
    branches["fial"].node("x")
    branches["fail"].node("x")
    text = problem(dag)
    assert "node 'kind'" in text
    assert "no condition 'fial' was listed, did you mean 'fail'?" in text


def test_a_sub_dag_that_is_no_dag_is_told_once() -> None:
    dag = Dag()
    dag.sub_dag("s", 5)  # type: ignore[arg-type]
    dag.sub_dag("f", lambda: "text")  # type: ignore[arg-type,return-value]
    assert [text.partition("): ")[2] for text in problems(dag)] == [
        "sub_dag needs a goflow.Dag, got int",
        "sub_dag needs a goflow.Dag, got str",
    ]


def test_a_dag_cannot_contain_itself() -> None:
    dag = chain("a")
    dag.sub_dag("self", dag)
    assert "node 'self'" in problem(dag)
    assert "the Dag contains itself" in problem(dag)


def test_a_dag_cannot_contain_itself_by_way_of_another() -> None:
    outer = chain("a")
    inner = outer.foreach_branch("each", same)
    inner.sub_dag("again", outer)
    assert problem(outer).startswith("in 'each': node 'again'")
    assert "the Dag contains itself" in problem(outer)


def test_append_refuses_a_shared_name() -> None:
    dag = chain("a", "b")
    dag.append(chain("b", "c"))
    assert "append: both DAGs have it" in problem(dag)


def test_append_refuses_what_is_no_dag() -> None:
    dag = chain("a")
    dag.append("b")  # type: ignore[arg-type]
    assert "expected a goflow.Dag, got 'b'" in problem(dag)


def test_append_brings_along_what_is_wrong() -> None:
    other = Dag()
    other.node("bad name")
    dag = chain("a")
    dag.append(other)
    assert "illegal name" in problem(dag)


def test_append_keeps_a_duplicate_edge_a_mistake() -> None:
    dag = Dag()
    dag.edge("a", "b")
    dag.append(chain("a", "b"))
    assert "there is one already" in problem(dag)
