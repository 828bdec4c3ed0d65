"""A grid of character cells to draw lines, boxes and text on."""

from __future__ import annotations

from typing import Final

from goflow.drawing.look import Line
from goflow.drawing.text import width

#: the directions in which a cell's line goes on
N, E, S, W = 1, 2, 4, 8

_LINES: Final = {
    N: "│", S: "│", N | S: "│", E: "─", W: "─", E | W: "─",
    S | E: "┌", S | W: "┐", N | E: "└", N | W: "┘",
    N | S | E: "├", N | S | W: "┤", S | E | W: "┬", N | E | W: "┴", N | E | S | W: "┼",
}  # fmt: skip
_ROUND: Final = {"┌": "╭", "┐": "╮", "└": "╰", "┘": "╯"}
_ASCII: Final = {
    "│": "|",
    "─": "-",
    "╎": ":",
    "╌": ".",
    "▼": "v",
    "╭": ".",
    "╮": ".",
    "╰": "'",
    "╯": "'",
}


class Canvas:
    """`w` by `h` cells. Later drawing covers earlier, except that `bits` add up to joined lines."""

    def __init__(self, w: int, h: int, unicode: bool = True) -> None:
        self.unicode = unicode
        self._chars = [[" "] * w for _ in range(h)]
        self._styles = [[""] * w for _ in range(h)]
        self._bits = [[0] * w for _ in range(h)]

    def join(self, x: int, y: int, bits: int, sgr: str, *, dashed: bool = False) -> None:
        """Continue the line in a cell into these directions too."""
        bits = self._bits[y][x] = self._bits[y][x] | bits
        char = _LINES[bits]
        if dashed and char in "│─":
            char = "╎" if char == "│" else "╌"
        self._set(x, y, char, sgr)

    def over(self, x: int, y: int, bits: int, sgr: str, *, dashed: bool = False) -> None:
        """A line that passes over whatever is in the cell without touching it."""
        self._bits[y][x] = 0
        self.join(x, y, bits, sgr, dashed=dashed)

    def exit(self, x: int, y: int) -> None:
        """A line leaves the border in this cell downwards."""
        self.join(x, y, S, self._styles[y][x])

    def box(self, x: int, y: int, w: int, h: int, sgr: str, *, round: bool = False) -> None:
        """A border."""
        right, bottom = x + w - 1, y + h - 1
        for column in range(x + 1, right):
            self.join(column, y, E | W, sgr)
            self.join(column, bottom, E | W, sgr)
        for row in range(y + 1, bottom):
            self.join(x, row, N | S, sgr)
            self.join(right, row, N | S, sgr)
        corners = ((x, y, S | E), (right, y, S | W), (x, bottom, N | E), (right, bottom, N | W))
        for column, row, bits in corners:
            self.join(column, row, bits, sgr)
            if round:
                self._set(column, row, _ROUND[self._plain(column, row)], sgr)

    def text(self, x: int, y: int, line: Line) -> None:
        """Text from a cell on; a wide character takes two."""
        for text, sgr in line:
            for char in text:
                columns = width(char)
                if columns:
                    self._chars[y][x] = char
                    self._styles[y][x] = sgr
                    if columns == 2:
                        self._chars[y][x + 1] = ""
                        self._styles[y][x + 1] = sgr
                else:
                    self._chars[y][x - 1] += char
                x += columns

    def arrow(self, x: int, y: int, sgr: str) -> None:
        """The head of an edge that goes down."""
        self._set(x, y, "▼", sgr)

    def lines(self) -> list[Line]:
        """All rows, cells of one style together."""
        rows = []
        for chars, styles in zip(self._chars, self._styles, strict=True):
            line: Line = []
            for char, sgr in zip(chars, styles, strict=True):
                if line and (line[-1][1] == sgr or char == " "):
                    line[-1] = (line[-1][0] + char, line[-1][1])
                else:
                    line.append((char, sgr))
            rows.append(line)
        return rows

    def _plain(self, x: int, y: int) -> str:
        return _LINES[self._bits[y][x]]

    def _set(self, x: int, y: int, char: str, sgr: str) -> None:
        self._chars[y][x] = (
            char if self.unicode else _ASCII.get(char, "+" if char in "┌┐└┘├┤┬┴┼" else char)
        )
        self._styles[y][x] = sgr
