"""Runs and nodes as JSON: what `--json` prints, the same from every command."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any, Final

import msgspec

from goflow.told import run_json, run_with_result, value

__all__ = ["print_json", "run_json", "run_with_result", "value"]


#: elements of a list that are in memory as JSON at a time
_PIECE: Final = 500


def print_json(told: Any, **lists: Callable[[], Iterable[Any]]) -> None:
    """To stdout: indented for a person at a terminal, one line for a pipe.

    After the keys of `told` come the lists, each made when it is its turn and printed in pieces, so that a long one
    is never in memory as JSON.
    """
    if not lists:
        print(_text(told))
        return
    pretty = sys.stdout.isatty()
    head, between = ("\n  ", ",\n  ") if pretty else ("", ", ")
    written = _text(told).removesuffix("}").rstrip("\n")
    sys.stdout.write(written)
    for name, elements in lists.items():
        sys.stdout.write((between if written != "{" else head) + _text(name) + ": [")
        written, left, first = name, iter(elements()), True
        while piece := list(islice(left, _PIECE)):
            inner = _text(msgspec.to_builtins(piece))[1:-1].rstrip("\n")
            if pretty:
                inner = inner.replace("\n", "\n  ")
            sys.stdout.write(inner if first else "," + ("" if pretty else " ") + inner)
            first = False
        sys.stdout.write("\n  ]" if pretty and not first else "]")
    print("\n}" if pretty else "}")


def _text(told: Any) -> str:
    ascii_only = sys.stdout.encoding.lower() != "utf-8"
    indent = 2 if sys.stdout.isatty() else None
    text = json.dumps(told, indent=indent, ensure_ascii=ascii_only)
    return _STEERING.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


#: control characters that JSON lets pass and terminals obey
_STEERING: Final = re.compile("[\x7f-\x9f]")
