"""What is wrong with names and nodes of a Dag."""

from __future__ import annotations

from typing import Any

import pytest

from goflow import Dag
from tests.authoring.drawing import chain, problem, problems, same


@pytest.mark.parametrize(
    "name", ["", "a b", "a/b", "~x", "-x", ".x", "ä", "a" * 65, "a\n", 5, None]
)
def test_an_illegal_name_is_told_with_the_rule(name: Any) -> None:
    dag = Dag()
    dag.node(name)
    text = problem(dag)
    assert f"node {name!r}" in text
    assert "illegal name" in text
    assert "at most 64" in text


@pytest.mark.parametrize("name", ["a", "0", "A.b_c-d", "a" * 64])
def test_a_legal_name_is_taken(name: str) -> None:
    assert list(chain(name).freeze()[0].nodes) == [name]


@pytest.mark.parametrize("draw", ["sub_dag", "conditional_branch", "foreach_branch"])
def test_a_name_taken_by_a_node_is_no_branch_or_sub_dag_too(draw: str) -> None:
    dag = chain("taken")
    if draw == "sub_dag":
        dag.sub_dag("taken", chain("x"))
    elif draw == "conditional_branch":
        dag.conditional_branch("taken", ["k"], same)["k"].node("x")
    else:
        dag.foreach_branch("taken", same).node("x")
    assert "this name is taken by a node" in problem(dag)


@pytest.mark.parametrize("label", ["sub-DAG", "conditional branch", "foreach branch"])
def test_a_function_cannot_be_piped_into_a_branch_or_sub_dag(label: str) -> None:
    dag = Dag()
    if label == "sub-DAG":
        dag.sub_dag("taken", chain("x"))
    elif label == "conditional branch":
        dag.conditional_branch("taken", ["k"], same)["k"].node("x")
    else:
        dag.foreach_branch("taken", same).node("x")
    dag.node("taken", same)
    assert f"this name is taken by a {label}" in problem(dag)


@pytest.mark.parametrize(
    "more",
    [{"retries": 1}, {"aggregator": same}, {"on_failure": same}, {"timeout": 1}],
    ids=lambda more: next(iter(more)),
)
def test_a_further_function_brings_no_options(more: dict[str, Any]) -> None:
    dag = chain("n")
    dag.node("n", same, **more)
    assert "brings no options" in problem(dag)


def test_a_second_call_without_a_function_is_a_mistake() -> None:
    dag = chain("n")
    dag.node("n")
    assert "defined twice without a function" in problem(dag)


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("retries", -1, "a whole number >= 0"),
        ("retries", 1.5, "a whole number >= 0"),
        ("retries", True, "a whole number >= 0"),
        ("retry_delay", -1, "seconds >= 0"),
        ("retry_delay", "1", "seconds >= 0"),
        ("retry_delay", float("nan"), "seconds >= 0"),
        ("retry_backoff", 0.5, "a factor >= 1"),
        ("timeout", 0, "seconds > 0"),
        ("timeout", float("inf"), "seconds > 0"),
        ("on_worker_lost", "ignore", '"retry" or "fail"'),
    ],
)
def test_an_option_out_of_range_is_told(option: str, value: Any, expected: str) -> None:
    dag = Dag()
    dag.node("n", same, **{option: value})
    text = problem(dag)
    assert f"{option} must be {expected}" in text
    assert f"got {value!r}" in text


def test_whole_seconds_are_seconds() -> None:
    dag = Dag()
    dag.node("n", retry_delay=2, retry_backoff=1, timeout=3)
    node = dag.freeze()[0].nodes["n"]
    assert (node.retry_delay, node.retry_backoff, node.timeout) == (2.0, 1.0, 3.0)


@pytest.mark.parametrize("wrong", [0, -1, 1.5, True])
def test_max_parallel_is_at_least_one(wrong: Any) -> None:
    dag = Dag()
    dag.foreach_branch("each", same, max_parallel=wrong).node("x")
    assert f"max_parallel must be 1 or more, got {wrong!r}" in problem(dag)


@pytest.mark.parametrize("role", ["work", "aggregator", "on_failure"])
def test_what_is_no_function_is_told_by_its_role(role: str) -> None:
    dag = Dag()
    wrong: dict[str, Any] = {role: "text"}
    dag.node("n", **wrong)
    assert f"{role} must be a function, got str" in problem(dag)


def test_a_branch_needs_its_function() -> None:
    dag = Dag()
    dag.conditional_branch("b", ["k"], None)["k"].node("x")  # type: ignore[arg-type]
    dag.foreach_branch("f", None).node("x")  # type: ignore[arg-type]
    assert [text.partition("): ")[2] for text in problems(dag)] == [
        "condition must be a function, got NoneType",
        "foreach must be a function, got NoneType",
    ]
