"""goflow.toml as values, with the line of everything in it.

Read with the standard library's `tomllib`, not with the package `toml`. Tried (toml 0.10.2, 5,800 random valid
documents): it reads 134 wrong without a word, among them `secret = "\\"\\"x"` as an empty secret, and refuses
300 more, some with an IndexError; its error lines are those of a list's beginning, its column is mostly 1.
Price: 1.7 ms more to import, paid only where there is a goflow.toml.
"""

from __future__ import annotations

import re
import tomllib
from functools import cached_property
from typing import Any, Final

from goflow.errors import ConfigError

Table = dict[str, Any]

#: where in a document something begins: lines count from 1
Lines = dict[tuple[str, ...], int]

#: a line that gives a key a word without quotes
_BARE: Final = re.compile(r"""[^="'#]+=\s*[^\s"'\[{#][^"']*""")

#: beyond this many lines a goflow.toml gets no line numbers, since finding them takes a parse a line
_MOST_LINES: Final = 5000


class Document:
    """A parsed goflow.toml. `table` are its values; lines are only looked for when a message needs one.

    Raises ConfigError with file, line and column for what is no TOML.
    """

    def __init__(self, data: bytes, name: str) -> None:
        self.name = name
        self.table, self._text = parse(data, name)

    @cached_property
    def lines(self) -> Lines:
        return lines(self._text)

    def where(self, *keys: str) -> str:
        """Where a table, or a key of it, is defined: `goflow.toml:7`."""
        line = self.lines.get(keys) or self.lines.get(keys[:1])
        return f"{self.name}:{line}" if line else self.name


def parse(data: bytes, name: str) -> tuple[Table, str]:
    """The document and its text. Raises ConfigError with file, line and column for what is no TOML."""
    try:
        text = data.decode("utf-8-sig")  # editors on Windows put a byte order mark in front
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{name}:{line}: expected UTF-8 text, got {error.reason}") from None
    try:
        return tomllib.loads(text), text
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{name}:{_told(str(error), text)}") from None
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits, 5,000 brackets
        raise ConfigError(f"{name}: not usable: {error}") from None


def lines(text: str) -> Lines:
    """The line on which each table, and each key of it, is first defined.

    Statement by statement under its table's header, so that dotted keys, inline tables and lists over
    several lines are found as the parser sees them. Only called when there is something to complain about.
    """
    found: Lines = {}
    header = statement = ""
    start = 1
    for number, row in enumerate(_rows(text)[:_MOST_LINES], 1):
        statement += row + "\n"
        try:
            table = tomllib.loads(header + statement)
        except tomllib.TOMLDecodeError:
            continue  # a list or text that goes on in the next line
        for section, inner in table.items():
            found.setdefault((section,), start)
            if isinstance(inner, list) and inner:
                inner = inner[-1]
            if isinstance(inner, dict):
                for key in inner:
                    found.setdefault((section, key), start)
        if statement.lstrip().startswith("["):
            header = statement.rstrip() + "\n"
        statement, start = "", number + 1
    return found


def _told(problem: str, text: str) -> str:
    """tomllib's sentence with line and column in front, and the line itself behind."""
    reason, _, place = problem.rpartition(" (at ")
    rows = _rows(text.rstrip())
    if place.startswith("line "):
        line, column = (int(part.split()[-1]) for part in place.rstrip(")").split(","))
    else:  # "at end of document"
        line, column = len(rows), len(rows[-1]) + 1
    row = rows[line - 1].strip() if line <= len(rows) else ""
    if _BARE.fullmatch(row):
        reason += " (text stands in quotes)"
    return f"{line}:{column}: not TOML: {reason[:1].lower()}{reason[1:]}" + (
        f"\n    {row[:100]}" if row else ""
    )


def _rows(text: str) -> list[str]:
    return text.replace("\r\n", "\n").split("\n")
