"""What conditional and foreach branches choose, give and refuse."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from goflow import Context, Dag, Payload
from goflow.engine import step
from goflow.message import Input
from goflow.opening import CHUNK
from goflow.payload import EMPTY, JSON, OCTETS, TEXT
from goflow.testing import Simulation, run
from goflow.testing.driver import as_flow
from tests.authoring.flows import Work, conditional, fails, failure, gives, show, task
from tests.naming import named


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
