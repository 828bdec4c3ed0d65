"""What is wrong with edges of a Dag."""

from __future__ import annotations

import operator
from typing import Any

import pytest

from goflow import Dag, DefinitionError
from tests.authoring.drawing import chain, problem, problems, same


def test_an_edge_to_a_node_nobody_defined_names_the_nearest() -> None:
    dag = chain("resize", "upload")
    dag.edge("resise", "upload")
    assert "no node 'resise', did you mean 'resize'?" in problem(dag)


def test_both_ends_of_an_edge_may_be_unknown() -> None:
    dag = chain("a")
    dag.edge("x", "y")
    assert [text.partition("): ")[2] for text in problems(dag)] == [
        "no node 'x' (there is 'a')",
        "no node 'y' (there is 'a')",
    ]


def test_a_duplicate_edge_names_both_places() -> None:
    dag = Dag()
    dag.node("a") >> dag.node("b")
    dag.edge("a", "b", execution_only=True)
    text = problem(dag)
    assert "edge 'a' -> 'b'" in text
    assert "there is one already" in text
    assert text.count(__file__) == 2


def test_a_node_cannot_wait_for_itself() -> None:
    dag = chain("a")
    dag.edge("a", "a")
    assert "a node cannot wait for itself" in problem(dag)


def test_a_cycle_is_printed_as_a_path() -> None:
    dag = chain("a", "b", "c", "d")
    dag.edge("d", "b")
    assert problem(dag) == "cycle: b -> c -> d -> b; remove one of these edges"


def test_a_long_cycle_is_shown_by_its_ends() -> None:
    names = [f"n{number}" for number in range(5_000)]
    dag = chain(*names)
    dag.edge(names[-1], "n0")
    text = problem(dag)
    assert text.startswith("cycle: n0 -> n1 -> ")
    assert text.endswith("-> n4999 -> n0; remove one of these edges")
    assert "n9 -> ... (4981 more) ... -> n4991" in text


def test_of_very_many_problems_a_message_lists_the_first_and_counts_the_rest() -> None:
    dag = chain("a")
    for number in range(20_000):
        dag.edge(f"x{number}", "a")
    with pytest.raises(DefinitionError) as raised:
        dag.validate()
    assert len(raised.value.problems) == 20_000
    text = str(raised.value)
    assert text.count("\n") == 101
    assert text.endswith("\n  - ... and 19900 more")


def test_every_cycle_is_told() -> None:
    dag = chain("a", "b")
    dag.append(chain("c", "d"))
    dag.edge("b", "a")
    dag.edge("d", "c")
    assert [text.partition(";")[0] for text in problems(dag)] == [
        "cycle: a -> b -> a",
        "cycle: c -> d -> c",
    ]


def test_a_diamond_is_no_cycle() -> None:
    dag = Dag()
    a, b, c, d = (dag.node(name) for name in "abcd")
    a >> [b, c] >> d
    a >> d
    dag.validate()


def test_an_execution_only_edge_carries_nothing_to_forward() -> None:
    dag = Dag()
    dag.node("a")
    dag.node("b")
    dag.edge("a", "b", execution_only=True, forwarder=same)
    assert "an execution-only edge carries nothing to forward" in problem(dag)


def test_a_forwarder_is_checked_like_any_function() -> None:
    dag = Dag()
    dag.node("a")
    dag.node("b")
    dag.edge("a", "b", forwarder=lambda: b"")
    assert "takes 0 arguments, but gets forwarder(data)" in problem(dag)


@pytest.mark.parametrize("wrong", [5, None, [5], ["b", None], {"b": 1}.items(), Dag()])
def test_an_arrow_to_what_is_no_node_is_told(wrong: Any) -> None:
    node = Dag().node("a")
    told = ">>: expected a node, its name, or a list of them, got"
    with pytest.raises(TypeError, match=told):
        operator.rshift(node, wrong)
    with pytest.raises(TypeError, match=told):
        operator.rshift(wrong, node)
