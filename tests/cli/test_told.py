"""What `--json` prints piece by piece is what it would print at once."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from goflow_cli.told import print_json

ROWS = [
    [
        {"path": f"n[{n}]", "error": 'a "quoted"\nline\x9b', "in": {"list": [n, []]}}
        for n in range(count)
    ]
    for count in (0, 1, 500, 1001)
]


@pytest.mark.parametrize("pretty", [False, True])
@pytest.mark.parametrize("told", [{}, {"run_id": "r", "error": None}])
@pytest.mark.parametrize("rows", ROWS, ids=len)
def test_lists_in_pieces_are_the_same_text(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    rows: list[Any],
    told: dict[str, Any],
    pretty: bool,
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: pretty)
    print_json(told, nodes=lambda: iter(rows), attempts=list, failures=lambda: rows[:1])
    in_pieces = capsys.readouterr().out
    print_json(told | {"nodes": rows, "attempts": [], "failures": rows[:1]})
    assert in_pieces == capsys.readouterr().out
    assert json.loads(in_pieces)["nodes"] == rows


def test_a_long_list_is_printed_while_it_is_read(capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[int] = []

    def elements() -> Iterator[int]:
        for n in range(2000):
            seen.append(len(capsys.readouterr().out))
            yield n

    print_json({}, numbers=elements)
    assert sum(map(bool, seen)) == 4, "a piece of 500 each time, and the key before the first"
