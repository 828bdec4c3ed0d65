"""What a flow computes: joins, edges, branches, sub-DAGs, failures, handlers and the context."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import goflow
from goflow import (
    Context,
    ContextError,
    Dag,
    NodeFailed,
    Payload,
    PayloadError,
    RunFailed,
    Workflow,
)
from goflow.engine import LONGEST_DELAY, after_failure, refusal, request, step
from goflow.message import TIMED_OUT, WORKER_LOST, Failure, Input, Item, Step, Task
from goflow.opening import CHUNK
from goflow.payload import EMPTY, JSON, OCTETS, TEXT, of_input
from goflow.state import NodeState, RunState
from goflow.testing import Simulation, run
from goflow.testing.driver import as_flow
from goflow.workflow import build
from tests.naming import named

Work = Callable[..., Any]


def gives(value: object) -> Work:
    """A function that returns this."""
    return lambda data: value


def show(data: bytes) -> str:
    return f"<{data.decode()}>"


def fails(data: bytes) -> bytes:
    raise ValueError("boom")


def parallel(*outputs: object, aggregator: Work | None = None, names: str = "bacdefgh") -> Dag:
    """Nodes side by side that return these, and one named `join` after them all."""
    dag = Dag()
    for name, output in zip(names, outputs, strict=False):
        dag.node(name, gives(output))
    dag.node("join", aggregator=aggregator)
    for name, _ in zip(names, outputs, strict=False):
        dag.edge(name, "join")
    return dag


def failure(flow: Any, data: object = b"") -> str:
    with pytest.raises(RunFailed) as raised:
        run(flow, data)
    return str(raised.value)


# -- joins ----------------------------------------------------------------------------------------


def test_a_join_without_an_aggregator_is_a_json_object_in_edge_order() -> None:
    made = run(parallel("b", "a", "c"))
    assert made == Payload(b'{"b":"b","a":"a","c":"c"}', JSON)


def test_a_join_keeps_json_texts_and_nothing_apart() -> None:
    made = run(parallel({"x": 1}, '{"x": 1}', None, "", b"bytes", b"", [1.50]))
    assert made.data == (
        b'{"b":{"x":1},"a":"{\\"x\\": 1}","c":null,"d":"","e":"bytes","f":null,"g":[1.5]}'
    )


def test_json_goes_through_a_join_byte_for_byte() -> None:
    number = b'{"n": 123456789012345678901234567890.10}'
    assert run(parallel(Payload(number, JSON), None)).data == b'{"b":' + number + b',"a":null}'


@pytest.mark.parametrize("data", [b"{", b"", b"NaN", b'"\\x"'], ids=repr)
def test_what_says_json_and_is_none_joins_as_text(data: bytes) -> None:
    made = run(parallel(Payload(data, JSON), 1)).json()
    assert made == {"b": data.decode() or None, "a": 1}


@pytest.mark.parametrize("raw", [Payload(b"\xff", OCTETS), Payload(b'"\xff"', JSON)], ids=repr)
def test_raw_bytes_need_an_aggregator(raw: Payload) -> None:
    text = failure(parallel("fine", raw))
    assert text.startswith("run test failed: join: PayloadError: 'a' yields bytes")
    assert "not UTF-8" in text
    assert "give join an aggregator" in text


def test_an_aggregator_takes_raw_bytes() -> None:
    made = run(parallel(b"\xff", b"\xfe", aggregator=lambda inputs: b"".join(inputs.values())))
    assert made.data == b"\xff\xfe"


def test_an_aggregator_sees_its_inputs_in_edge_order_however_they_came() -> None:
    dag = parallel(
        "1", "2", "3", aggregator=lambda inputs: [[k, v.decode()] for k, v in inputs.items()]
    )
    for first in range(3):
        simulation = Simulation(as_flow(dag))
        made = simulation.run(lambda ready, first=first: first % len(ready))  # type: ignore[misc]
        assert made.json() == [["b", "1"], ["a", "2"], ["c", "3"]]


def test_an_aggregator_is_called_for_a_single_data_edge() -> None:
    assert run(parallel("x", aggregator=lambda inputs: repr(inputs))).text() == "{'b': b'x'}"


def test_a_single_data_edge_brings_the_result_as_it_is() -> None:
    assert run(parallel(b"\xff")).data == b"\xff"


def test_the_aggregator_comes_before_the_nodes_function() -> None:
    dag = Dag()
    join = dag.node("join", show, aggregator=lambda inputs: b"+".join(inputs.values()))
    dag.node("a", gives("1")) >> join
    dag.node("b", gives("2")) >> join
    assert run(dag).text() == "<1+2>"


def test_a_start_node_has_no_data_edge_and_calls_no_aggregator() -> None:
    dag = Dag()
    dag.node("start", aggregator=fails)
    assert run(dag, b"as is").data == b"as is"


def test_an_execution_only_edge_adds_no_key() -> None:
    dag = parallel("1", "2")
    dag.node("before", gives(b"\xff"))
    dag.edge("before", "join", execution_only=True)
    assert run(dag).json() == {"b": "1", "a": "2"}


def test_one_data_edge_beside_execution_only_ones_is_no_join() -> None:
    dag = parallel("1")
    dag.node("before", gives("2"))
    dag.edge("before", "join", execution_only=True)
    assert run(dag) == Payload(b"1", TEXT)


def test_a_node_with_execution_only_edges_alone_gets_an_empty_payload() -> None:
    dag = Dag()
    dag.node("before", gives("dropped"))
    dag.node("node", lambda data, context: [data.decode(), len(context.node_input)])
    dag.edge("before", "node", execution_only=True)
    assert run(dag, b"input").json() == ["", 0]


def test_execution_only_edges_alone_call_no_aggregator() -> None:
    dag = Dag()
    dag.node("before")
    dag.node("node", aggregator=fails)
    dag.edge("before", "node", execution_only=True)
    assert run(dag, b"input") == EMPTY


def test_an_execution_only_edge_still_orders() -> None:
    dag = Dag()
    dag.node("second")
    dag.node("first")
    dag.edge("first", "second", execution_only=True)
    simulation = Simulation(as_flow(dag))
    simulation.run()
    assert simulation.order == ["first", "second"]


def test_a_forwarder_reshapes_what_its_edge_carries_and_no_other() -> None:
    dag = Dag()
    a, b, c = dag.node("a", gives({"left": 1, "right": 2})), dag.node("b"), dag.node("c")

    def right(data: dict[str, int]) -> int:
        return data["right"]

    dag.edge(a, b, forwarder=right)
    dag.edge(a, c)
    assert run(dag).json() == {"b": 2, "c": {"left": 1, "right": 2}}


def test_a_forwarder_reshapes_the_result_of_a_branch_and_of_a_sub_dag() -> None:
    dag = Dag()
    inner = Dag()
    inner.node("x", show)
    sub = dag.sub_dag("sub", inner)
    dag.foreach_branch("each", lambda data: [1, 2]).node("x")
    end = dag.node("end")
    dag.edge(sub, "each", forwarder=show)
    dag.edge("each", end, forwarder=show)
    assert run(dag, b"in").text() == "<[1,2]>"
    simulation = Simulation(as_flow(dag), Payload(b"in"))
    simulation.run()
    assert simulation.outputs["sub"].text() == "<in>", (
        "what a node recorded is not what an edge carries"
    )


def test_a_forwarder_that_returns_nothing_sends_an_empty_payload() -> None:
    dag = Dag()
    dag.edge(dag.node("a"), dag.node("b", show), forwarder=gives(None))
    assert run(dag, b"in").text() == "<>"


def test_a_forwarder_that_raises_fails_the_node_it_leaves() -> None:
    dag = Dag()
    dag.edge(dag.node("a"), dag.node("b"), forwarder=fails)
    assert failure(dag) == "run test failed: a: ValueError: boom"


# -- starts and ends ------------------------------------------------------------------------------


def test_every_start_gets_the_runs_input() -> None:
    dag = parallel("ignored")
    for name in "xy":
        dag.edge(dag.node(name, show), "join")
    assert run(dag, b"in").json() == {"b": "ignored", "x": "<in>", "y": "<in>"}


def test_one_end_gives_the_result_as_it_is() -> None:
    dag = Dag()
    dag.node("end", gives(b"\xff"))
    assert run(dag) == Payload(b"\xff", OCTETS)


def test_several_ends_give_an_object_in_declared_order() -> None:
    dag = Dag()
    for name, value in {"z": 1, "a": "x", "m": None}.items():
        dag.node(name, gives(value))
    assert run(dag).data == b'{"z":1,"a":"x","m":null}'


def test_raw_bytes_of_several_ends_say_what_to_do() -> None:
    dag = Dag()
    dag.node("a", gives(b"\xff"))
    dag.node("b")
    assert "let a node with an aggregator follow a, b" in failure(dag)


# -- conditional branches -------------------------------------------------------------------------


def conditional(chosen: object, **options: Any) -> Dag:
    """A branch over pass, fail and 3, each of whose DAGs marks its input, and a node after it."""
    dag = Dag()
    branches = dag.conditional_branch("kind", ["pass", "fail", 3], gives(chosen), **options)
    for key, inner in branches.items():
        inner.node("mark", lambda data, key=key: f"{key}({data.decode()})")
    dag.edge("kind", dag.node("end"))
    return dag


def test_one_chosen_key_gives_its_result_as_it_is() -> None:
    assert run(conditional("pass"), b"in") == Payload(b"pass(in)", TEXT)


@pytest.mark.parametrize("chosen", [3, "3", [3], ("3",), {3: "x"}], ids=repr)
def test_integer_keys_are_text(chosen: object) -> None:
    assert run(conditional(chosen), b"in").text() == "3(in)"


@pytest.mark.parametrize(
    "chosen", [["fail", "pass"], ("pass", "fail", "pass"), {"pass", "fail"}], ids=type
)
def test_several_keys_give_an_object_in_declared_order_each_once(chosen: object) -> None:
    assert run(conditional(chosen), b"in").data == b'{"pass":"pass(in)","fail":"fail(in)"}'


@pytest.mark.parametrize("chosen", [None, [], (), set()], ids=repr)
@pytest.mark.parametrize("aggregator", [None, fails], ids=["plain", "aggregator"])
def test_no_key_chosen_lets_the_branchs_own_input_go_on(
    chosen: object, aggregator: Work | None
) -> None:
    assert run(conditional(chosen, aggregator=aggregator), b"\xff in") == Payload(
        b"\xff in", OCTETS
    )


def test_an_aggregator_is_called_for_one_chosen_key_too() -> None:
    dag = conditional("pass", aggregator=lambda results: repr(results))
    assert run(dag, b"in").text() == "{'pass': b'pass(in)'}"


def test_an_execution_only_branch_yields_an_empty_payload() -> None:
    for chosen in ("pass", ["pass", "fail"], None):
        dag = conditional(chosen, execution_only=True, aggregator=fails)
        assert run(dag, b"in") == EMPTY


@pytest.mark.parametrize(
    ("chosen", "part"),
    [
        ("fial", "unknown key 'fial', did you mean 'fail'?"),
        (["pass", 4], "unknown key 4"),
        ("", "unknown key ''"),
        ([None], "unknown key None"),
        (b"pass", "must return a key or keys of ['pass', 'fail', '3'], got bytes"),
        (1.5, "must return a key or keys"),
    ],
    ids=repr,
)
def test_a_key_nobody_listed_fails_the_run(chosen: object, part: str) -> None:
    assert part in failure(conditional(chosen))


def test_a_condition_receives_what_its_annotation_says() -> None:
    def condition(data: int) -> str:
        return "even" if data % 2 == 0 else "odd"

    dag = Dag()
    for key, inner in dag.conditional_branch("parity", ["even", "odd"], condition).items():
        inner.node("x", gives(key))
    assert run(dag, 3).text() == "odd"


def test_raw_bytes_of_several_keys_need_the_branchs_aggregator() -> None:
    dag = Dag()
    for inner in dag.conditional_branch("kind", ["a", "b"], gives(["a", "b"])).values():
        inner.node("x", gives(b"\xff"))
    assert "'a' yields bytes that are not UTF-8: give kind an aggregator" in failure(dag)


# -- foreach branches -----------------------------------------------------------------------------


def foreach(items: object, **options: Any) -> Dag:
    dag = Dag()
    dag.foreach_branch("each", gives(items), **options).node(
        "x", lambda data, context: f"{context.node}={data.decode()}"
    )
    dag.edge("each", dag.node("end"))
    return dag


def test_foreach_over_a_list_gives_a_list_in_order() -> None:
    assert run(foreach(["b", 1, None])).json() == ["each[0]/x=b", "each[1]/x=1", "each[2]/x="]


def test_foreach_over_a_mapping_gives_an_object_in_its_order() -> None:
    made = run(foreach({"b": 1, "a": "x", 7: [2]}))
    assert made.data == b'{"b":"each[b]/x=1","a":"each[a]/x=x","7":"each[7]/x=[2]"}'


def test_foreach_takes_any_iterable() -> None:
    def items(data: bytes) -> Iterator[str]:
        yield from ("a", "b")

    dag = Dag()
    dag.foreach_branch("each", items).node("x", show)
    assert run(dag).json() == ["<a>", "<b>"]


def test_keys_are_percent_encoded_in_paths_and_nowhere_else() -> None:
    key = "a/b [c] 100%\n"
    seen: list[object] = []

    def aggregate(results: Mapping[str, bytes], options: object, context: Context) -> bytes:
        seen.extend([list(results), list(context.node_input)])
        return results[key]

    assert run(foreach({key: "v"})).json() == {key: "each[a%2Fb%20%5Bc%5D%20100%25%0A]/x=v"}
    made = run(foreach({key: "v"}, aggregator=aggregate))
    assert made.text() == "each[a%2Fb%20%5Bc%5D%20100%25%0A]/x=v"
    assert seen == [[key], [key]]


def test_an_aggregator_sees_positions_as_text_in_order() -> None:
    dag = foreach([str(n) for n in range(12)], aggregator=lambda results: list(results))
    simulation = Simulation(as_flow(dag))
    made = simulation.run(lambda ready: len(ready) - 1)
    assert made.json() == [str(n) for n in range(12)]


@pytest.mark.parametrize(("items", "expected"), [({}, b"{}"), ([], b"[]"), (iter(()), b"[]")])
def test_no_items_give_an_empty_object_or_list(items: object, expected: bytes) -> None:
    assert run(foreach(items)) == Payload(expected, JSON)


@pytest.mark.parametrize("items", [{}, []], ids=repr)
def test_no_items_call_the_aggregator_with_nothing(items: object) -> None:
    assert run(foreach(items, aggregator=lambda results: repr(results))).text() == "{}"


@pytest.mark.parametrize("items", [{"a": 1}, [1, 2], []], ids=repr)
def test_an_execution_only_foreach_yields_an_empty_payload(items: object) -> None:
    assert run(foreach(items, execution_only=True, aggregator=fails)) == EMPTY


@pytest.mark.parametrize(
    ("items", "part"),
    [
        ("text", "foreach must return a mapping of keys to payloads or an iterable"),
        (b"bytes", "got bytes"),
        (bytearray(b"x"), "got bytearray"),
        (memoryview(b"x"), "got memoryview"),
        (5, "got int"),
        (None, "got NoneType"),
        ({1: "x", "1": "y"}, "the key '1' twice"),
        ({"": 1}, "the key '': expected text of 1 to 256 bytes in UTF-8, or a whole number"),
        ({"x" * 257: 1}, "expected text of 1 to 256 bytes"),
        ({None: 1}, "the key None: expected text"),
        ({b"k": 1}, "the key b'k': expected text"),
        ({"\ud800": 1}, "expected text of 1 to 256 bytes in UTF-8"),
        ([1, object()], "cannot encode object as JSON"),
    ],
    ids=named,
)
def test_foreach_refuses_what_has_no_keys_and_keys_that_clash(items: object, part: str) -> None:
    assert part in failure(foreach(items))


def test_raw_bytes_of_items_need_the_branchs_aggregator() -> None:
    dag = Dag()
    dag.foreach_branch("each", gives([1, 2])).node("x", gives(b"\xff"))
    assert "item 0 yields bytes that are not UTF-8: give each an aggregator" in failure(dag)


def test_several_ends_of_an_item_join_to_an_object() -> None:
    dag = Dag()
    inner = dag.foreach_branch("each", gives({"k": "v", "l": "w"}))
    inner.node("z", show)
    inner.node("a", gives(1))
    made = run(dag)
    assert made.data == b'{"k":{"z":"<v>","a":1},"l":{"z":"<w>","a":1}}'


def test_raw_bytes_of_an_items_several_ends_say_what_to_do() -> None:
    dag = Dag()
    inner = dag.foreach_branch("each", gives(["v"]), aggregator=gives("never"))
    inner.node("z", gives(b"\xff"))
    inner.node("a")
    text = failure(dag)
    assert "each[0]: PayloadError: 'z' yields bytes" in text
    assert "let a node with an aggregator follow z, a" in text


def test_a_wide_foreach_hands_its_items_over_in_chunks() -> None:
    dag = Dag()
    dag.foreach_branch("each", lambda data: range(2 * CHUNK + 3)).node("x")
    staged: list[int] = []

    def stage(items: Any) -> None:
        staged.append(len(items))

    made = step(as_flow(dag), task("each"), [Input("", EMPTY)], stage=stage)
    assert staged == [CHUNK, CHUNK]
    assert made.opened is not None
    assert len(made.opened.items) == 3
    assert made.opened.expects == 2 * CHUNK + 3
    assert made.opened.keys is None


# -- sub-DAGs and nesting -------------------------------------------------------------------------


def test_a_sub_dag_gives_the_result_of_its_end() -> None:
    inner = Dag()
    inner.node("a", show) >> inner.node("b", show)
    dag = Dag()
    dag.sub_dag("one", inner) >> dag.sub_dag("two", inner)
    assert run(dag, b"x").text() == "<<<<x>>>>"


def test_several_ends_of_a_sub_dag_join_to_an_object() -> None:
    inner = Dag()
    inner.node("z", gives(1))
    inner.node("a", gives(None))
    dag = Dag()
    dag.sub_dag("sub", inner) >> dag.node("after", show)
    assert run(dag).text() == '<{"z":1,"a":null}>'


def test_raw_bytes_of_a_sub_dags_several_ends_say_what_to_do() -> None:
    inner = Dag()
    inner.node("z", gives(b"\xff"))
    inner.node("a")
    dag = Dag()
    dag.sub_dag("sub", inner)
    assert "let a node with an aggregator follow z, a" in failure(dag)


@pytest.mark.parametrize("kind", ["sub_dag", "conditional", "foreach"])
def test_several_inputs_of_a_branch_or_sub_dag_join_before_it(kind: str) -> None:
    dag = parallel("1", "2")
    inner = Dag()
    if kind == "sub_dag":
        dag.sub_dag("branch", inner)
    elif kind == "conditional":
        inner = dag.conditional_branch("branch", ["k"], gives("k"), aggregator=fails)["k"]
    else:
        inner = dag.foreach_branch("branch", lambda data: [data], aggregator=fails)
    inner.node("x", lambda data: Payload(data, JSON))
    dag.edge("a", "branch")
    dag.edge("b", "branch")
    simulation = Simulation(as_flow(dag))
    if kind == "sub_dag":
        assert simulation.run().json()["branch"] == {"a": "2", "b": "1"}
    else:
        with pytest.raises(RunFailed, match="branch: ValueError: boom"):
            simulation.run(lambda ready: len(ready) - 1)
    (inner_output,) = [p for path, p in simulation.outputs.items() if path.endswith("/x")]
    assert inner_output.json() == {"a": "2", "b": "1"}


def test_raw_bytes_before_a_branch_advise_a_node_in_between() -> None:
    dag = parallel("1", b"\xff", aggregator=gives(""))
    dag.foreach_branch("each", gives([])).node("x")
    dag.edge("b", "each")
    dag.edge("a", "each")
    assert "put a node with an aggregator before each" in failure(dag)


def test_branches_nest_to_any_depth() -> None:
    dag = Dag()
    inner = dag.foreach_branch("outer", gives({"x": "1", "y": "2"}))
    branches = inner.conditional_branch("kind", ["1", "2"], lambda data: data.decode())
    deepest = Dag()
    deepest.node("leaf", lambda data, context: context.node)
    deepest.foreach_branch("items", lambda data: [data, data]).node(
        "leaf", lambda data, context: context.node
    )
    for branch in branches.values():
        branch.sub_dag("deep", deepest)
    assert run(dag).json() == {
        "x": {
            "leaf": "outer[x]/kind[1]/deep/leaf",
            "items": ["outer[x]/kind[1]/deep/items[0]/leaf", "outer[x]/kind[1]/deep/items[1]/leaf"],
        },
        "y": {
            "leaf": "outer[y]/kind[2]/deep/leaf",
            "items": ["outer[y]/kind[2]/deep/items[0]/leaf", "outer[y]/kind[2]/deep/items[1]/leaf"],
        },
    }


def test_what_is_inside_an_execution_only_branch_still_gets_data() -> None:
    seen: list[str] = []

    def note(data: str) -> str:
        seen.append(data)
        return data + "!"

    dag = Dag()
    inner = dag.foreach_branch("each", gives(["a", "b"]), execution_only=True)
    inner.node("one", note) >> inner.node("two", note)
    inner.node("other", gives(b"\xff"))
    assert run(dag) == EMPTY
    assert sorted(seen) == ["a", "a!", "b", "b!"]


def test_every_node_of_a_run_is_succeeded_at_its_end() -> None:
    simulation = Simulation(as_flow(conditional(["pass", "fail"])), Payload(b"in"))
    simulation.run()
    assert simulation.states == dict.fromkeys(
        ["kind", "kind[pass]/mark", "kind[fail]/mark", "end"], NodeState.SUCCEEDED
    )


# -- failures and handlers ------------------------------------------------------------------------


class Flaky:
    """Fails a number of times, then answers with the attempt."""

    def __init__(self, times: int) -> None:
        self.times = times
        self.keys: list[str] = []

    def __call__(self, data: bytes, options: object, context: Context) -> str:
        self.keys.append(context.idempotency_key)
        if context.attempt <= self.times:
            raise ValueError(f"attempt {context.attempt}")
        return f"attempt {context.attempt}"


def test_a_failing_node_is_repeated() -> None:
    dag = Dag()
    flaky = Flaky(2)
    dag.node("n", flaky, retries=2)
    assert run(dag).text() == "attempt 3"
    assert len(flaky.keys) == 3
    assert len(set(flaky.keys)) == 1, "every attempt has the same idempotency key"


def test_a_node_fails_for_good_after_its_retries() -> None:
    dag = Dag()
    dag.node("n", Flaky(3), retries=2)
    with pytest.raises(RunFailed) as raised:
        run(dag)
    assert str(raised.value) == "run test failed: n: ValueError: attempt 3"
    assert isinstance(raised.value.__cause__, ValueError)


def test_an_aggregator_that_fails_is_repeated_like_the_function() -> None:
    dag = Dag()
    dag.node("join", show, aggregator=Flaky(1), retries=1)
    dag.node("a") >> "join"
    simulation = Simulation(as_flow(dag))
    assert simulation.run().text() == "<attempt 2>"
    assert simulation.order == ["a", "join", "join"]


def test_a_nodes_on_failure_saves_it_with_another_result() -> None:
    errors: list[NodeFailed] = []

    def rescue(error: NodeFailed) -> dict[str, str]:
        errors.append(error)
        return {"instead": error.message}

    dag = Dag()
    dag.node("n", fails, retries=1, on_failure=rescue) >> dag.node("after", show)
    simulation = Simulation(as_flow(dag))
    assert simulation.run().text() == '<{"instead":"boom"}>'
    assert simulation.states["n"] == NodeState.SUCCEEDED
    (error,) = errors
    assert (error.node, error.type, error.message, error.attempt) == ("n", "ValueError", "boom", 2)


def test_an_on_failure_that_raises_fails_the_run() -> None:
    def rescue(error: NodeFailed) -> bytes:
        raise KeyError("worse")

    dag = Dag()
    dag.node("n", fails, on_failure=rescue)
    assert failure(dag) == "run test failed: n: KeyError: 'worse'"


def test_what_follows_a_failed_node_never_starts() -> None:
    dag = Dag()
    dag.node("n", fails) >> dag.node("after")
    simulation = Simulation(as_flow(dag))
    with pytest.raises(RunFailed):
        simulation.run()
    assert simulation.order == ["n"]


def test_a_node_that_exits_or_raises_what_cannot_be_printed_fails_like_any_other() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    def leave(data: bytes) -> None:
        raise SystemExit(3)

    def mute(data: bytes) -> None:
        raise Mute

    dag = Dag()
    dag.node("n", leave)
    assert failure(dag) == "run test failed: n: SystemExit: the node called sys.exit(3)"
    dag = Dag()
    dag.node("n", mute)
    assert failure(dag).startswith("run test failed: n: Mute: ")


def with_handlers(work: Work, seen: list[object], worse: bool = False) -> Callable[..., None]:
    def define(workflow: Workflow, context: Context) -> None:
        workflow.dag.node("n", work, retries=1)

        @workflow.on_failure
        def handle(error: NodeFailed) -> None:
            seen.append((error.node, error.type, error.message, error.attempt, context.node))
            context.set("told", error.message)
            if worse:
                raise KeyError("worse")

        @workflow.finally_
        def last(state: RunState) -> None:
            seen.append((state, context.node, context.get("told")))
            if worse:
                raise KeyError("worst")

    return define


def test_handlers_run_at_the_end_of_a_failed_run() -> None:
    seen: list[object] = []
    with pytest.raises(RunFailed):
        run(with_handlers(fails, seen))
    assert seen == [
        ("n", "ValueError", "boom", 2, "~on_failure"),
        ("failed", "~finally", "boom"),
    ]


def test_finally_alone_runs_when_a_run_succeeds() -> None:
    seen: list[object] = []
    assert run(with_handlers(show, seen), b"x").text() == "<x>"
    assert seen == [(RunState.SUCCEEDED, "~finally", None)]


def test_a_handler_that_raises_changes_nothing() -> None:
    seen: list[object] = []
    simulation = Simulation(as_flow(with_handlers(fails, seen, worse=True)))
    with pytest.raises(RunFailed, match="n: ValueError: boom") as raised:
        simulation.run()
    assert isinstance(raised.value.__cause__, ValueError)
    assert len(seen) == 2
    assert simulation.states["~on_failure"] == NodeState.FAILED
    assert run(with_handlers(show, seen, worse=True), b"x").text() == "<x>"


def node_plan(**options: Any) -> Any:
    dag = Dag()
    dag.node("n", **options)
    dag.foreach_branch("each", gives([])).node("x")
    return as_flow(dag).plan


def task(path: str, **more: Any) -> Task:
    return Task(run_id="r", flow="test", fingerprint="f", path=path, token="t", **more)


BOOM = Failure("ValueError", "boom", "n")


def test_delays_grow_by_the_backoff_with_up_to_a_quarter_of_jitter() -> None:
    plan = node_plan(retries=9, retry_delay=2, retry_backoff=3)
    for attempt, least in {1: 2, 2: 6, 3: 18}.items():
        delays = [after_failure(plan, task("n", attempt=attempt), BOOM)[0] for _ in range(20)]
        assert all(delay is not None and least <= delay <= least * 1.25 for delay in delays)
        assert len(set(delays)) > 1, "what failed together does not come back together"


def test_a_delay_is_a_day_at_most_however_many_attempts() -> None:
    for backoff in (10, 1e300):
        plan = node_plan(retries=10_000, retry_backoff=backoff)
        delay, _ = after_failure(plan, task("n", attempt=9999), BOOM)
        assert delay is not None
        assert LONGEST_DELAY <= delay <= LONGEST_DELAY * 1.25


def test_after_the_last_retry_comes_the_nodes_own_handler_and_then_nothing() -> None:
    plan = node_plan(retries=1, on_failure=show)
    assert after_failure(plan, task("n", attempt=1), BOOM)[1] is False
    assert after_failure(plan, task("n", attempt=2), BOOM) == (None, True)
    assert after_failure(plan, task("n", attempt=2, failure=BOOM), BOOM) == (None, False)
    assert after_failure(node_plan(), task("n"), BOOM) == (None, False)


def test_a_timeout_is_retried_and_a_lost_worker_given_up_is_not() -> None:
    plan = node_plan(retries=1)
    assert after_failure(plan, task("n"), Failure(TIMED_OUT, ""))[0] is not None
    assert after_failure(plan, task("n"), Failure(WORKER_LOST, "")) == (None, False)


@pytest.mark.parametrize("path", ["each", "~on_failure", "~finally", "~result", "each[0]"])
def test_branches_joins_and_handlers_are_not_retried(path: str) -> None:
    assert after_failure(node_plan(retries=5), task(path), BOOM) == (None, False)


def test_a_vanished_worker_means_again_unless_the_node_says_fail() -> None:
    plan = node_plan()
    assert refusal(plan, task("n")) is None
    assert refusal(plan, task("n", lost=1)) is None
    assert refusal(plan, task("~finally", lost=1)) is None
    given_up = refusal(plan, task("n", lost=3))
    assert given_up is not None
    assert given_up.type == WORKER_LOST
    assert "3 times" in given_up.message
    refused = refusal(node_plan(on_worker_lost="fail"), task("n", lost=1))
    assert refused is not None
    assert 'on_worker_lost is "fail"' in refused.message


# -- the context ----------------------------------------------------------------------------------


def test_the_context_tells_about_the_run_and_the_node() -> None:
    dag = Dag()

    def tell(data: bytes, options: object, context: Context) -> list[object]:
        return [context.run_id, context.flow, context.node, context.attempt, context.query]

    dag.foreach_branch("each", gives({"k": "v"})).node("x", tell)
    simulation = Simulation(as_flow(dag), EMPTY, {"q": ["1", "2"]}, run_id="my-run")
    assert simulation.run().json() == {"k": ["my-run", "test", "each[k]/x", 1, {"q": ["1", "2"]}]}


def test_headers_are_those_of_the_request() -> None:
    dag = Dag()
    dag.node("n", lambda data, context: context.headers)
    made = step(as_flow(dag), task("n", headers={"x-user": "ada"}), [Input("", EMPTY)])
    assert made.output == Payload(b'{"x-user":"ada"}', JSON)


def test_node_input_holds_the_raw_inputs_by_name() -> None:
    dag = parallel(b"\xff", {"x": 1}, aggregator=gives("aggregated"))
    dag.node("before")
    dag.edge("before", "join", execution_only=True)
    seen: list[tuple[str, bytes]] = []
    dag.node("join", lambda data, context: seen.extend(context.node_input.items()))
    simulation = Simulation(as_flow(dag))
    simulation.run(lambda ready: len(ready) - 1)
    assert seen == [("b", b"\xff"), ("a", b'{"x":1}')]


def key_of(path: str, run_id: str = "r", **more: Any) -> str:
    keys: list[str] = []
    dag = Dag()
    note: Work = lambda data, context: keys.append(context.idempotency_key)  # noqa: E731
    dag.node("n", note)
    dag.foreach_branch("each", gives([])).node("x", note)
    given = Task(run_id=run_id, flow="f", fingerprint="f", path=path, token="t", **more)
    step(as_flow(dag), given, [Input("", EMPTY)])
    return keys[0]


def test_an_idempotency_key_belongs_to_run_node_and_round_alone() -> None:
    key = key_of("n")
    assert key_of("n", attempt=2, lost=1) == key
    others = [key_of("each[0]/x"), key_of("each[1]/x"), key_of("n", "other"), key_of("n", round=2)]
    assert len({key, *others}) == 5


def test_the_definitions_context_stands_for_the_run_that_is_executing() -> None:
    def define(workflow: Workflow, context: Context) -> None:
        workflow.dag.node("n", lambda data: [context.run_id, context.node])

    flow = build("flow", define)
    for run_id in ("one", "two"):
        assert Simulation(flow, run_id=run_id).run().json() == [run_id, "n"]


def test_outside_a_node_the_context_raises_a_clear_error() -> None:
    def define(workflow: Workflow, context: Context) -> None:
        with pytest.raises(ContextError, match="not while the flow is being defined"):
            context.run_id  # noqa: B018
        workflow.dag.node("n")

    build("flow", define)
    with pytest.raises(ContextError, match="use it inside a node's function"):
        goflow.current_context()
    context = goflow.workflow.context
    assert repr(context) == "<context of no run>"
    for use in (
        lambda: context.get("k"),
        lambda: context.set("k", 1),
        lambda: context.delete("k"),
        lambda: context.idempotency_key,
        lambda: context.logger,
        lambda: context.node_input,
    ):
        with pytest.raises(ContextError):
            use()


def test_current_context_is_the_same_context() -> None:
    dag = Dag()
    dag.node("n", lambda data, context: goflow.current_context() is context)
    assert run(dag).json() is True


def test_a_thread_that_a_node_starts_sees_the_nodes_context() -> None:
    dag = Dag()

    def work(data: bytes) -> list[str]:
        seen: list[str] = []
        thread = threading.Thread(target=lambda: seen.append(goflow.current_context().node))
        thread.start()
        thread.join()
        return seen

    dag.node("n", work)
    assert run(dag).json() == ["n"]
    with pytest.raises(ContextError):
        goflow.current_context()


def test_a_thread_left_behind_cannot_reach_the_run_that_comes_next() -> None:
    """Nor can a thread or a job that it starts meanwhile; a pool that stays works for who hands in."""
    pool = ThreadPoolExecutor(1)
    go, told = threading.Event(), []

    def note() -> None:
        try:
            goflow.current_context().set("owner", "first")
        except ContextError as error:
            told.append(str(error))

    def late() -> None:
        go.wait(10)
        note()
        thread = threading.Thread(target=note)
        thread.start()
        thread.join()
        pool.submit(note).result()

    left = threading.Thread(target=late)

    def first(data: bytes) -> str:
        left.start()
        return pool.submit(lambda: goflow.current_context().node).result()

    def second(data: bytes, options: object, context: Context) -> list[object]:
        go.set()
        left.join()
        node = pool.submit(lambda: goflow.current_context().node).result()
        copied = asyncio.run(asyncio.to_thread(lambda: goflow.current_context().node))
        return [node, copied, context.get("owner")]

    def define(workflow: Workflow, context: Context) -> None:
        workflow.dag.node("first", first) >> workflow.dag.node("second", second)

    with pool:
        assert Simulation(build("flow", define)).run().json() == ["second", "second", None]
    assert len(told) == 3
    assert all("the node that started this thread has ended (first of run " in t for t in told)


@pytest.mark.parametrize("kind", ["blob:text/plain", "image/png", ""])
def test_a_payload_is_of_one_of_three_media_types(kind: str) -> None:
    dag = Dag()
    dag.node("n", lambda data: Payload(b"x", kind))
    words = f"is application/octet-stream, text/plain or application/json, got {kind!r}"
    with pytest.raises(RunFailed, match=words):
        run(dag)
    with pytest.raises(PayloadError, match=words):
        of_input(Payload(b"x", kind))


def test_the_logger_is_named_after_flow_and_node(caplog: pytest.LogCaptureFixture) -> None:
    dag = Dag()
    dag.node("n", lambda data, context: context.logger.warning("careful"))
    with caplog.at_level(logging.WARNING):
        run(dag)
    assert caplog.record_tuples == [("goflow.test.n", logging.WARNING, "careful")]


@pytest.mark.parametrize(
    ("value", "back"),
    [
        (b"\xff", b"\xff"),
        ("text", "text"),
        ("", ""),
        (b"", b""),
        (0, 0),
        (None, None),
        ([1, {"a": None}], [1, {"a": None}]),
        ((1, 2), [1, 2]),
    ],
    ids=repr,
)
def test_the_runs_store_gives_back_what_was_put_into_it(value: object, back: object) -> None:
    seen: list[object] = []
    dag = Dag()
    put = dag.node("put", lambda data, context: context.set("k", value))
    put >> dag.node("get", lambda data, context: seen.append(context.get("k", "default")))
    run(dag)
    assert seen == [back]


def test_a_key_that_is_not_there_gives_the_default() -> None:
    seen: list[object] = []

    def work(data: bytes, options: object, context: Context) -> None:
        seen.append(context.get("k"))
        seen.append(context.get("k", 5))
        context.set("k", 1)
        seen.append(context.get("k", 5))
        context.delete("k")
        context.delete("never there")
        seen.append(context.get("k", 5))

    dag = Dag()
    dag.node("n", work) >> dag.node("m", lambda data, context: seen.append(context.get("k", 6)))
    run(dag)
    assert seen == [None, 5, 1, 5, 6]


def test_the_writes_of_a_failed_attempt_are_dropped() -> None:
    seen: list[object] = []

    def work(data: bytes, options: object, context: Context) -> None:
        seen.append(context.get("k"))
        context.set("k", context.attempt)
        seen.append(context.get("k"))
        if context.attempt == 1:
            raise ValueError

    dag = Dag()
    dag.node("n", work, retries=1) >> dag.node("m", lambda data, context: context.get("k"))
    assert run(dag).json() == 2
    assert seen == [None, 1, None, 2]


def test_writes_travel_with_the_result() -> None:
    dag = Dag()

    def work(data: bytes, options: object, context: Context) -> None:
        context.set("a", 1)
        context.set("b", "x")
        context.delete("a")

    dag.node("n", work)
    made = step(as_flow(dag), task("n"), [Input("", EMPTY)])
    assert made == Step(output=EMPTY, ends=True, writes={"a": None, "b": Payload(b"x", TEXT)})


def test_conditions_foreach_forwarders_and_aggregators_write_too() -> None:
    dag = Dag()

    def note(name: str, value: object) -> Work:
        return lambda data, context: (context.set(name, 1), value)[1]

    dag.conditional_branch("kind", ["k"], note("condition", "k"))["k"].node("x")
    dag.foreach_branch("each", note("foreach", [1]), aggregator=note("aggregator", 1)).node("x")
    dag.edge("kind", "each", forwarder=note("forwarder", 1))
    simulation = Simulation(as_flow(dag))
    simulation.run()
    assert set(simulation.context) == {"condition", "foreach", "aggregator", "forwarder"}


@pytest.mark.parametrize("key", ["", "x" * 1025, 5, None, "\ud800"], ids=ascii)
def test_a_key_of_the_runs_store_is_a_bounded_text(key: Any) -> None:
    dag = Dag()
    dag.node("n", lambda data, context: context.set(key, 1))
    assert "a context key is a text of 1 to 1024 bytes" in failure(dag)


def test_the_runs_store_takes_json_and_bytes_alone() -> None:
    dag = Dag()
    dag.node("n", lambda data, context: context.set("k", object()))
    assert "PayloadError: cannot encode object as JSON" in failure(dag)


# -- requests -------------------------------------------------------------------------------------


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
