"""The rows between two layers: horizontal rails that carry edges from their source's column to their
target's.

Edges are bundled where that loses nothing: targets with the same sources share one rail, since
everything above it leads to everything below it. Two lines that only cross do so without touching, so
a line that touches another always means an edge. Which rail is above which follows from the columns: a
line going down must not run into another that ends there. Where that is impossible (a swap), a rail is
split in two with a free column between.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

#: (upper column, lower column, dashed)
Span = tuple[int, int, bool]

#: with more rails than this their order is not improved: nobody could follow it anyway
MANY: Final = 40


class Wire(NamedTuple):
    """A straight piece from (x1, y1) to (x2, y2), both included, going right or down."""

    x1: int
    y1: int
    x2: int
    y2: int
    dashed: bool


class Channel(NamedTuple):
    """`height` rows; wires within them, row 0 on top (lines from above begin in row -1, the border they
    leave); where wires are joined; the rightmost column."""

    height: int
    wires: list[Wire]
    joints: list[tuple[int, int]]
    right: int


class _Rail:
    """A horizontal line that everything in `tops` reaches from above, `bottoms` from below."""

    def __init__(self, tops: Sequence[int], bottoms: Sequence[int], dashed: bool) -> None:
        self.tops = tops
        self.bottoms = bottoms
        self.dashed = dashed
        self.left = min(*tops, *bottoms)
        self.right = max(*tops, *bottoms)
        self.straight = self.left == self.right
        self.row = -1

    def apart(self, other: _Rail) -> bool:
        """Whether both fit into one row."""
        return self.right + 1 < other.left or other.right + 1 < self.left


#: rails by those that must be above them
Above = dict[_Rail, set[_Rail]]


def channel(spans: Sequence[Span]) -> Channel:
    """Route edges between two layers. Columns must differ between vertices of the same layer."""
    rails = [_Rail(*rail) for rail in _bundled(spans)]
    above = _constraints(rails)
    turns = _without_cycles(rails, above)
    routed = [rail for rail in rails if not rail.straight]
    if len(routed) <= MANY:
        _prefer_fewer_crossings(routed, above)
    height = _place(routed, above) + 1
    wires = [Wire(r.left, r.row, r.right, r.row, r.dashed) for r in routed]
    wires += _verticals(rails, height, turns)
    joints = [(x, rail.row) for rail in routed for x in (*rail.tops, *rail.bottoms)]
    return Channel(height, wires, joints, max((wire.x2 for wire in wires), default=0))


def _bundled(spans: Sequence[Span]) -> Iterator[tuple[list[int], list[int], bool]]:
    """Complete bundles: every top leads to every bottom."""
    for dashed in (False, True):
        tops: dict[int, list[int]] = {}
        bottoms: dict[int, list[int]] = {}
        for top, bottom, of in dict.fromkeys(spans):
            if of == dashed:
                bottoms.setdefault(top, []).append(bottom)
                tops.setdefault(bottom, []).append(top)
        by_tops = _grouped(tops)
        by_bottoms = _grouped(bottoms)
        if len(by_tops) <= len(by_bottoms):
            yield from ((list(key), group, dashed) for key, group in by_tops.items())
        else:
            yield from ((group, list(key), dashed) for key, group in by_bottoms.items())


def _grouped(ends: dict[int, list[int]]) -> dict[tuple[int, ...], list[int]]:
    groups: dict[tuple[int, ...], list[int]] = {}
    for one, others in ends.items():
        groups.setdefault(tuple(sorted(others)), []).append(one)
    return groups


def _constraints(rails: Sequence[_Rail]) -> Above:
    """Where a line that ends on a rail stands above one that starts on another, the first is higher."""
    above: Above = {rail: set() for rail in rails}
    tops: dict[int, list[_Rail]] = {}
    for rail in rails:
        for x in rail.tops:
            tops.setdefault(x, []).append(rail)
    for rail in rails:
        for x in rail.bottoms:
            if not rail.straight:
                above[rail].update(other for other in tops.get(x, ()) if other is not rail)
    return above


def _without_cycles(rails: list[_Rail], above: Above) -> set[int]:
    """Split rails until the constraints can be met; the columns where split ones turn."""
    turns: set[int] = set()
    used = {x for rail in rails for x in (*rail.tops, *rail.bottoms)}
    while (cycle := _cycle(above)) is not None:
        rail = min(cycle, key=lambda each: each.right - each.left)
        column = _free_column(rail, used)
        used.add(column)
        turns.add(column)
        first = _Rail(rail.tops, [column], rail.dashed)
        second = _Rail([column], rail.bottoms, rail.dashed)
        rails.remove(rail)
        rails += [first, second]
        above[second] = above.pop(rail) | {first}
        above[first] = set()
        for others in above.values():
            if rail in others:
                others.remove(rail)
                others.add(first)
    return turns


def _cycle(above: Above) -> list[_Rail] | None:
    """Rails each of which must be above itself, if there are any."""
    done: set[_Rail] = set()
    for start in above:
        path: list[_Rail] = []
        stack = [(start, iter(above[start]))] if start not in done else []
        while stack:
            rail, rest = stack[-1]
            if not path or path[-1] is not rail:
                path.append(rail)
            following = next((other for other in rest if other not in done), None)
            if following is None:
                stack.pop()
                path.pop()
                done.add(rail)
            elif following in path:
                return path[path.index(following) :]
            else:
                stack.append((following, iter(above[following])))
    return None


def _free_column(rail: _Rail, used: set[int]) -> int:
    middle = (rail.left + rail.right) // 2
    for distance in range(len(used) + middle + 1):
        for x in (middle - distance, middle + distance):
            if x >= 0 and x not in used:
                return x
    return max(used) + 1


def _prefer_fewer_crossings(rails: Sequence[_Rail], above: Above) -> None:
    """Of two overlapping rails put that one higher which then crosses fewer lines, where one may."""
    wishes = []
    for i, rail in enumerate(rails):
        for other in rails[i + 1 :]:
            if not rail.apart(other):
                gain = _crossings(other, rail) - _crossings(rail, other)
                if gain:
                    wishes.append((abs(gain), (rail, other) if gain > 0 else (other, rail)))
    for _, (upper, lower) in sorted(wishes, key=lambda wish: -wish[0]):
        if not _reaches(above, upper, lower):
            above[lower].add(upper)


def _crossings(upper: _Rail, lower: _Rail) -> int:
    down = sum(lower.left < x < lower.right and x not in lower.bottoms for x in upper.bottoms)
    return down + sum(upper.left < x < upper.right and x not in upper.tops for x in lower.tops)


def _reaches(above: Above, rail: _Rail, goal: _Rail) -> bool:
    """Whether `goal` must be above `rail` already."""
    seen: set[_Rail] = set()
    stack = [rail]
    while stack:
        for other in above[stack.pop()]:
            if other is goal:
                return True
            if other not in seen:
                seen.add(other)
                stack.append(other)
    return False


def _place(rails: Sequence[_Rail], above: Above) -> int:
    """Give each rail the highest row that is free; how many rows there are."""
    rows: list[list[_Rail]] = []
    pending = list(rails)
    while pending:
        waiting = set(pending)
        for rail in [each for each in pending if not above[each] & waiting]:
            row = max((each.row + 1 for each in above[rail]), default=0)
            while row < len(rows) and not all(rail.apart(other) for other in rows[row]):
                row += 1
            if row >= len(rows):
                rows.append([])
            rail.row = row
            rows[row].append(rail)
            pending.remove(rail)
    return len(rows)


def _verticals(rails: Sequence[_Rail], height: int, turns: set[int]) -> Iterator[Wire]:
    """From the top to the lowest rail of each upper column, from the highest rail of each lower one."""
    ends: dict[int, tuple[int, bool]] = {}
    starts: dict[int, tuple[int, bool]] = {}
    for rail in rails:
        for x in rail.tops:
            row = height - 1 if rail.straight else rail.row
            ends[x] = max(ends.get(x, (0, rail.dashed)), (row, rail.dashed))
        for x in rail.bottoms:
            row = 0 if rail.straight else rail.row
            starts[x] = min(starts.get(x, (height, rail.dashed)), (row, rail.dashed))
    for x, (row, dashed) in ends.items():
        yield Wire(x, starts[x][0] if x in turns else -1, x, row, dashed)
    for x, (row, dashed) in starts.items():
        if x not in turns and not (x in ends and ends[x][0] == height - 1):
            yield Wire(x, row, x, height - 1, dashed)
