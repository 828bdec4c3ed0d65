"""A run as it goes, on a terminal: the painted DAG, redrawn in place, node output scrolling above it.

Nothing here waits or runs in a thread. Whoever drives the run calls `tick` whenever something may have
happened, and again after the seconds that it answers; it redraws at most ten times a second, and less
often where looking and drawing take long, so that watching never costs more than a tenth of the time.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self, TextIO

from goflow.drawing.look import Line, paint
from goflow.overview import Overview
from goflow.plan import Plan
from goflow_cli.views.drawing import screen
from goflow_cli.views.output import Output

if TYPE_CHECKING:
    from rich.live import Live

    from goflow_cli.views.frame import Frame

#: seconds between two pictures at least; how long before the first one, so that a short run never
#: pays for the machinery; and at most, so that times go on
SOONEST: Final = 0.1
FIRST: Final = 0.15
LATEST: Final = 0.5
#: lines that are left below the last picture, for the result and the shell's prompt
PROMPT: Final = 4
#: how many times as long as a picture took the next one has to wait
COST: Final = 9


class LiveView:
    """Shows one run until the `with` block ends, then leaves its last picture on the screen.

    `current` answers the run as it is now. Output of nodes goes to `echo`, never to the stream itself
    while the view is open.
    """

    def __init__(
        self,
        plan: Plan,
        current: Callable[[], Overview],
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._plan = plan
        self._current = current
        self._stream = stream or sys.stderr
        self._clock = clock
        self._due = clock() + FIRST
        self._live: Live | None = None
        self._output = Output(screen(self._stream).unicode)
        self._frame: Frame | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave the final picture, and in any case a terminal that works."""
        try:
            self._output.close()
            if error is None or isinstance(error, KeyboardInterrupt):
                self._show([*self._lines(PROMPT), []], last=True)
        finally:
            if self._live is not None:
                self._live.stop()
                self._live = None

    def tick(self) -> float:
        """Redraw if it is time. Answers in how many seconds it wants to be called again."""
        begin = self._clock()
        if begin < self._due:
            return self._due - begin
        self._show(self._lines())
        end = self._clock()
        self._due = end + max(SOONEST, COST * (end - begin))
        return max(LATEST, self._due - end)

    def echo(self, path: str, data: bytes) -> None:
        """Show what a node printed, line by line, above the picture with the next redraw."""
        self._output.add(path, data)

    def say(self, text: str) -> None:
        """A word of goflow itself, above the picture and at once: it may be that none can be drawn."""
        self._output.add("goflow", f"{text}\n".encode())
        printed = self._output.take()
        if self._live is None:
            self._stream.writelines(
                paint(line, screen(self._stream).color) + "\n" for line in printed
            )
            self._stream.flush()
            return
        from goflow_cli.views.region import Lines

        self._live.console.print(Lines(printed))

    def _lines(self, spare: int = 1) -> list[Line]:
        from goflow_cli.views.frame import Frame  # the layout: not needed before the first picture

        if self._frame is None:
            self._frame = Frame(self._plan)
        return self._frame.lines(self._current(), screen(self._stream), spare)

    def _show(self, lines: Sequence[Line], *, last: bool = False) -> None:
        width, height, color, _ = screen(self._stream)
        if self._live is None and last:
            for line in (*self._output.take(), *lines):
                self._stream.write(paint(line, color) + "\n")
            self._stream.flush()
            return
        from goflow_cli.views.region import ConsoleDimensions, Lines, opened

        if self._live is None:
            self._live = opened(self._stream, color)
        self._live.console.size = ConsoleDimensions(width, height)
        printed = self._output.take()
        self._live.update(Lines(lines))
        if printed:
            self._live.console.print(Lines(printed))
        self._live.refresh()
