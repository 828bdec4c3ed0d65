"""A flow in every format `goflow graph` knows, painted with a run where there is one."""

from __future__ import annotations

import os
import sys
from typing import Final, NamedTuple, TextIO

from goflow.overview import Overview
from goflow.plan import Plan

FORMATS: Final = ("terminal", "mermaid", "dot", "json", "svg")


class Screen(NamedTuple):
    """What a stream can show: columns and lines, whether colours, whether more than ASCII."""

    width: int = 80
    height: int = 24
    color: bool = False
    unicode: bool = True


#: where nothing is known: a pipe
PIPE: Final = Screen()


def screen(stream: TextIO) -> Screen:
    """What this stream can show. Colour only on a terminal, and not where NO_COLOR or TERM=dumb asks
    for none; ASCII where its encoding has no box characters or the locale is C or POSIX, which Python
    itself overrules; 80 by 24 where nobody says."""
    color = stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return Screen(*_size(stream), color, _unicode(stream))


def _unicode(stream: TextIO) -> bool:
    try:
        "┌─┐│▼✓●…".encode(stream.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    # in its UTF-8 mode Python has set LC_CTYPE itself, where LANG asked for C (PEP 538)
    names = ("LC_ALL", "LANG") if sys.flags.utf8_mode else ("LC_ALL", "LC_CTYPE", "LANG")
    locale = next(filter(None, map(os.environ.get, names)), "")
    overruled = os.environ.get("PYTHONIOENCODING") or os.environ.get("PYTHONUTF8")
    return locale not in ("C", "POSIX") or bool(overruled)


def _size(stream: TextIO) -> tuple[int, int]:
    """Columns and lines: COLUMNS and LINES if set, else those of the terminal the stream leads to."""
    try:
        found = os.get_terminal_size(stream.fileno())
        size = [found.columns, found.lines]
    except (OSError, ValueError):
        size = [0, 0]
    for i, (name, default) in enumerate((("COLUMNS", 80), ("LINES", 24))):
        told = os.environ.get(name, "")
        size[i] = int(told) if told.isdecimal() and int(told) else size[i] or default
    return size[0], size[1]


def draw(
    plan: Plan,
    overview: Overview | None = None,
    *,
    format: str = "terminal",
    screen: Screen = PIPE,
) -> str:
    """The flow as text in one of `FORMATS`; `screen` matters to the terminal's alone.

    >>> print(draw(plan, format="mermaid"))  # doctest: +SKIP
    flowchart TD
        n0["fetch"]
    """
    if format == "terminal":
        from goflow_cli.views import terminal

        return terminal.render(
            plan, overview, width=screen.width, color=screen.color, unicode=screen.unicode
        )
    if format == "mermaid":
        from goflow_cli.views import mermaid

        return mermaid.render(plan, overview)
    if format == "dot":
        from goflow_cli.views import dot

        return dot.render(plan, overview)
    if format == "json":
        from goflow_cli.views import definition

        return definition.render(plan, overview)
    from goflow.drawing import svg

    return svg.render(plan, overview)
