"""A graph of very many nodes: a dot for each, in layers, so that a wave of work can be seen passing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from goflow.overview import Overview
from goflow.plan import Graph, Plan
from goflow.server.pages.markup import Markup, tag

#: pixels from dot to dot, and from layer to layer; half the size of a dot; around the drawing
_ACROSS: Final = 20
_DOWN: Final = 30
_HALF: Final = 6
_MARGIN: Final = 20
#: dots in a row; a wider layer takes several
_MOST: Final = 60
#: how often each layer is ordered by where its dots' edges come from
_SWEEPS: Final = 3


def dots(plan: Plan, view: Overview | None, link: Callable[[str], str] | None) -> Markup:
    """The outermost graph. What a node is called is told where one points at it, and by its link."""
    rows = _rows(plan.graph)
    widest = max(map(len, rows))
    place = {
        name: (
            _MARGIN + (i + (widest - len(row)) / 2) * _ACROSS + _HALF,
            _MARGIN + at * _DOWN + _HALF,
        )
        for at, row in enumerate(rows)
        for i, name in enumerate(row)
    }
    lines = "".join(
        f"M{place[e.source][0]:g} {place[e.source][1] + _HALF:g}"
        f"L{place[e.target][0]:g} {place[e.target][1] - _HALF:g}"
        for e in plan.graph.edges
    )
    w, h = widest * _ACROSS + 2 * _MARGIN, len(rows) * _DOWN + 2 * _MARGIN
    return tag(
        "svg",
        tag("path", d=lines, class_="edge thin"),
        [_dot(name, *place[name], view, link) for row in rows for name in row],
        viewBox=f"0 0 {w} {h}",
        width=w,
        height=h,
        role="group" if link else "img",
        aria_label=f"Flow {plan.flow}: {len(place):,} nodes and {len(plan.graph.edges):,} edges",
    )


def _dot(
    name: str, x: float, y: float, view: Overview | None, link: Callable[[str], str] | None
) -> Markup:
    summary = view.nodes.get(name) if view else None
    state = str(summary.state) if summary else ""
    told = f"{name}: {state}" if state else name
    box = tag(
        "rect",
        tag("title", told),
        x=f"{x - _HALF:g}",
        y=f"{y - _HALF:g}",
        width=2 * _HALF,
        height=2 * _HALF,
        rx=3,
        class_=f"dot {state}",
    )
    return tag("a", box, href=link(name), aria_label=told, data_soft=True) if link else box


def _rows(graph: Graph) -> list[list[str]]:
    """Layers by longest path, each ordered by the middle of where its edges come from, cut into rows."""
    before: dict[str, list[str]] = {name: [] for name in graph.nodes}
    after: dict[str, list[str]] = {name: [] for name in graph.nodes}
    for edge in graph.edges:
        before[edge.target].append(edge.source)
        after[edge.source].append(edge.target)
    layers = _layers(before, after)
    for _ in range(_SWEEPS):
        at = {name: float(i) for layer in layers for i, name in enumerate(layer)}
        for layer in layers[1:]:
            middle = {
                name: sum(at[each] for each in before[name]) / len(before[name]) for name in layer
            }
            layer.sort(key=middle.__getitem__)
            at.update((name, float(i)) for i, name in enumerate(layer))
    return [layer[i : i + _MOST] for layer in layers for i in range(0, len(layer), _MOST)]


def _layers(before: dict[str, list[str]], after: dict[str, list[str]]) -> list[list[str]]:
    missing = {name: len(sources) for name, sources in before.items()}
    layer = [name for name, count in missing.items() if not count]
    layers = []
    while layer:
        layers.append(layer)
        following = []
        for name in layer:
            for target in after[name]:
                missing[target] -= 1
                if not missing[target]:
                    following.append(target)
        layer = following
    return layers
