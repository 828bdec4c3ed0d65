"""A run as it goes, on a terminal: the painted DAG, redrawn in place, node output scrolling above it.

Nothing here waits or runs in a thread. Whoever drives the run calls `tick` whenever something may have
happened, and again after the seconds that it answers; it redraws at most ten times a second, and less
often where looking and drawing take long, so that watching never costs more than a tenth of the time.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self, TextIO

from goflow.drawing.look import Line
from goflow.overview import Overview
from goflow.plan import Plan
from goflow_cli.views.drawing import screen
from goflow_cli.views.output import Output
from goflow_cli.views.region import Region, noticed

if TYPE_CHECKING:
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
        self._region = Region(self._stream)
        self._surroundings = ExitStack()
        self._output = Output(screen(self._stream).unicode)
        self._frame: Frame | None = None
        self._last: list[Line] = []

    def __enter__(self) -> Self:
        self._surroundings.enter_context(noticed(self._region))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave the final picture."""
        with self._surroundings:
            self._output.close()
            if error is None or isinstance(error, KeyboardInterrupt):
                self._last = [*self._lines(PROMPT), []]
            self._region.draw(self._last, self._output.take())

    def tick(self) -> float:
        """Redraw if it is time. Answers in how many seconds it wants to be called again."""
        begin = self._clock()
        if begin < self._due:
            return self._due - begin
        self._last = self._lines()
        self._region.draw(self._last, self._output.take())
        end = self._clock()
        self._due = end + max(SOONEST, COST * (end - begin))
        return max(LATEST, self._due - end)

    def echo(self, path: str, data: bytes) -> None:
        """Show what a node printed, line by line, above the picture with the next redraw."""
        self._output.add(path, data)

    def say(self, text: str) -> None:
        """A word of goflow itself, above the picture and at once: it may be that none can be drawn."""
        self._output.add("goflow", f"{text}\n".encode())
        self._region.draw(self._last, self._output.take())

    def _lines(self, spare: int = 1) -> list[Line]:
        from goflow_cli.views.frame import Frame  # the layout: not needed before the first picture

        if self._frame is None:
            self._frame = Frame(self._plan)
        return self._frame.lines(self._current(), screen(self._stream), spare)
