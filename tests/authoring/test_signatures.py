"""What a function may look like, and what it is called with."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from typing import Any

import pytest

from goflow import Context, Dag, Payload
from goflow.payload import OCTETS
from goflow.testing import run
from tests.authoring.functions import QUERY, Callables, Options, decorated, given_to, refused


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
