"""Tables and times as plain text: aligned columns, no frames, cut to the terminal's width."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from goflow.drawing import text
from goflow.drawing.look import DIM, LOOKS, OF_RUN, Line, paint
from goflow.drawing.text import clean, cut, width
from goflow.state import NodeState, RunState

_GAP = ("  ", "")


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]], state: int = -1) -> None:
    """Print rows under a head. `state` is the column that holds a state: it gets its colour."""
    from goflow_cli.views.drawing import screen

    seen = screen(sys.stdout)
    room = seen.width if sys.stdout.isatty() else 0
    shown = [[clean(cell, seen.unicode) for cell in row] for row in rows]
    widths = [max(map(width, column)) for column in zip(head, *shown, strict=True)]
    print(paint(_line([*head], widths, room, DIM), seen.color))
    for row in shown:
        print(paint(_line(row, widths, room, "", state), seen.color))


def _line(row: list[str], widths: Sequence[int], room: int, sgr: str, state: int = -1) -> Line:
    """Cells as spans; what does not fit the room is cut off at its end."""
    line: Line = []
    for column, (cell, wide) in enumerate(zip(row, widths, strict=True)):
        text_sgr = _sgr(cell) if column == state else sgr
        padded = cell + " " * (wide - width(cell))
        if room and wide > room:
            padded = cut(cell, max(room, 1))
        line += [(padded, text_sgr), _GAP]
        room = room and max(1, room - wide - len(_GAP[0]))
    return line


def _sgr(state: str) -> str:
    """The colour of a run's or a node's state."""
    if state in {each.value for each in RunState}:
        return LOOKS[OF_RUN[RunState(state)]].sgr
    return LOOKS[NodeState(state)].sgr if state in {each.value for each in NodeState} else ""


def moment(seconds: float | None) -> str:
    """A time of day, with the date where it is not today's."""
    if seconds is None:
        return ""
    then = time.localtime(seconds)
    same = time.localtime()[:3] == then[:3]
    return time.strftime("%H:%M:%S" if same else "%Y-%m-%d %H:%M:%S", then)


def duration(seconds: float | None) -> str:
    """A span of time, "" for none: `12 ms`, `1.2 s`, `4:05`."""
    return "" if seconds is None else text.duration(max(0.0, seconds))


__all__ = ["clean", "duration", "moment", "print_table"]
