"""Record what a command shows on a terminal as an SVG: `python docs/picture.py COMMAND... > FILE.svg`.

The command runs on a real pseudo-terminal of 80 columns, what it writes goes through a terminal emulator, and
its last screen is drawn with rich. Pictures in the documentation are made with this and no other tool.
"""

from __future__ import annotations

import io
import os
import pty
import re
import struct
import sys
from fcntl import ioctl
from termios import TIOCSWINSZ

import pyte
from rich.console import Console
from rich.style import Style
from rich.text import Text

COLUMNS, LINES = 80, 60


def main(command: list[str]) -> None:
    """Run it and print the picture."""
    screen = pyte.Screen(COLUMNS, LINES)
    play(command, pyte.ByteStream(screen))
    lines = [drawn(screen, row) for row in range(LINES)]
    while lines and not lines[-1].plain.strip():
        lines.pop()
    console = Console(width=COLUMNS, record=True, file=io.StringIO())
    console.print(Text("$ " + " ".join(command)))
    for line in lines:
        console.print(line, no_wrap=True)
    svg = console.export_svg(title="goflow")
    # whoever looks at it has a monospaced font; nothing is fetched from anywhere
    print(re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL))


def play(command: list[str], stream: pyte.ByteStream) -> None:
    """Feed what a command writes on a terminal to an emulator, to its end."""
    child, terminal = pty.fork()
    if child == 0:
        os.environ |= {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
        os.execvp(command[0], command)
    ioctl(terminal, TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    try:
        while data := os.read(terminal, 65536):
            stream.feed(data)
    except OSError:  # how Linux tells that nobody holds the other end any more
        pass
    os.waitpid(child, 0)


def drawn(screen: pyte.Screen, row: int) -> Text:
    """One line of the screen."""
    line = Text()
    for column in range(COLUMNS):
        cell = screen.buffer[row][column]
        style = Style(color=colour(cell.fg), bgcolor=colour(cell.bg), bold=cell.bold)
        line.append(cell.data, style)
    line.rstrip()
    return line


def colour(name: str) -> str | None:
    """The emulator's name of a colour as rich's."""
    if name == "default":
        return None
    if re.fullmatch("[0-9a-f]{6}", name):
        return f"#{name}"
    return {"brown": "yellow"}.get(name, name.replace("bright", "bright_"))


if __name__ == "__main__":
    main(sys.argv[1:])
