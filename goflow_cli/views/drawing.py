"""A flow in every format `goflow graph` knows, painted with a run where there is one."""

from __future__ import annotations

import os
import shutil
from typing import Final, NamedTuple, TextIO

from goflow.overview import Overview
from goflow.plan import Plan

FORMATS: Final = ("terminal", "mermaid", "dot", "json", "svg")


class Screen(NamedTuple):
    """What a stream can show: columns, whether colours, whether more than ASCII."""

    width: int
    color: bool
    unicode: bool


#: where nothing is known: a pipe
PIPE: Final = Screen(80, False, True)


def screen(stream: TextIO) -> Screen:
    """What this stream can show. Colour only on a terminal, and not where NO_COLOR or TERM=dumb asks
    for none; ASCII where its encoding has no box characters; 80 columns where nobody says."""
    terminal = stream.isatty()
    color = terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    try:
        "┌─┐│▼✓●…".encode(stream.encoding or "ascii")
        unicode = True
    except (UnicodeEncodeError, LookupError):
        unicode = False
    return Screen(shutil.get_terminal_size((80, 24)).columns, color, unicode)


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

        width, color, unicode = screen
        return terminal.render(plan, overview, width=width, color=color, unicode=unicode)
    if format == "mermaid":
        from goflow_cli.views import mermaid

        return mermaid.render(plan, overview)
    if format == "dot":
        from goflow_cli.views import dot

        return dot.render(plan, overview)
    if format == "json":
        from goflow_cli.views import definition

        return definition.render(plan, overview)
    from goflow_cli.views import svg

    return svg.render(plan, overview)
