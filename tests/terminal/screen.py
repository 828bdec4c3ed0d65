"""A pseudo-terminal with a program in it, and what a person would see there."""

from __future__ import annotations

import codecs
import fcntl
import json
import os
import pty
import re
import select
import struct
import sys
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyte

from tests.terminal.at import MARK
from tests.terminal.story import NOW

#: lines of the terminal
LINES = 50
#: seconds a program may be silent before it is given up
PATIENCE = 30.0


class Program:
    """Commands by name at a terminal of so many columns. `keys` says, by name, what is typed once the
    command shows a text."""

    def __init__(
        self,
        folder: Path,
        commands: Mapping[str, Sequence[str]],
        columns: int,
        env: Mapping[str, str],
        keys: Mapping[str, tuple[str, bytes]],
    ) -> None:
        self.columns = columns
        self._names = list(commands)
        self._keys = keys
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._raw = ""
        self._typed = 0
        line = [sys.executable, "-m", "tests.terminal.at", str(NOW)]
        line.append(json.dumps(list(commands.values())))
        plain = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "COLUMNS", "LINES")}
        plain |= {"TZ": "UTC", "LANG": "C.UTF-8", "TERM": "xterm-256color"}
        whole = {**plain, "GOFLOW_LOCAL_PATH": str(folder / "store"), **env}
        self._pid, self._fd = pty.fork()
        if self._pid == 0:
            fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, columns, 0, 0))
            modes = termios.tcgetattr(1)
            modes[3] &= ~termios.ECHO  # where a ^C lands on the screen is a matter of chance
            termios.tcsetattr(1, termios.TCSANOW, modes)
            # not execv: readline, which pytest loads, has put sizes where os.environ does not see them
            os.execve(sys.executable, line, whole)

    def outputs(self) -> list[str]:
        """What each command wrote, to the program's end."""
        quiet = time.monotonic() + PATIENCE
        while True:
            assert time.monotonic() < quiet, f"it hangs after {self._raw[-500:]!r}"
            ready, _, _ = select.select([self._fd], [], [], 1.0)
            if not ready:
                continue
            try:
                data = os.read(self._fd, 65536)
            except OSError:  # the other end is closed
                break
            if not data:
                break
            self._raw += self._decoder.decode(data)
            self._type()
        os.waitpid(self._pid, 0)
        os.close(self._fd)
        return self._raw.split(MARK)[1:]

    def _type(self) -> None:
        """Answer what the command at hand shows, once for each command."""
        shown = self._raw.split(MARK)[1:]
        if len(shown) <= self._typed:
            return
        text, keys = self._keys.get(self._names[len(shown) - 1], ("", b""))
        if keys and re.search(text, shown[-1]):
            time.sleep(
                0.05
            )  # let it finish its page: the interrupt itself is not what is looked at
            os.write(self._fd, keys)
            self._typed = len(shown)


def seen(output: str, columns: int) -> str:
    """The lines on the screen after this output."""
    screen = pyte.Screen(columns, LINES)
    pyte.Stream(screen).feed(output)
    return "\n".join(line.rstrip() for line in screen.display).rstrip() + "\n"
