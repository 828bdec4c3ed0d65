"""Tables and times as plain text: aligned columns, no frames, cut to the terminal's width."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from itertools import accumulate

from goflow.drawing import text
from goflow.drawing.look import DIM, LOOKS, OF_RUN, Line, paint
from goflow.drawing.text import clean, cut, cut_middle, width
from goflow.state import NodeState, RunState

_GAP = ("  ", "")
#: columns that the last cell of a row is left at least, in a terminal
LAST = 10
#: columns of a last cell at most where nothing else bounds a line: an error may be long, and is told in full beside
LONGEST = 200


def print_table(
    head: Sequence[str], rows: Sequence[Sequence[str]], state: int = -1, keep: int = -1
) -> None:
    """Print rows under a head. `state` is the column that holds a state: it gets its colour, and stays where there is
    little room; `keep` is one that goes after the others there."""
    from goflow_cli.views.drawing import screen

    seen = screen(sys.stdout)
    room = seen.width if sys.stdout.isatty() else 0
    for line in table(head, rows, room, state, keep=keep, unicode=seen.unicode):
        print(paint(line, seen.color))


def table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    room: int = 0,
    state: int = -1,
    *,
    keep: int = -1,
    numbers: frozenset[int] = frozenset(),
    unicode: bool = True,
) -> list[Line]:
    """The same as lines of at most `room` columns (0: as many as it takes, and LONGEST for the last cell). The columns
    in `numbers` stand at the right, and are left out where they do not fit."""
    more = "…" if unicode else "~"
    shown = [[clean(cell, unicode) for cell in row] for row in rows]
    for row in shown:
        row[-1] = row[-1] if room else cut(row[-1], LONGEST, more)
    widths = [max(map(width, column)) for column in zip(head, *shown, strict=True)]
    if room:
        ends = list(accumulate(wide + len(_GAP[0]) for wide in widths))
        fits = [n for n in range(len(widths)) if n not in numbers or ends[n] - len(_GAP[0]) <= room]
        if not numbers:
            fits, widths, cells = _fitted(widths, room, state, keep)
            for row in shown:
                row[cells] = cut_middle(row[cells], widths[cells], more)
        head, shown = [head[n] for n in fits], [[row[n] for n in fits] for row in shown]
        widths = [widths[n] for n in fits]
        state = fits.index(state) if state in fits else -1
        numbers = frozenset(place for place, n in enumerate(fits) if n in numbers)
    return [
        _line([*head], widths, room, DIM, numbers=numbers, more=more),
        *(_line(row, widths, room, "", state, numbers, more) for row in shown),
    ]


def _fitted(
    widths: list[int], room: int, state: int, keep: int
) -> tuple[list[int], list[int], int]:
    """Which columns there is room for, how wide they are, and which of them gave way. That is the widest but the
    last, of paths or run ids, down to a third of the room; then some are left out, those before the last first, `keep`
    after all others, and not before that one has a quarter."""
    fits = list(range(len(widths)))
    last = min(widths[-1], LAST)

    def over() -> int:
        return sum(widths[n] + len(_GAP[0]) for n in fits[:-1]) + last - room

    widest = widths.index(max(widths[:-1], default=widths[-1]))
    if over() > 0 and widest != fits[-1]:
        narrower = max(widths[widest] - over(), min(widths[widest], room // 3))
        widths = [narrower if n == widest else wide for n, wide in enumerate(widths)]
    while over() > 0:
        free = [n for n in reversed(fits[1:-1]) if n not in (state, keep)]
        if not free and keep not in fits[1:-1]:
            break
        if not free and widest in fits and widths[widest] - over() >= room // 4:
            widths[widest] -= over()
            break
        free = free or [keep]
        enough = [n for n in free if widths[n] + len(_GAP[0]) >= over()]
        fits.remove(enough[0] if enough else max(free, key=widths.__getitem__))
    if (
        over() > 0 and widest not in fits
    ):  # the one that gave way went all the same: now the first does
        widest = fits[0]
        widths[widest] = max(widths[widest] - over(), 1)
    return fits, widths, widest


def _line(
    row: list[str],
    widths: Sequence[int],
    room: int,
    sgr: str,
    state: int = -1,
    numbers: frozenset[int] = frozenset(),
    more: str = "…",
) -> Line:
    """Cells as spans; what does not fit the room is cut off at its end."""
    line: Line = []
    for column, (cell, wide) in enumerate(zip(row, widths, strict=True)):
        text_sgr = _sgr(cell) if column == state else sgr
        space = " " * (wide - width(cell))
        padded = space + cell if column in numbers else cell + space
        if room and wide > room:
            padded = cut(cell, max(room, 1), more)
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


__all__ = ["clean", "duration", "moment", "print_table", "table"]
