"""What goes over edges: joins, forwarders, starts and ends."""

from __future__ import annotations

import pytest

from goflow import Dag, Payload
from goflow.payload import EMPTY, JSON, OCTETS, TEXT
from goflow.testing import Simulation, run
from goflow.testing.driver import as_flow
from tests.authoring.flows import fails, failure, gives, parallel, show


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
