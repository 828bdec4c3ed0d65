"""Small functions and shapes of data for the tests of what functions may look like."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypedDict

import msgspec
import pydantic
import pytest

from goflow import Dag, DefinitionError, Payload, PayloadError, RunFailed
from goflow.testing import run

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
