"""A page over the whole terminal, drawn anew until somebody presses q. Imported when there is one."""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache

from rich.console import Console, ConsoleDimensions, ConsoleOptions, RenderResult
from rich.live import Live
from rich.segment import Segment
from rich.style import Style
from rich.text import Text

from goflow.drawing.look import Line, paint
from goflow.errors import BackendError
from goflow.standing import Standing, Watcher
from goflow_cli.views.drawing import screen
from goflow_cli.views.top import page


def show(watcher: Watcher, name: str, interval: float) -> None:
    """Show how a store stands until q is pressed. A store that goes away meanwhile is told and waited for."""
    now = watcher.look()  # a store that cannot be read at all is an error, not a page
    color = screen(sys.stdout).color
    console = Console(file=sys.stdout, force_terminal=True, no_color=not color, highlight=False)
    live = Live(
        console=console,
        screen=True,
        auto_refresh=False,
        redirect_stdout=False,
        redirect_stderr=False,
        vertical_overflow="crop",
    )
    with _keys() as keys, live, _stoppable(live, keys):
        trouble = ""
        while True:
            _draw(live, now, name, trouble)
            if not _wait(keys, interval):
                return
            try:
                now, trouble = watcher.look(), ""
            except BackendError as error:
                trouble = f"{error}; looking again"


class _Lines:
    """Painted lines as rich wants them. The last one does not end: the screen would scroll."""

    def __init__(self, lines: Sequence[Line]) -> None:
        self._lines = lines

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for number, line in enumerate(self._lines):
            if number:
                yield Segment.line()
            for text, sgr in line:
                yield Segment(text, _style(sgr))


@cache
def _style(sgr: str) -> Style | None:
    """The style that these SGR parameters mean."""
    if not sgr:
        return None
    spans = Text.from_ansi(paint([("x", sgr)], True)).spans
    style = spans[0].style if spans else None
    return style if isinstance(style, Style) else None


def _draw(live: Live, now: Standing, name: str, trouble: str) -> None:
    seen = screen(sys.stdout)
    live.console.size = ConsoleDimensions(seen.width, seen.height)
    lines = page(now, name, seen._replace(height=seen.height - 1), trouble)
    lines += [[] for _ in range(seen.height - 1 - len(lines))]
    live.update(_Lines([*lines, [("q leaves", "2")]]), refresh=True)


def _wait(keys: Keys | None, seconds: float) -> bool:
    """Wait that long. False when somebody wants to leave."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        ready, _, _ = select.select([] if keys is None else [keys.descriptor], [], [], left)
        if keys is not None and ready:
            pressed = os.read(keys.descriptor, 64)
            if not pressed or b"q" in pressed.lower():
                return False
    return True


@contextmanager
def _keys() -> Iterator[Keys | None]:
    """Where single keys are read from, unseen on the screen; None where stdin is no terminal."""
    if not sys.stdin.isatty():
        yield None
        return
    keys = Keys(sys.stdin.fileno())
    keys.single()
    try:
        yield keys
    finally:
        keys.lines()


class Keys:
    """A terminal that gives its keys one by one, or, as the shell wants them, by lines."""

    def __init__(self, descriptor: int) -> None:
        import termios

        self.descriptor = descriptor
        self._before = termios.tcgetattr(descriptor)

    def single(self) -> None:
        import tty

        tty.setcbreak(self.descriptor)

    def lines(self) -> None:
        import termios

        termios.tcsetattr(self.descriptor, termios.TCSADRAIN, self._before)


@contextmanager
def _stoppable(live: Live, keys: Keys | None) -> Iterator[None]:
    """Ctrl-Z gives the shell its screen, its cursor and its keys; the page takes them again after fg."""

    def stop(number: int, frame: object) -> None:
        live.stop()
        if keys is not None:
            keys.lines()
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, stop)  # it goes on here
        if keys is not None:
            keys.single()
        live.start(refresh=True)

    before = signal.signal(signal.SIGTSTP, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTSTP, before)
