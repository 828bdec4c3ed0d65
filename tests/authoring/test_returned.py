"""What becomes of what a function returns."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goflow import Payload
from goflow.payload import JSON, OCTETS, TEXT, decode, dumps, encode
from tests.authoring.functions import Box, Model, Order, Person, Point, failing, given_to
from tests.naming import named


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
