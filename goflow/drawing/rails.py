"""Horizontal lines between two layers: which must be above which, and in which row each lies."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product
from typing import Final

#: with more rails than this their order is not improved: nobody could follow it anyway
MANY: Final = 40


class Rail:
    """A horizontal line that everything in `tops` reaches from above, `bottoms` from below (columns).

    `straight`: one column leads straight down, no horizontal line is needed.
    """

    def __init__(self, tops: Iterable[int], bottoms: Iterable[int], dashed: bool) -> None:
        self.tops = frozenset(tops)
        self.bottoms = frozenset(bottoms)
        self.dashed = dashed
        self.left = min(self.tops | self.bottoms)
        self.right = max(self.tops | self.bottoms)
        self.straight = self.left == self.right
        self.row = -1

    def apart(self, other: Rail) -> bool:
        """Whether both fit into one row."""
        return self.right + 1 < other.left or other.right + 1 < self.left


#: rails by those that must be above them
Above = dict[Rail, set[Rail]]


def arrange(rails: list[Rail]) -> set[int]:
    """Give every rail its row, splitting some in two where there is no other way. The columns at which
    the halves of split ones meet."""
    turns: set[int] = set()
    used = {x for rail in rails for x in rail.tops | rail.bottoms}
    above = _constraints(rails, turns)
    while (cycle := _cycle(above)) is not None:
        whole = [rail for rail in cycle if not (rail.tops | rail.bottoms) & turns]
        rail = min(whole, key=lambda each: each.right - each.left)
        column = _free_column(rail, used)
        used.add(column)
        turns.add(column)
        rails.remove(rail)
        rails.append(Rail(rail.tops, [column], rail.dashed))
        rails.append(Rail([column], rail.bottoms, rail.dashed))
        above = _constraints(rails, turns)
    routed = [rail for rail in rails if not rail.straight]
    if len(routed) <= MANY:
        _prefer_fewer_crossings(routed, above)
    _place(routed, above)
    return turns


def _constraints(rails: Sequence[Rail], turns: set[int]) -> Above:
    """What must be above what.

    Where a line that ends on a rail stands in the column of one that starts on another, the first rail is
    higher. Of rails that share a column, that one must be higher whose lines may all go on to the other:
    a rail with some of its sources, or with more targets, or whose source's line goes on elsewhere. The
    halves of a split one meet at a turn.
    """
    above: Above = {rail: set() for rail in rails}
    tops = _by_column((x, rail) for rail in rails for x in rail.tops)
    bottoms = _by_column((x, rail) for rail in rails for x in rail.bottoms)
    for x, lower in bottoms.items():
        for rail, other in product(lower, tops.get(x, ())):
            if x in turns:
                above[other].add(rail)
            elif other is not rail and not rail.straight:
                above[rail].add(other)
    for sharing in tops.values():
        for rail in sharing:
            above[rail].update(other for other in sharing if other.tops < rail.tops)
    elsewhere = {rail for rail in rails if any(len(tops[x]) > 1 for x in rail.tops)}
    for sharing in bottoms.values():
        for rail in sharing:
            above[rail].update(other for other in sharing if other.bottoms > rail.bottoms)
            if rail not in elsewhere:
                same = (other for other in sharing if other.bottoms == rail.bottoms)
                above[rail].update(other for other in same if other in elsewhere)
    return above


def _by_column(pairs: Iterable[tuple[int, Rail]]) -> dict[int, list[Rail]]:
    found: dict[int, list[Rail]] = {}
    for x, rail in pairs:
        found.setdefault(x, []).append(rail)
    return found


def _cycle(above: Above) -> list[Rail] | None:
    """Rails each of which must be above itself, if there are any."""
    done: set[Rail] = set()
    for start in above:
        path: list[Rail] = []
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


def _free_column(rail: Rail, used: set[int]) -> int:
    middle = (rail.left + rail.right) // 2
    for distance in range(len(used) + middle + 1):
        for x in (middle - distance, middle + distance):
            if x >= 0 and x not in used:
                return x
    return max(used) + 1


def _prefer_fewer_crossings(rails: Sequence[Rail], above: Above) -> None:
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


def _crossings(upper: Rail, lower: Rail) -> int:
    down = sum(lower.left < x < lower.right and x not in lower.bottoms for x in upper.bottoms)
    return down + sum(upper.left < x < upper.right and x not in upper.tops for x in lower.tops)


def _reaches(above: Above, rail: Rail, goal: Rail) -> bool:
    """Whether `goal` must be above `rail` already."""
    seen: set[Rail] = set()
    stack = [rail]
    while stack:
        for other in above[stack.pop()]:
            if other is goal:
                return True
            if other not in seen:
                seen.add(other)
                stack.append(other)
    return False


def _place(rails: Sequence[Rail], above: Above) -> None:
    """Give each rail the highest row that is free."""
    rows: list[list[Rail]] = []
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
