"""Layered drawing, first half: which layer each vertex is in, and in which order they stand there.

Sugiyama's method. Vertices are numbers `0..n-1`. An edge over several layers runs through *dummies*
(numbers from n on), one in each layer between. Long edges that leave one vertex share their dummies, as
do those that enter one: a trunk is read more easily than a ribbon.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from itertools import pairwise
from typing import Final, NamedTuple

#: (upper vertex, lower vertex, dashed)
Edge = tuple[int, int, bool]

#: pieces of edges between layers in one drawing
MOST_SEGMENTS: Final = 1000

#: how often the order of the layers is improved from the top and from the bottom
SWEEPS: Final = 12


class Layered(NamedTuple):
    """`layers` hold vertices from left to right; `segments` join neighbouring layers; `routes` are the
    vertices that each given edge passes, both ends included."""

    layers: list[list[int]]
    segments: list[Edge]
    routes: list[list[int]]


def layered(
    n: int, edges: Sequence[Edge], widths: Sequence[int], most: int, room: int, gap: int
) -> Layered | None:
    """Layers for an acyclic graph. No layer's vertices take more than `most` columns, `gap` apart,
    unless one alone does. None where some layer, its dummies included, cannot stand in `room` columns,
    or where there is more than anybody could follow."""
    ranks = _ranks(n, edges, widths, most, gap)
    layers, segments, routes = _with_dummies(n, edges, ranks)
    if len(segments) > MOST_SEGMENTS:
        return None
    for layer in layers:
        boxes = [widths[v] for v in layer if v < n]
        lines = len(layer) - len(boxes)
        if sum(boxes) + gap * max(len(boxes) - 1, 0) + 2 * lines - (not boxes) > room:
            return None
    return Layered(_ordered(layers, segments), segments, routes)


def _ranks(n: int, edges: Sequence[Edge], widths: Sequence[int], room: int, gap: int) -> list[int]:
    """Longest-path layers; a vertex that finds its layer full moves down to one with room."""
    before: list[list[int]] = [[] for _ in range(n)]
    after: list[list[int]] = [[] for _ in range(n)]
    for upper, lower, _ in edges:
        before[lower].append(upper)
        after[upper].append(lower)
    order = _topological(before, after)
    ranks = [0] * n
    load: dict[int, int] = {}
    for v in order:
        rank = max((ranks[u] + 1 for u in before[v]), default=0)
        while load.get(rank) and load[rank] + gap + widths[v] > room:
            rank += 1
        ranks[v] = rank
        load[rank] = load.get(rank, -gap) + gap + widths[v]
    for v in reversed(order):  # what is needed late stands near what needs it
        if len(after[v]) > len(before[v]):
            rank = min(ranks[w] for w in after[v]) - 1
            if rank > ranks[v] and load.get(rank, -gap) + gap + widths[v] <= room:
                load[ranks[v]] -= gap + widths[v]
                load[rank] = load.get(rank, -gap) + gap + widths[v]
                ranks[v] = rank
    used = {rank: i for i, rank in enumerate(sorted(set(ranks)))}
    return [used[rank] for rank in ranks]


def _topological(before: list[list[int]], after: list[list[int]]) -> list[int]:
    """By longest path from a start, then by number."""
    depth = [0] * len(before)
    missing = [len(each) for each in before]
    ready = [v for v, count in enumerate(missing) if not count]
    done = []
    while ready:
        v = ready.pop()
        done.append(v)
        for w in after[v]:
            depth[w] = max(depth[w], depth[v] + 1)
            missing[w] -= 1
            if not missing[w]:
                ready.append(w)
    return sorted(done, key=lambda v: (depth[v], v))


def _with_dummies(
    n: int, edges: Sequence[Edge], ranks: list[int]
) -> tuple[list[list[int]], list[Edge], list[list[int]]]:
    layers: list[list[int]] = [[] for _ in range(max(ranks, default=-1) + 1)]
    for v, rank in enumerate(ranks):
        layers[rank].append(v)
    leaving: dict[tuple[int, bool], int] = {}
    entering: dict[tuple[int, bool], int] = {}
    for upper, lower, dashed in edges:
        if ranks[lower] - ranks[upper] > 1:
            leaving[upper, dashed] = leaving.get((upper, dashed), 0) + 1
            entering[lower, dashed] = entering.get((lower, dashed), 0) + 1
    dummies: dict[tuple[bool, int, bool, int], int] = {}
    segments: dict[Edge, None] = {}
    routes = []
    for upper, lower, dashed in edges:
        route = [upper]
        if ranks[lower] - ranks[upper] > 1:
            out = leaving[upper, dashed] >= entering[lower, dashed]
            for rank in range(ranks[upper] + 1, ranks[lower]):
                key = (out, upper if out else lower, dashed, rank)
                if key not in dummies:
                    dummies[key] = n + len(dummies)
                    layers[rank].append(dummies[key])
                route.append(dummies[key])
        route.append(lower)
        routes.append(route)
        for pair in pairwise(route):
            segments[(*pair, dashed)] = None
    return layers, list(segments), routes


def _ordered(layers: list[list[int]], segments: list[Edge]) -> list[list[int]]:
    """The order with the fewest crossings among those that barycentres and swaps lead to."""
    up: dict[int, list[int]] = {}
    down: dict[int, list[int]] = {}
    for upper, lower, _ in segments:
        down.setdefault(upper, []).append(lower)
        up.setdefault(lower, []).append(upper)
    layers = _depth_first(layers, down)
    best, fewest = layers, _crossings(layers, down)
    for sweep in range(SWEEPS):
        if not fewest:
            break
        layers = [list(layer) for layer in layers]
        downward = sweep % 2 == 0
        near = up if downward else down
        steps = range(1, len(layers)) if downward else range(len(layers) - 2, -1, -1)
        for i in steps:
            fixed = {v: at for at, v in enumerate(layers[i - 1 if downward else i + 1])}
            _by_barycentre(layers[i], near, fixed)
        crossings = _crossings(layers, down)
        if crossings < fewest:
            best, fewest = [list(layer) for layer in layers], crossings
    return _swapped(best, up, down) if fewest else best


def _depth_first(layers: list[list[int]], down: dict[int, list[int]]) -> list[list[int]]:
    """The first order: as a walk from the starts, in declared order, comes by."""
    met: dict[int, int] = {}
    for start in (v for layer in layers for v in layer):
        stack = [start]
        while stack:
            v = stack.pop()
            if v not in met:
                met[v] = len(met)
                stack += reversed(down.get(v, []))
    return [sorted(layer, key=lambda v: met[v]) for layer in layers]


def _by_barycentre(layer: list[int], near: dict[int, list[int]], fixed: dict[int, int]) -> None:
    """Sort a layer by the mean position of each vertex' neighbours; the others keep their places."""
    means = {v: sum(fixed[u] for u in near[v]) / len(near[v]) for v in layer if near.get(v)}
    sorted_ones = iter(sorted(means, key=lambda v: means[v]))
    layer[:] = [next(sorted_ones) if v in means else v for v in layer]


