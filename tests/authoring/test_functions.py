"""What a function may look like, what it receives, and what becomes of what it returns."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Optional, TypedDict

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from goflow import Context, Dag, DefinitionError, Payload, PayloadError, RunFailed
from goflow.function import Function
from goflow.payload import JSON, OCTETS, TEXT, decode, dumps, encode
from goflow.testing import run
from tests.naming import named

if TYPE_CHECKING:
    from decimal import Decimal

Options = dict[str, list[str]]
QUERY = {"size": ["10", "20"]}


@dataclass
class Order:
    number: int
    items: list[str]


class Person(TypedDict):
    name: str
    age: int


class Point(NamedTuple):
    x: float
    y: float


class Box(msgspec.Struct):
    width: int


class Model(pydantic.BaseModel):
    name: str
    limit: int = 3


class Nested(pydantic.BaseModel):
    models: list[Model]


def one(work: Callable[..., Any]) -> Dag:
    dag = Dag()
    dag.node("n", work)
    return dag


def given_to(work: Callable[..., Any], data: object = b"") -> Payload:
    return run(one(work), data, QUERY)


def refused(work: Any) -> str:
    """Why a function cannot be a node's work."""
    with pytest.raises(DefinitionError) as raised:
        one(work).validate()
    return str(raised.value)


def failing(work: Callable[..., Any], data: object = b"") -> str:
    """Why a run of it fails."""
    with pytest.raises(RunFailed) as raised:
        given_to(work, data)
    assert isinstance(raised.value.__cause__, PayloadError)
    return str(raised.value.__cause__)


# -- signatures -----------------------------------------------------------------------------------


def _data(data: bytes) -> list[object]:
    return [data.decode()]


def _options(data: bytes, options: Options) -> list[object]:
    return [data.decode(), options]


def _all(data: bytes, options: Options, context: Context) -> list[object]:
    return [data.decode(), options, context.node]


def _other_names(d: bytes, o: Options, c: Context) -> list[object]:
    return [d.decode(), o, c.node]


def _swapped(data: bytes, context: Context, options: Options) -> list[object]:
    return [data.decode(), options, context.node]


def _context_alone(data: bytes, context: Context) -> list[object]:
    return [data.decode(), context.node]


def _keywords(data: bytes, *, context: Context, options: Options) -> list[object]:
    return [data.decode(), options, context.node]


def _mixed(data: bytes, options: Options, *, context: Context) -> list[object]:
    return [data.decode(), options, context.node]


def _spread(*values: Any) -> list[object]:
    return [values[0].decode(), values[1], values[2].node]


def _some_spread(data: bytes, *rest: Any) -> list[object]:
    return [data.decode(), rest[0], rest[1].node]


def _spread_and_default(data: bytes, *rest: Any, i: int = 3) -> list[object]:
    return [data.decode(), rest[0], i]


def _default(data: bytes, i: int = 3) -> list[object]:
    return [data.decode(), i]


def _default_first(data: bytes = b"unused") -> list[object]:
    return [data.decode()]


def _default_between(data: bytes, i: int = 3, options: Options | None = None) -> list[object]:
    return [data.decode(), i, options]


def _default_and_spread(data: bytes, i: int = 3, *rest: Any) -> list[object]:
    return [data.decode(), i, list(rest)]


def _keyword_default(data: bytes, *, i: int = 3) -> list[object]:
    return [data.decode(), i]


def _ignored(data: bytes, **more: Any) -> list[object]:
    return [data.decode(), more]


def _positional_only(data: bytes, options: Options, context: Context, /) -> list[object]:
    return [data.decode(), options, context.node]


class Callables:
    def __call__(self, data: bytes, options: Options) -> list[object]:
        return [data.decode(), options]

    def method(self, data: bytes, options: Options) -> list[object]:
        return [data.decode(), options]

    @classmethod
    def of_class(cls, data: bytes, options: Options) -> list[object]:
        return [data.decode(), options]

    @staticmethod
    def static(data: bytes, options: Options) -> list[object]:
        return [data.decode(), options]


