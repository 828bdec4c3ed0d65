"""What a function receives, as its annotation says."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Optional

import msgspec
import pytest

from goflow import Dag, DefinitionError, Payload, RunFailed
from goflow.payload import TEXT
from goflow.testing import run
from tests.authoring.functions import Callables, decorated

if TYPE_CHECKING:
    from decimal import Decimal
from tests.authoring.functions import (
    QUERY,
    Box,
    Model,
    Nested,
    Options,
    Order,
    Person,
    Point,
    failing,
    given_to,
    refused,
)


def _str(data: str) -> object:
    return data + "!"


def _dict(data: dict[str, int]) -> object:
    return sorted(data.items())


def _plain_dict(data: dict) -> object:  # type: ignore[type-arg]
    return sorted(data)


def _list(data: list) -> object:  # type: ignore[type-arg]
    return data[::-1]


def _int(data: int) -> object:
    return data + 1


def _float(data: float) -> object:
    return [type(data).__name__, data]


def _bool(data: bool) -> object:
    return data is True


def _dataclass(data: Order) -> object:
    return [type(data).__name__, data.number, data.items]


def _typed_dict(data: Person) -> object:
    return data["name"] * data["age"]


def _named_tuple(data: Point) -> object:
    return data.x + data.y


def _struct(data: Box) -> object:
    return data.width


def _model(data: Model) -> object:
    return [data.name, data.limit]


def _nested_model(data: Nested) -> object:
    return [model.limit for model in data.models]


def _models(data: list[Model]) -> object:
    return [model.limit for model in data]


def _model_by_name(data: dict[str, Model]) -> object:
    return {name: model.limit for name, model in data.items()}


def _union(data: int | list[int]) -> object:
    return type(data).__name__


def _payload(data: Payload) -> object:
    return [data.media_type, data.text()]


def _any(data: Any) -> object:
    return type(data).__name__


@pytest.mark.parametrize(
    ("work", "data", "expected"),
    [
        (_str, "é", "é!"),
        (_str, b'{"a": 1}', '{"a": 1}!'),
        (_dict, {"a": 1}, [["a", 1]]),
        (_plain_dict, {"a": 1}, ["a"]),
        (_list, [1, "x"], ["x", 1]),
        (_int, b" 41 ", 42),
        (_float, b"1", ["float", 1.0]),
        (_bool, True, True),
        (_dataclass, {"number": 1, "items": ["x"]}, ["Order", 1, ["x"]]),
        (_typed_dict, {"name": "ab", "age": 2}, "abab"),
        (_named_tuple, [1, 2], 3.0),
        (_struct, {"width": 5}, 5),
        (_model, {"name": "x"}, ["x", 3]),
        (_nested_model, {"models": [{"name": "x", "limit": 4}]}, [4]),
        (_models, [{"name": "x"}, {"name": "y", "limit": 4}], [3, 4]),
        (_model_by_name, {"a": {"name": "x"}}, {"a": 3}),
        (_union, [1], "list"),
        (_payload, "x", [TEXT, "x"]),
        (_any, "x", "bytes"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_data_arrives_as_the_annotation_says(
    work: Callable[..., Any], data: object, expected: object
) -> None:
    made = given_to(work, data)
    assert (made.text() if made.media_type == TEXT else made.json()) == expected


def test_without_an_annotation_data_are_bytes() -> None:
    assert given_to(lambda data: type(data).__name__, {"a": 1}).text() == "bytes"


@pytest.mark.parametrize(
    ("work", "data", "parts"),
    [
        (_str, b"\xff", ["expected UTF-8 text"]),
        (_int, b"x", ["expected int as JSON", "got x"]),
        (_int, b"", ["expected int as JSON", "got an empty payload"]),
        (_int, "1.5", ["expected int as JSON"]),
        (_dict, [1], ["expected dict[str, int] as JSON", "got [1]"]),
        (_dict, {"a": "x"}, ["Expected `int`, got `str`"]),
        (_dataclass, {"number": 1}, ["expected Order as JSON", "`items`"]),
        (_typed_dict, {"name": "x"}, ["expected Person as JSON", "`age`"]),
        (_model, {"limit": 3}, ["expected Model as JSON", "name"]),
        (_models, [{"limit": 3}], ["expected list[", "name"]),
        (_list, b"[" * 100_000, ["expected list as JSON", "(100000 bytes)"]),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_data_of_another_shape_fail_and_say_so(
    work: Callable[..., Any], data: object, parts: list[str]
) -> None:
    text = failing(work, data)
    for part in parts:
        assert part in text
    assert len(text) < 1000


def _maybe_int(data: int | None) -> object:
    return data if data is not None else "none"


def _maybe_str(data: Optional[str]) -> object:  # noqa: UP045
    return f"text {data!r}" if data is not None else "none"


def _maybe_order(data: Order | None) -> object:
    return data.number if data else "none"


def _maybe_bytes(data: bytes | None) -> object:
    return "none" if data is None else data


@pytest.mark.parametrize(
    ("work", "data", "expected"),
    [
        (_maybe_int, b"", b"none"),
        (_maybe_int, b"null", b"none"),
        (_maybe_int, b"5", b"5"),
        (_maybe_int, "", b"none"),
        (_maybe_str, b"", b"none"),
        (_maybe_str, b"null", b"text 'null'"),
        (_maybe_str, "", b"text ''"),
        (_maybe_str, "null", b"text 'null'"),
        (_maybe_order, None, b"none"),
        (_maybe_order, {"number": 1, "items": []}, b"1"),
        (_maybe_bytes, b"", b"none"),
        (_maybe_bytes, b"x", b"x"),
        (_maybe_bytes, b" ", b" "),
    ],
)
def test_an_optional_type_is_none_for_an_empty_payload_and_for_null(
    work: Callable[..., Any], data: object, expected: bytes
) -> None:
    assert given_to(work, data).data == expected


def test_a_type_of_the_definition_itself_is_known_where_the_function_uses_it() -> None:
    class Local(msgspec.Struct):
        value: int

    def work(data: Local) -> int:
        assert type(data) is Local
        return data.value

    assert given_to(work, {"value": 3}).json() == 3


def test_annotations_of_partials_methods_and_callable_objects_count() -> None:
    class Adder:
        def __call__(self, data: Order) -> int:
            return data.number

        def method(self, data: Order) -> int:
            return data.number

    def add(data: Order, more: int) -> int:
        return data.number + more

    order = {"number": 1, "items": []}
    assert given_to(functools.partial(add, more=2), order).json() == 3
    assert given_to(Adder(), order).json() == 1
    assert given_to(Adder().method, order).json() == 1
    assert given_to(decorated(_dataclass), order).json()[1] == 1


def test_an_annotation_nobody_can_resolve_is_a_definition_error() -> None:
    def work(data: Decimal) -> bytes:
        return b""

    text = refused(work)
    assert "the annotation 'Decimal' cannot be resolved" in text
    assert "outside `if TYPE_CHECKING`" in text


def test_a_type_nothing_can_be_decoded_into_is_a_definition_error() -> None:
    def work(data: Order | Box) -> bytes:
        return b""

    assert "cannot decode into" in refused(work)


def test_a_class_json_knows_nothing_of_fails_with_its_name() -> None:
    def work(data: list[Callables]) -> bytes:
        return b""

    assert "JSON does not become a Callables" in failing(work, [1])


# -- aggregators ----------------------------------------------------------------------------------


def _ints(results: dict[str, int]) -> object:
    return sum(results.values())


def _mapping(results: Mapping[str, int | None]) -> object:
    return [value for value in results.values()]  # noqa: C416


def _bytes(results: dict[str, bytes]) -> object:
    return b"".join(results.values())


def _bare(results: dict) -> object:  # type: ignore[type-arg]
    return b"".join(results.values())


def _orders(results: dict[str, Order], options: Options) -> object:
    return [results["a"].number, options]


def joined(aggregator: Callable[..., Any], **outputs: object) -> Payload:
    dag = Dag()
    join = dag.node("join", aggregator=aggregator)
    for name, output in outputs.items():
        dag.node(name, lambda data, output=output: output) >> join
    return run(dag, b"", QUERY)


def test_an_aggregator_gets_bytes_by_the_name_of_their_node() -> None:
    assert joined(lambda inputs: repr(inputs), a=b"\xff", b=None).text() == repr(
        {"a": b"\xff", "b": b""}
    )
    assert joined(_bytes, a=b"1", b=b"2").data == b"12"
    assert joined(_bare, a=b"1", b=b"2").data == b"12"


def test_an_aggregators_annotation_decodes_each_input() -> None:
    assert joined(_ints, a=1, b=b"2", c="3").json() == 6
    assert joined(_mapping, a=1, b=None).json() == [1, None]
    assert joined(_orders, a=Order(7, [])).json() == [7, QUERY]


def test_an_input_of_another_shape_is_named() -> None:
    with pytest.raises(RunFailed, match=r"input 'b' of _ints: expected int as JSON, got x"):
        joined(_ints, a=1, b="x")


@pytest.mark.parametrize("annotation", ["list[int]", "bytes", "Person", "int", "str"])
def test_an_aggregator_annotated_as_no_dict_is_a_definition_error(annotation: str) -> None:
    def aggregator(inputs: Any) -> Any: ...

    aggregator.__annotations__["inputs"] = annotation
    dag = Dag()
    dag.node("n", aggregator=aggregator)
    if annotation == "bytes":
        dag.validate()
        return
    with pytest.raises(DefinitionError, match=r"annotate them as dict\[str, T\]"):
        dag.validate()