def _crossings(layers: list[list[int]], down: dict[int, list[int]]) -> int:
    total = 0
    for layer, below in pairwise(layers):
        at = {v: i for i, v in enumerate(below)}
        seen: list[int] = []
        for v in layer:
            ends = sorted(at[w] for w in down.get(v, []))
            for end in ends:
                total += len(seen) - bisect_left(seen, end + 1)
            for end in ends:
                insort(seen, end)
    return total


def _swapped(
    layers: list[list[int]], up: dict[int, list[int]], down: dict[int, list[int]]
) -> list[list[int]]:
    """Swap neighbours while that saves crossings."""
    for _ in range(4):
        improved = False
        for i, layer in enumerate(layers):
            above = {v: at for at, v in enumerate(layers[i - 1])} if i else {}
            below = {v: at for at, v in enumerate(layers[i + 1])} if i + 1 < len(layers) else {}
            for at in range(len(layer) - 1):
                v, w = layer[at], layer[at + 1]
                gain = 0
                for near, fixed in ((up, above), (down, below)):
                    ends = (
                        [fixed[x] for x in near.get(v, [])],
                        [fixed[x] for x in near.get(w, [])],
                    )
                    gain += sum(a > b for a in ends[0] for b in ends[1])
                    gain -= sum(a < b for a in ends[0] for b in ends[1])
                if gain > 0:
                    layer[at], layer[at + 1] = w, v
                    improved = True
        if not improved:
            break
    return layers
