"""What a digest of code tells apart."""

from __future__ import annotations

import functools
from typing import Any

from goflow.function import Function


def _plain(data: bytes, i: int = 3) -> list[object]:
    return [data, i]


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
        Function(functools.partial(_plain, i=1), "work").digest == Function(_plain, "work").digest
    )
