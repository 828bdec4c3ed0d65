"""The part of the screen that is redrawn in place."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO

from goflow.drawing.look import Line, paint
from goflow.drawing.text import width
from goflow_cli.views.drawing import screen


class Region:
    """Lines at the end of what a terminal shows, drawn over with the next ones.

    The cursor waits below them and is never hidden, so that whatever ends or stops this process leaves
    a terminal that works."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._widths: list[int] = []
        self._left = False

    def draw(self, lines: Sequence[Line], above: Sequence[Line] = ()) -> None:
        """Show these lines in place of the last ones, and `above` them, for good, what scrolls away."""
        columns, rows, color, _ = screen(self._stream)
        up = 0 if self._left else self._rows(columns)
        self._left = False
        begin = (
            "\r" + "\x1b[1A\x1b[2K" * up if up else ""
        )  # erased at once, tmux keeps it for scrolling
        shown = lines[: max(rows - 1, 1)]
        text = "".join(paint(line, color) + "\n" for line in (*above, *shown))
        self._widths = [width(paint(line, False)) for line in shown]
        self._stream.write(begin + text)
        self._stream.flush()

    def leave(self) -> None:
        """Let the last lines stand where they are: somebody else has written since, as a shell does that
        stopped this process with Ctrl-Z."""
        self._left = True

    def _rows(self, columns: int) -> int:
        """How many rows the last lines take by now. Terminals wrap anew what no longer fits when they
        become narrower; one that cuts instead (xterm) loses as many rows of what stands above."""
        return sum(max(-(-each // columns), 1) for each in self._widths)


@contextmanager
def noticed(region: Region) -> Iterator[None]:
    """Leave the region's lines alone when this process goes on after it was stopped. Signals are a matter
    of the main thread; elsewhere this does nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGCONT, lambda number, frame: region.leave())
    try:
        yield
    finally:
        signal.signal(signal.SIGCONT, before)
