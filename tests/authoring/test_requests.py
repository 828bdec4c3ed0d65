"""What a flow and its input are to a store: a request, scopes, errors."""

from __future__ import annotations

from typing import Any

import pytest

from goflow import Context, Dag, DefinitionError, Payload, PayloadError, Workflow
from goflow.engine import request, step
from goflow.message import Input, Item
from goflow.payload import EMPTY, OCTETS, TEXT
from goflow.testing.driver import as_flow
from goflow.workflow import build
from tests.authoring.flows import gives, node_plan, show, task


def test_a_requests_digest_covers_flow_payload_and_query() -> None:
    plan = node_plan()
    digest = request(plan, "r", Payload(b"x", TEXT), {"a": ["1"], "b": ["2"]}).digest
    same = request(plan, "other", Payload(b"x", TEXT), {"b": ["2"], "a": ["1"]}, headers={"h": "1"})
    assert same.digest == digest
    for other in (
        request(plan, "r", Payload(b"y", TEXT), {"a": ["1"], "b": ["2"]}),
        request(plan, "r", Payload(b"x", OCTETS), {"a": ["1"], "b": ["2"]}),
        request(plan, "r", Payload(b"x", TEXT), {"a": ["1", "2"]}),
        request(plan, "r", Payload(b"x", TEXT)),
    ):
        assert other.digest != digest


def test_one_text_in_a_query_is_one_value_and_not_its_letters() -> None:
    """A text is a sequence of texts to Python and to type checkers, so nobody is warned; over HTTP it always was one."""
    made = request(node_plan(), "r", EMPTY, {"size": "large", "page": ("1", "2"), "no": []})
    assert made.query == {"size": ["large"], "page": ["1", "2"], "no": []}
    assert made.digest == request(node_plan(), "r", EMPTY, made.query).digest


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ({"page": 5}, "expected a list of texts for 'page', such as [\"5\"], got 5"),
        ({"page": None}, "got None"),
        ({"page": b"5"}, "got b'5'"),
        ("page=5", 'expected a mapping such as {"size": ["5"]}, got \'page=5\''),
    ],
)
def test_a_query_of_another_shape_is_told(query: Any, told: str) -> None:
    with pytest.raises(PayloadError, match=r"^query: ") as refused:
        request(node_plan(), "r", EMPTY, query)
    assert told in str(refused.value)


@pytest.mark.filterwarnings("error")
def test_what_is_no_definition_is_told_to_programs_as_to_the_command_line() -> None:
    """A program that registers one, or tests one, has no file and line around it."""

    async def waits(workflow: Workflow, context: Context) -> None: ...

    shapes: list[tuple[Any, str]] = [
        (waits, "flow 'name': a definition is a plain function, not `async def`"),
        (lambda workflow: None, "flow 'name': expected a function (workflow, context), got (work"),
        (Dag(), "flow 'name': expected a function (workflow, context), got Dag"),
        ("flow.py", "flow 'name': expected a function (workflow, context), got str"),
    ]
    for define, told in shapes:
        with pytest.raises(DefinitionError) as refused:
            build("name", define)
        assert str(refused.value).startswith(told)


def test_a_request_says_how_the_run_starts_and_ends() -> None:
    def define(workflow: Workflow, context: Context) -> None:
        workflow.dag.node("a")
        workflow.dag.edge("a", workflow.dag.node("c"))
        workflow.dag.node("b")
        workflow.finally_(show)
        workflow.timeout = 5

    plan = build("flow", define).plan
    made = request(plan, "r", EMPTY, {"n": ["1"]}, headers={"h": "v"}, owner=7)
    assert (made.starts, made.handlers, made.timeout) == (("a", "b"), ("~finally",), 5.0)
    assert (made.flow, made.fingerprint, made.owner) == ("flow", plan.fingerprint, 7)


def test_a_sub_dag_opens_one_scope_with_its_starts() -> None:
    inner = Dag()
    inner.node("a")
    inner.node("b")
    dag = Dag()
    dag.sub_dag("sub", inner)
    made = step(as_flow(dag), task("sub"), [Input("", Payload(b"x"))])
    assert made.output is None
    assert made.opened is not None
    assert made.opened.expects == 2
    assert made.opened.items == (Item("sub/", ("a", "b"), Payload(b"x")),)


def test_errors_keep_their_type() -> None:
    dag = Dag()
    dag.node("n", gives(object()))
    with pytest.raises(PayloadError):
        step(as_flow(dag), task("n"), [Input("", EMPTY)])
