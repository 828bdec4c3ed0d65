"""Commands at a terminal that is resized, and that a shell stops with Ctrl-Z, in a real pseudo-terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from goflow.drawing.text import width
from goflow_cli.views.output import harmless
from tests.cli.shell import GOFLOW

#: seconds that a text may take to appear
PATIENCE: Final = 30.0

FLOW: Final = """
import pathlib
import time


def wait(data):
    while not pathlib.Path("go").exists():
        time.sleep(0.05)


def define_workflow(workflow, context):
    for name in ("left", "middle", "right"):
        workflow.dag.node(name, wait)
"""


class Seat:
    """A person at a terminal with one command in it."""

    def __init__(self, pid: int, descriptor: int) -> None:
        self.pid = pid
        self._descriptor = descriptor
        self.shown = ""

    def resize(self, columns: int, rows: int = 40) -> None:
        size = struct.pack("HHHH", rows, columns, 0, 0)
        fcntl.ioctl(self._descriptor, termios.TIOCSWINSZ, size)

    def press(self, keys: bytes) -> None:
        os.write(self._descriptor, keys)

    def modes(self) -> int:
        """The terminal's local modes: whether keys come by lines, and are shown."""
        local = termios.tcgetattr(self._descriptor)[3]
        assert isinstance(local, int)
        return local & (termios.ICANON | termios.ECHO)

    def until(self, text: str) -> str:
        """What is written up to this text, and with it; it is taken from what was shown."""
        end = time.monotonic() + PATIENCE
        while text not in self.shown:
            going = time.monotonic() < end and self._read()
            assert going, f"no {text!r} at the end of {self.shown[-300:]!r}"
        before, found, self.shown = self.shown.partition(text)
        return before + found

    def leaves(self) -> int:
        """The command's exit code, once it has ended."""
        while self._read():
            pass
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def _read(self) -> bool:
        ready, _, _ = select.select([self._descriptor], [], [], PATIENCE)
        assert ready, f"nothing comes after {self.shown[-300:]!r}"
        try:
            data = os.read(self._descriptor, 65536)
        except OSError:  # the other end is closed
            return False
        self.shown += data.decode(errors="replace")
        return bool(data)


@contextmanager
def seated(folder: Path, *command: str, columns: int = 100) -> Iterator[Seat]:
    """Somebody who has typed `goflow COMMAND` in this folder."""
    names = ("NO_COLOR", "COLUMNS", "LINES")
    env = {name: value for name, value in os.environ.items() if name not in names}
    env |= {"LANG": "C.UTF-8", "TERM": "xterm-256color", "GOFLOW_LOCAL_PATH": str(folder / "store")}
    pid, descriptor = pty.fork()
    if pid == 0:
        os.chdir(folder)
        fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        os.execve(GOFLOW[0], [*GOFLOW, *command], env)
    try:
        yield Seat(pid, descriptor)
    finally:
        os.close(descriptor)  # hangs up


def test_a_live_view_fits_a_terminal_that_is_resized(tmp_path: Path) -> None:
    (tmp_path / "flow.py").write_text(FLOW)
    with seated(tmp_path, "run", "flow.py") as seat:
        seat.until("right")
        pictures = []
        for columns in (30, 120):
            seat.resize(columns)
            for _ in range(2):  # one may have been under way
                seat.until("\x1b[1mflow")
            pictures.append(seat.until("\x1b[1mflow"))
        (tmp_path / "go").touch()
        assert seat.leaves() == 0
    narrow, wide = (
        max(width(harmless(line.encode())) for line in picture.split("\r\n"))
        for picture in pictures
    )
    assert narrow <= 30 < wide


def test_ctrl_z_gives_the_shell_its_screen_its_cursor_and_its_keys(tmp_path: Path) -> None:
    with seated(tmp_path, "top") as seat:
        seat.until("q leaves")
        assert seat.modes() == 0
        seat.press(b"\x1a")  # nobody stops a command without a shell, so it goes on at once
        given = seat.until("\x1b[?1049l")
        assert "\x1b[?25h" in given + seat.until("\x1b[?1049h")
        seat.until("q leaves")
        assert seat.modes() == 0
        seat.press(b"q")
        assert seat.leaves() == 0
