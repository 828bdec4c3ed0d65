"""The part of the screen that is redrawn in place: rich does it. Imported when there is one."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TextIO

from rich.console import Console, ConsoleDimensions, ConsoleOptions, RenderResult
from rich.live import Live
from rich.segment import Segment
from rich.style import Style
from rich.text import Text

from goflow.drawing.look import Line, paint

__all__ = ["ConsoleDimensions", "Lines", "opened"]


class Lines:
    """Painted lines as rich wants them."""

    def __init__(self, lines: Sequence[Line], *, last: bool = True) -> None:
        self._lines = lines
        self._last = last  # whether the last line ends too: on a full screen that would scroll

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for number, line in enumerate(self._lines):
            if number:
                yield Segment.line()
            for text, sgr in line:
                yield Segment(text, _style(sgr))
        if self._last:
            yield Segment.line()


def opened(stream: TextIO, color: bool) -> Live:
    """A live region on this stream; the caller refreshes it."""
    console = Console(file=stream, force_terminal=True, no_color=not color, highlight=False)
    live = Live(
        console=console,
        auto_refresh=False,
        redirect_stdout=False,
        redirect_stderr=False,
        vertical_overflow="crop",
    )
    live.start()
    return live


@cache
def _style(sgr: str) -> Style | None:
    """The style that these SGR parameters mean."""
    if not sgr:
        return None
    spans = Text.from_ansi(paint([("x", sgr)], True)).spans
    style = spans[0].style if spans else None
    return style if isinstance(style, Style) else None
