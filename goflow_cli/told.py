"""Runs and nodes as JSON: what `--json` prints, the same from every command."""

from __future__ import annotations

import json
import re
import sys
from typing import Any, Final

from goflow.told import run_json, run_with_result, value

__all__ = ["print_json", "run_json", "run_with_result", "value"]


def print_json(told: Any) -> None:
    """To stdout: indented for a person at a terminal, one line for a pipe."""
    ascii_only = sys.stdout.encoding.lower() != "utf-8"
    indent = 2 if sys.stdout.isatty() else None
    text = json.dumps(told, indent=indent, ensure_ascii=ascii_only)
    print(_STEERING.sub(lambda found: f"\\u{ord(found[0]):04x}", text))


#: control characters that JSON lets pass and terminals obey
_STEERING: Final = re.compile("[\x7f-\x9f]")
