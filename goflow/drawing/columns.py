"""Layered drawing, second half: the column of each vertex, so that edges are short and straight.

Each layer is moved in turn to the mean columns of its neighbours. Keeping order and distances while
staying as near as possible to the wished columns is an isotonic regression, solved exactly by pooling
adjacent violators; so a layer needs no iteration of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import floor
from typing import Final

from goflow.drawing.layers import Layered

#: how much straighter an edge wants to be with no, one or two dummies at its ends
STRAIGHT: Final = (1.0, 2.0, 8.0)

#: how often all layers are moved
PASSES: Final = 8


def columns(
    drawing: Layered, widths: Sequence[int], n: int, gap: Callable[[int, int], int], room: int
) -> list[int]:
    """The column of each vertex' middle (`left + width // 2`); the leftmost box begins at 0.

    `gap` says how many columns two neighbours in a layer leave between them. All stand within `room`
    columns where each layer alone can.
    """
    up: dict[int, list[tuple[int, float]]] = {}
    down: dict[int, list[tuple[int, float]]] = {}
    for upper, lower, _ in drawing.segments:
        weight = STRAIGHT[(upper >= n) + (lower >= n)]
        down.setdefault(upper, []).append((lower, weight))
        up.setdefault(lower, []).append((upper, weight))
    offsets = [_offsets(layer, widths, gap) for layer in drawing.layers]
    at: list[float] = [0.0] * len(widths)
    for layer, offset in zip(drawing.layers, offsets, strict=True):
        for v, x in zip(layer, offset, strict=True):
            at[v] = x - offset[-1] / 2
    order = range(len(drawing.layers))
    bounds = [
        _bounds(layer, widths, off, room)
        for layer, off in zip(drawing.layers, offsets, strict=True)
    ]
    for turn in range(PASSES):
        both = turn >= PASSES // 2
        for i in order:
            _move(drawing.layers[i], offsets[i], bounds[i], at, [up, down] if both else [up])
        for i in reversed(order):
            _move(drawing.layers[i], offsets[i], bounds[i], at, [up, down] if both else [down])
    for i in order:
        _move(drawing.layers[i], offsets[i], bounds[i], at, [up, down], whole=True)
    for near, steps in ((up, order), (down, reversed(order))):
        for i in steps:
            _straighten(drawing.layers[i], widths, n, gap, at, near)
    left = min((int(at[v]) - widths[v] // 2 for v in range(len(widths))), default=0)
    return [int(x) - left for x in at]


def _straighten(
    layer: Sequence[int],
    widths: Sequence[int],
    n: int,
    gap: Callable[[int, int], int],
    at: list[float],
    near: dict[int, list[tuple[int, float]]],
) -> None:
    """Move a dummy right below (or above) the dummy before it, where there is room."""
    for i, v in enumerate(layer):
        ends = [u for u, _ in near.get(v, ()) if u >= n]
        if v < n or len(ends) != 1:
            continue
        low, high = float("-inf"), float("inf")
        if i:
            u = layer[i - 1]
            low = at[u] + widths[u] - widths[u] // 2 + gap(u, v)
        if i + 1 < len(layer):
            w = layer[i + 1]
            high = at[w] - widths[w] // 2 - gap(v, w) - 1
        if low <= at[ends[0]] <= high:
            at[v] = at[ends[0]]


def _offsets(
    layer: Sequence[int], widths: Sequence[int], gap: Callable[[int, int], int]
) -> list[int]:
    """How far each middle is from the first one when the layer stands as close as it may."""
    found = [0]
    for u, v in pairwise(layer):
        found.append(found[-1] + widths[u] - widths[u] // 2 + gap(u, v) + widths[v] // 2)
    return found


def _bounds(
    layer: Sequence[int], widths: Sequence[int], offsets: Sequence[int], room: int
) -> tuple[int, int]:
    """Between which columns the first middle may be so that the layer is within the room, around 0."""
    low = -(room // 2) + widths[layer[0]] // 2
    right = widths[layer[-1]] - widths[layer[-1]] // 2
    return low, max(room - room // 2 - right - offsets[-1], low)


def _move(
    layer: Sequence[int],
    offsets: Sequence[int],
    bounds: tuple[int, int],
    at: list[float],
    sides: Sequence[dict[int, list[tuple[int, float]]]],
    whole: bool = False,
) -> None:
    """Put a layer where its neighbours want it; on whole columns at last."""
    pools: list[tuple[float, float, int]] = []  # mean, weight, how many vertices
    for v, offset in zip(layer, offsets, strict=True):
        near = [pair for side in sides for pair in side.get(v, ())]
        weight = sum(w for _, w in near)
        wish = sum(at[u] * w for u, w in near) / weight if near else at[v]
        mean, weight, size = wish - offset, weight or 0.1, 1
        while pools and pools[-1][0] > mean:
            other, heavy, many = pools.pop()
            mean = (mean * weight + other * heavy) / (weight + heavy)
            weight, size = weight + heavy, size + many
        pools.append((mean, weight, size))
    position = 0
    for mean, _, size in pools:
        for _ in range(size):
            base = floor(mean + 0.5) if whole else mean
            base = max(min(base, bounds[1]), bounds[0])
            at[layer[position]] = base + offsets[position]
            position += 1
