"""What nodes print, made fit to stand above a live picture: whole lines, each with its node's path."""

from __future__ import annotations

import re
from typing import Final

from goflow.drawing.look import DIM, Line
from goflow.drawing.text import clean

#: bytes of a line that is shown before it has ended
LONGEST: Final = 4096


class Output:
    """Collects pieces, gives back lines. A node's unfinished line waits for its end."""

    def __init__(self, unicode: bool = True) -> None:
        self._open: dict[str, bytes] = {}
        self._lines: list[Line] = []
        self._unicode = unicode

    def add(self, path: str, data: bytes) -> None:
        """A piece of what the node at this path printed."""
        *lines, rest = (self._open.pop(path, b"") + data).split(b"\n")
        while len(rest) > LONGEST:
            lines.append(rest[:LONGEST])
            rest = rest[LONGEST:]
        for line in lines:
            self._add(path, line)
        if rest:
            self._open[path] = rest

    def close(self) -> None:
        """End all lines."""
        for path, rest in self._open.items():
            self._add(path, rest)
        self._open.clear()

    def take(self) -> list[Line]:
        """The lines since the last time."""
        lines, self._lines = self._lines, []
        return lines

    def end(self, path: str) -> None:
        """End the line of one node: it says nothing more."""
        rest = self._open.pop(path, b"")
        if rest:
            self._add(path, rest)

    def _add(self, path: str, line: bytes) -> None:
        bar = "│" if self._unicode else "|"
        shown = harmless(line, self._unicode)
        self._lines.append([(f"{clean(path, self._unicode)} {bar} ", DIM), (shown, "")])


def harmless(line: bytes, unicode: bool = True) -> str:
    """A line that a node printed as no terminal can be steered by it.

    What a carriage return overwrote is gone, and so are escape sequences; other control characters and
    what is not UTF-8 become a sign.
    """
    shown = line.removesuffix(b"\r").rpartition(b"\r")[2].decode(errors="replace").expandtabs()
    shown = _STEERING.sub("", shown)
    shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in shown)
    return shown if unicode else shown.encode("ascii", "backslashreplace").decode()


_STEERING: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)")