def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


@pytest.mark.parametrize(
    ("work", "expected"),
    [
        (_data, ["x"]),
        (_options, ["x", QUERY]),
        (_all, ["x", QUERY, "n"]),
        (_other_names, ["x", QUERY, "n"]),
        (_swapped, ["x", QUERY, "n"]),
        (_context_alone, ["x", "n"]),
        (_keywords, ["x", QUERY, "n"]),
        (_mixed, ["x", QUERY, "n"]),
        (_spread, ["x", QUERY, "n"]),
        (_some_spread, ["x", QUERY, "n"]),
        (_spread_and_default, ["x", QUERY, 3]),
        (_default, ["x", 3]),
        (_default_first, ["x"]),
        (_default_between, ["x", 3, QUERY]),
        (_default_and_spread, ["x", 3, []]),
        (_keyword_default, ["x", 3]),
        (_ignored, ["x", {}]),
        (_positional_only, ["x", QUERY, "n"]),
        (Callables(), ["x", QUERY]),
        (Callables().method, ["x", QUERY]),
        (Callables.of_class, ["x", QUERY]),
        (Callables.static, ["x", QUERY]),
        (functools.partial(_default, i=5), ["x", 5]),
        (functools.partial(lambda first, data: [first, data.decode()], 7), [7, "x"]),
        (decorated(_all), ["x", QUERY, "n"]),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_function_gets_what_its_signature_asks_for(
    work: Callable[..., Any], expected: list[object]
) -> None:
    assert given_to(work, b"x").json() == expected


def test_a_loop_variable_kept_as_a_default_stays_what_it_was() -> None:
    dag = Dag()
    for i in range(3):
        dag.node(f"n{i}", lambda data, i=i: str(i))
    assert run(dag).json() == {"n0": "0", "n1": "1", "n2": "2"}


def test_a_builtin_gets_the_data() -> None:
    assert given_to(len, b"four").json() == 4


def test_a_class_is_called_too() -> None:
    assert given_to(bytearray, b"four") == Payload(b"four", OCTETS)


@pytest.mark.parametrize(
    "work",
    [lambda: b"", lambda a, b, c, d: b"", lambda *, data: b"", lambda data, *, size: b""],
    ids=["none", "four", "by keyword", "a keyword too many"],
)
def test_a_signature_that_cannot_be_called_is_a_definition_error(work: Any) -> None:
    text = refused(work)
    assert "gets work(data), work(data, options) or work(data, options, context)" in text
    assert f"{__file__}:" in text


def test_a_coroutine_function_is_run_to_its_end() -> None:
    async def work(data: str, options: Options, context: Context) -> list[object]:
        await asyncio.sleep(0)
        return [data, options, context.node]

    assert given_to(work, "x").json() == ["x", QUERY, "n"]


def test_a_test_that_is_asynchronous_itself_can_run_coroutines() -> None:
    async def work(data: bytes, context: Context) -> str:
        await asyncio.sleep(0)
        return context.node

    async def test() -> bytes:
        return given_to(work).data

    assert asyncio.run(test()) == b"n"


def test_every_role_may_be_a_coroutine_function() -> None:
    async def items(data: bytes) -> list[int]:
        return [1, 2, 3]

    async def total(results: dict[str, int]) -> int:
        return sum(results.values())

    async def choose(data: int) -> str:
        return "even" if data % 2 == 0 else "odd"

    async def double(data: int) -> int:
        return data * 2

    dag = Dag()
    dag.foreach_branch("each", items, aggregator=total).node("x")
    branches = dag.conditional_branch("parity", ["even", "odd"], choose)
    branches["even"].node("y")
    branches["odd"].node("y", lambda data: b"")
    dag.edge("each", "parity", forwarder=double)
    assert run(dag).json() == 12


# -- what comes in --------------------------------------------------------------------------------


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


# -- what goes out --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "payload"),
    [
        (b"\xff", Payload(b"\xff", OCTETS)),
        (bytearray(b"x"), Payload(b"x", OCTETS)),
        (memoryview(b"x"), Payload(b"x", OCTETS)),
        ("é", Payload("é".encode(), TEXT)),
        ("", Payload(b"", TEXT)),
        (None, Payload(b"", OCTETS)),
        (Payload(b"1", JSON), Payload(b"1", JSON)),
        (True, Payload(b"true", JSON)),
        (1, Payload(b"1", JSON)),
        (10**30, Payload(b"1" + b"0" * 30, JSON)),
        (1.5, Payload(b"1.5", JSON)),
        ([1, "é", None], Payload('[1,"é",null]'.encode(), JSON)),
        ((1, 2), Payload(b"[1,2]", JSON)),
        ({"b": 1, "a": 2}, Payload(b'{"b":1,"a":2}', JSON)),
        ({1: "x"}, Payload(b'{"1":"x"}', JSON)),
        (Order(1, ["x"]), Payload(b'{"number":1,"items":["x"]}', JSON)),
        ([Order(1, [])], Payload(b'[{"number":1,"items":[]}]', JSON)),
        (Person(name="x", age=1), Payload(b'{"name":"x","age":1}', JSON)),
        (Point(1, 2), Payload(b"[1,2]", JSON)),
        (Box(3), Payload(b'{"width":3}', JSON)),
        ({"box": Box(3)}, Payload(b'{"box":{"width":3}}', JSON)),
        (Model(name="x"), Payload(b'{"name":"x","limit":3}', JSON)),
        ([Model(name="x")], Payload(b'[{"name":"x","limit":3}]', JSON)),
        (frozenset({1}), Payload(b"[1]", JSON)),
    ],
    ids=named,
)
def test_a_returned_value_becomes_a_payload(value: object, payload: Payload) -> None:
    assert given_to(lambda data: value) == payload


_loop: list[object] = []
_loop.append(_loop)


@pytest.mark.parametrize(
    ("value", "part"),
    [
        (float("nan"), "cannot encode float as JSON"),
        ({"a": [float("inf")]}, "cannot encode dict as JSON"),
        (Order(float("nan"), []), "cannot encode Order as JSON"),  # type: ignore[arg-type]
        (object(), "cannot encode object as JSON"),
        ([lambda: 1], "cannot encode list as JSON"),
        (1j, "cannot encode complex as JSON"),
        ({(1, 2): 3}, "cannot encode dict as JSON"),
        (_loop, "cannot encode list as JSON"),
        ("\ud800", "cannot encode text as UTF-8"),
        (["\ud800"], "cannot encode text as UTF-8"),
        ((n for n in [1]), "cannot encode generator as JSON"),
    ],
    ids=named,
)
def test_what_json_cannot_carry_fails_and_says_so(value: object, part: str) -> None:
    assert part in failing(lambda data: value)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner)
    ),
    max_leaves=10,
)


@given(json_values)
def test_json_comes_back_as_it_was(value: object) -> None:
    assert decode(Payload(dumps(value), JSON), Any) == value


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_text_comes_back_as_it_was(value: str) -> None:
    assert decode(encode(value), str) == value


# -- digests of code ------------------------------------------------------------------------------


def digest(source: str) -> str:
    names: dict[str, Any] = {}
    exec(compile(source, "elsewhere.py", "exec"), names)
    return Function(names["work"], "work").digest


def test_a_digest_tells_one_body_from_another() -> None:
    body = digest("def work(data):\n    return data + b'1'")
    assert digest("def work(data):\n    return data + b'2'") != body
    assert digest("def work(data):\n    return data.upper()") != body
    assert digest("def work(data):\n    return (lambda: 1)()") != digest(
        "def work(data):\n    return (lambda: 2)()"
    )


def test_a_digest_does_not_change_when_a_function_moves() -> None:
    body = "def work(data):\n    return data in {'a', 'b', 'c'}"
    assert digest("\n\n\n" + body) == digest(body)


def test_the_digest_of_a_partial_is_that_of_its_function() -> None:
    assert (
        Function(functools.partial(_default, i=1), "work").digest
        == Function(_default, "work").digest
    )
