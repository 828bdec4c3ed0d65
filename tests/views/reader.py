"""Reads a drawn DAG as a person does: follows the lines from box to box."""

from __future__ import annotations

from typing import Final, NamedTuple

from goflow.drawing.block import Block, Box

N, E, S, W = (0, -1), (1, 0), (0, 1), (-1, 0)
Step = tuple[int, int]

_WAYS: Final[dict[str, set[Step]]] = {
    "│": {N, S}, "╎": {N, S}, "─": {E, W}, "╌": {E, W},
    "┌": {S, E}, "┐": {S, W}, "└": {N, E}, "┘": {N, W},
    "├": {N, S, E}, "┤": {N, S, W}, "┬": {S, E, W}, "┴": {N, E, W}, "┼": {N, E, S, W},
}  # fmt: skip
_SOLID, _DASHED = frozenset("│─"), frozenset("╎╌")


class Drawn(NamedTuple):
    """An edge as the picture shows it, between static paths."""

    source: str
    target: str
    dashed: bool


def read(block: Block, text: list[str]) -> set[Drawn]:
    """The edges that a picture shows. Raises AssertionError where a line ends in nothing, changes its
    style on the way, or shows no style at all where it should."""
    found: set[Drawn] = set()
    boxes = [box for box in block.boxes if box.role in ("node", "group")]
    for box in boxes:
        for x in range(box.x + 1, box.x + box.w - 1):
            if text[box.y + box.h - 1][x] == "┬":
                for target, dashed in _ends(boxes, text, x, box.y + box.h):
                    found.add(Drawn(box.path, target, dashed))
    return found


def _ends(boxes: list[Box], text: list[str], x: int, y: int) -> set[tuple[str, bool]]:
    """Where the line that starts in this cell leads to, going down and aside, never up."""
    ends: set[tuple[str, bool]] = set()
    seen: set[tuple[int, int, Step, str]] = set()
    stack: list[tuple[int, int, Step, str]] = [(x, y, S, "")]
    while stack:
        state = stack.pop()
        if state in seen:
            continue
        seen.add(state)
        x, y, step, style = state
        char = text[y][x] if y < len(text) and x < len(text[y]) else " "
        if char == "▼":
            (box,) = (b for b in boxes if b.y == y + 1 and b.x < x < b.x + b.w - 1)
            ends.add((box.path, style == "dashed"))
            continue
        assert char in _WAYS, f"a line ends in {char!r} at {x}, {y}"
        back = (-step[0], -step[1])
        if back not in _WAYS[char]:  # it passes below another line
            assert step in (E, W), f"a line down is cut off at {x}, {y}"
            stack.append((x + step[0], y + step[1], step, style))
            continue
        if char in _SOLID or char in _DASHED:
            told = "solid" if char in _SOLID else "dashed"
            assert style in ("", told), f"the style changes at {x}, {y}"
            style = told
        for way in _WAYS[char] - {back, N}:
            stack.append((x + way[0], y + way[1], way, style))
    return ends
