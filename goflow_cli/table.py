"""Tables and times as plain text: aligned columns, no frames, cut to the terminal's width."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Sequence
from unicodedata import east_asian_width

#: glyph and ANSI colour of each state, so that it reads without colour too
STATES = {
    "queued": ("·", "2"),
    "waiting": ("·", "2"),
    "ready": ("○", "36"),
    "running": ("◐", "36"),
    "retrying": ("↻", "33"),
    "paused": ("‖", "33"),
    "stopping": ("◐", "33"),
    "succeeded": ("●", "32"),
    "failed": ("✗", "31"),
    "skipped": ("-", "2"),
    "stopped": ("■", "33"),
}


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]], state: int = -1) -> None:
    """Print rows under a head. `state` is the column that holds a state, to be coloured."""
    shown = [[clean(cell) for cell in row] for row in rows]
    widths = [max(map(wide, column)) for column in zip(head, *shown, strict=True)]
    room = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    for number, row in enumerate([list(head), *shown]):
        cells = [cell + " " * (width - wide(cell)) for cell, width in zip(row, widths, strict=True)]
        line = "  ".join(cells).rstrip()
        if room and wide(line) > room:
            line = line[: room - 1] + "…"
        if sys.stdout.isatty() and not number:
            line = f"\x1b[2m{line}\x1b[0m"
        elif sys.stdout.isatty() and state >= 0:
            colour = STATES.get(row[state], ("", "0"))[1]
            line = line.replace(row[state], f"\x1b[{colour}m{row[state]}\x1b[0m", 1)
        print(line)


def clean(text: str) -> str:
    """Text on one line without control characters: what a node says must not drive a terminal."""
    return "".join(c if c.isprintable() else " " for c in text)


def wide(text: str) -> int:
    """How many columns a text takes."""
    return sum(2 if east_asian_width(c) in "WF" else 1 for c in text)


def moment(seconds: float | None) -> str:
    """A time of day, with the date where it is not today's."""
    if seconds is None:
        return ""
    then = time.localtime(seconds)
    same = time.localtime()[:3] == then[:3]
    return time.strftime("%H:%M:%S" if same else "%Y-%m-%d %H:%M:%S", then)


def duration(seconds: float | None) -> str:
    """A span of time in three digits or so: `12 ms`, `1.2 s`, `4:05`, `2:03:04`."""
    if seconds is None:
        return ""
    seconds = max(0.0, seconds)
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 99.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
