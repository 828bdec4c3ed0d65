"""Drawing a Dag: what each call makes, and every way to get it wrong, told all at once."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from enum import IntEnum, StrEnum
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from goflow import Dag, DefinitionError, Workflow
from goflow.dag import Branches
from goflow.testing import run
from goflow.workflow import build


def same(data: bytes) -> bytes:
    return data


def chain(*names: str) -> Dag:
    dag = Dag()
    for name in names:
        dag.node(name, same)
    for before, after in pairwise(names):
        dag.edge(before, after)
    return dag


def problems(dag: Dag) -> tuple[str, ...]:
    """What is wrong with it, as its author is told."""
    with pytest.raises(DefinitionError) as raised:
        dag.validate()
    return raised.value.problems


def problem(dag: Dag) -> str:
    """The one thing that is wrong with it."""
    found = problems(dag)
    assert len(found) == 1, found
    return found[0]


def edges(dag: Dag) -> list[tuple[str, str]]:
    return [(e.source, e.target) for e in dag.freeze()[0].edges]


# -- what calls make ------------------------------------------------------------------------------


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


# -- what is wrong with names and nodes -----------------------------------------------------------


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


# -- what is wrong with edges ---------------------------------------------------------------------


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
    dag = chain("a", "b")
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


# -- what is wrong with what is inside ------------------------------------------------------------


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


# -- how it is told -------------------------------------------------------------------------------


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
