"""The rows between two layers, in which edges get from their source's column to their target's.

Edges are bundled on horizontal rails where that loses nothing: targets with the same sources share one,
since everything above it leads to everything below it. Two lines that only cross do so without touching;
so whoever follows the lines downwards from a box comes to exactly the boxes its edges lead to. Every
way of bundling is checked for that, and where none will do, the edges enter their target apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from goflow.drawing.layers import Edge
from goflow.drawing.rails import Rail, arrange

#: with more edges than this between two layers, ends are left where they are
FEW: Final = 12

#: columns by vertex and style
Ports = dict[tuple[int, bool], int]
#: what leads where: upper columns to the lower ones they reach
Reach = dict[int, set[int]]


class Wire(NamedTuple):
    """A straight piece from (x1, y1) to (x2, y2), both included, going right or down."""

    x1: int
    y1: int
    x2: int
    y2: int
    dashed: bool


class Channel(NamedTuple):
    """`height` rows; wires within them, row 0 on top (lines from above begin in row -1, the border they
    leave); where wires are joined; at which column each edge enters its target."""

    height: int
    wires: list[Wire]
    joints: list[tuple[int, int]]
    entries: dict[Edge, int]


def channel(
    edges: Sequence[Edge],
    out: Ports,
    into: Ports,
    sides: Mapping[int, tuple[int, int]],
    *,
    spare: bool,
) -> Channel | None:
    """Route edges between two layers from where they leave (`out`) to where they enter (`into`).

    `sides` are the first and last column in which each lower vertex can be entered. `spare` asks for a
    row more than lines and arrowheads need. None where the edges cannot be told apart in so many columns.
    """
    ways = [
        _routed(rails, entries, spare)
        for entries in _entries(edges, into)
        for rails in _bundled(edges, out, entries)
    ]
    apart = _apart(edges, out, sides)
    if apart is not None:
        ways.append(_routed(*apart, spare))
    return min((way for way in ways if way is not None), key=_cost, default=None)


def _entries(edges: Sequence[Edge], into: Ports) -> Iterator[dict[Edge, int]]:
    """Where each edge enters: as given; then with the two styles of one target the other way round, which
    may save a crossing; in a channel of few lines, as there it can be seen."""
    yield {edge: into[edge[1], edge[2]] for edge in edges}
    if len(edges) > FEW:
        return
    for lower in dict.fromkeys(edge[1] for edge in edges):
        if {(lower, False), (lower, True)} <= into.keys():
            turned = into | {
                (lower, False): into[lower, True],
                (lower, True): into[lower, False],
            }
            yield {edge: turned[edge[1], edge[2]] for edge in edges}


def _cost(way: Channel) -> int:
    """How much there is to follow: rows, and lines that pass over others."""
    levels = [wire for wire in way.wires if wire.y1 == wire.y2]
    drops = [wire for wire in way.wires if wire.y1 != wire.y2]
    crossed = sum(
        level.x1 < drop.x1 < level.x2 and drop.y1 < level.y1 < drop.y2
        for level in levels
        for drop in drops
    )
    return 2 * way.height + crossed + len(way.wires)


def _routed(rails: list[Rail], entries: dict[Edge, int], spare: bool) -> Channel | None:
    """The rails in their rows, joined by vertical lines; None where that reads as other edges."""
    wanted: Reach = {}
    for rail in rails:
        for x in rail.tops:
            wanted.setdefault(x, set()).update(rail.bottoms)
    turns = arrange(rails)
    if any(_reached(x, rails, turns) != bottoms for x, bottoms in wanted.items()):
        return None
    height = max(rail.row for rail in rails) + 2 + spare
    routed = [rail for rail in rails if not rail.straight]
    wires = [Wire(r.left, r.row, r.right, r.row, r.dashed) for r in routed]
    wires += _verticals(rails, height, turns)
    joints = [(x, rail.row) for rail in routed for x in rail.tops | rail.bottoms]
    return Channel(height, wires, joints, entries)


def _bundled(edges: Sequence[Edge], out: Ports, entries: dict[Edge, int]) -> Iterator[list[Rail]]:
    """Ways to bundle: targets with the same sources; sources with the same targets; the former, but
    with a rail of its own for each source that leads elsewhere too."""
    ways: tuple[list[Rail], list[Rail], list[Rail]] = ([], [], [])
    for dashed in (False, True):
        tops: dict[int, set[int]] = {}
        bottoms: dict[int, set[int]] = {}
        for edge in edges:
            if edge[2] == dashed:
                bottoms.setdefault(out[edge[0], dashed], set()).add(entries[edge])
                tops.setdefault(entries[edge], set()).add(out[edge[0], dashed])
        for sources, targets in _grouped(tops).items():
            ways[0].append(Rail(sources, targets, dashed))
            several = [x for x in sources if len(bottoms[x]) > len(targets)]
            ways[2].extend(Rail([x], targets, dashed) for x in several)
            if len(several) < len(sources):
                ways[2].append(Rail(sources.difference(several), targets, dashed))
        for targets, sources in _grouped(bottoms).items():
            ways[1].append(Rail(sources, targets, dashed))
    yield from ways


def _grouped(ends: dict[int, set[int]]) -> dict[frozenset[int], frozenset[int]]:
    """Those with the same others, by these others."""
    groups: dict[frozenset[int], frozenset[int]] = {}
    for one, others in ends.items():
        key = frozenset(others)
        groups[key] = groups.get(key, frozenset()) | {one}
    return groups


def _apart(
    edges: Sequence[Edge], out: Ports, sides: Mapping[int, tuple[int, int]]
) -> tuple[list[Rail], dict[Edge, int]] | None:
    """A column of its own in each target for every source that has other targets too; those that have
    none share one."""
    count: dict[tuple[int, bool], int] = {}
    for upper, _, dashed in edges:
        count[upper, dashed] = count.get((upper, dashed), 0) + 1
    groups: dict[int, dict[tuple[int | None, bool], list[Edge]]] = {}
    for edge in edges:
        upper, lower, dashed = edge
        one = upper if count[upper, dashed] > 1 else None
        groups.setdefault(lower, {}).setdefault((one, dashed), []).append(edge)
    rails: list[Rail] = []
    entries: dict[Edge, int] = {}
    for lower, of in groups.items():
        first, last = sides[lower]
        gap = 2 if 2 * len(of) - 1 <= last - first + 1 else 1
        x = (first + last + 1 - gap * (len(of) - 1)) // 2
        if x < first or x + gap * (len(of) - 1) > last:
            return None
        means = {
            key: sum(out[upper, dashed] for upper, _, dashed in group) / len(group)
            for key, group in of.items()
        }
        for key in sorted(of, key=means.__getitem__):
            rails.append(Rail((out[e[0], e[2]] for e in of[key]), [x], of[key][0][2]))
            entries |= dict.fromkeys(of[key], x)
            x += gap
    return rails, entries


def _reached(top: int, rails: Sequence[Rail], turns: set[int]) -> set[int]:
    """The lower columns at which somebody arrives who follows the lines down from an upper one.

    Down a column one passes every rail that is joined to it; from a rail one can go down every column
    that is joined to it and continues.
    """
    found: set[int] = set()
    seen: set[tuple[int, int, bool]] = set()
    stack = [
        (top, -1, False)
    ]  # a column, the row one comes from, whether its line leads to a target
    while stack:
        state = x, row, lower = stack.pop()
        if state in seen:
            continue
        seen.add(state)
        lower = lower or any(rail.straight and x in rail.tops for rail in rails)
        if lower:
            found.add(x)
        for rail in rails:
            joined = x in rail.tops if not state[2] else False
            if rail.row > row and (joined or (lower and x in rail.bottoms)):
                stack += [(y, rail.row, False) for y in rail.tops]
                stack += [(y, rail.row, y not in turns) for y in rail.bottoms]
    return found


def _verticals(rails: Sequence[Rail], height: int, turns: set[int]) -> Iterator[Wire]:
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
