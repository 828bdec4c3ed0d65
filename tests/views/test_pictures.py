"""What must hold for the picture of any DAG, however it is laid out."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goflow.drawing.labels import Labels
from goflow.drawing.layout import layout
from goflow.drawing.look import paint
from goflow.drawing.text import width
from goflow.plan import Edge, Graph, Kind, Node, Plan
from goflow_cli.views.drawing import Screen, draw
from goflow_cli.views.terminal import picture
from tests.views.reader import Drawn, read
from tests.views.samples import PLANS, seen


@st.composite
def graphs(draw: st.DrawFn, most: int = 30, depth: int = 0) -> Graph:
    """DAGs from sparse to dense; with `depth`, some nodes are branches and sub-DAGs."""
    count = draw(st.integers(1, most))
    names = [f"node-{i}" for i in range(count)]
    pairs = st.tuples(st.integers(0, count - 1), st.integers(0, count - 1), st.booleans())
    edges: dict[tuple[str, str], Edge] = {}
    for a, b, plain in draw(st.lists(pairs, max_size=2 * count)):
        if a != b:
            source, target = names[min(a, b)], names[max(a, b)]
            edges[source, target] = Edge(source, target, execution_only=not plain and a % 3 == 0)
    nodes = {}
    for name in names:
        nodes[name] = Node(name)
        if depth and draw(st.integers(0, 3)) == 0:
            kinds: list[Kind] = ["sub_dag", "foreach", "conditional"]
            kind = draw(st.sampled_from(kinds))
            keys = ("yes", "no") if kind == "conditional" else ("",)
            inner = graphs(most=4, depth=depth - 1)
            nodes[name] = Node(name, kind, dags={key: draw(inner) for key in keys})
    return Graph(nodes, tuple(edges.values()))


def edges(plan: Plan) -> set[Drawn]:
    """Every edge of a plan and of the graphs inside it, between static paths."""
    found: set[Drawn] = set()

    def add(graph: Graph, prefix: str) -> None:
        for edge in graph.edges:
            found.add(Drawn(prefix + edge.source, prefix + edge.target, edge.execution_only))
        for path, node in Plan("", graph).walk():
            if "/" not in path:
                for key, inner in node.dags.items():
                    mark = {"conditional": f"[{key}]", "foreach": "[]"}.get(node.kind, "")
                    add(inner, f"{prefix}{path}{mark}/")

    add(plan.graph, "")
    return found


def shown(plan: Plan, columns: int) -> tuple[set[Drawn], bool]:
    """The edges in a picture of this width, and whether it shows all (no bundle, no list)."""
    labels = Labels()
    block = layout(plan, labels, columns)
    text = [paint(line, False) for line in picture(block, labels)]
    whole = not block.listed and not any(box.role == "bundle" for box in block.boxes)
    return (read(block, text) if whole else set()), whole


@given(graphs())
@settings(max_examples=50, deadline=None)
def test_a_picture_read_line_by_line_shows_exactly_the_edges(graph: Graph) -> None:
    plan = Plan("any", graph)
    drawn, whole = shown(plan, 400)
    if whole:
        assert drawn == edges(plan)


@given(graphs(most=8, depth=2), st.sampled_from((80, 120, 300)))
@settings(max_examples=40, deadline=None)
def test_nested_pictures_show_exactly_the_edges(graph: Graph, columns: int) -> None:
    plan = Plan("any", graph)
    drawn, whole = shown(plan, columns)
    if whole:
        assert drawn == edges(plan)


@given(graphs(most=12), st.sampled_from((30, 40, 60, 80)))
@settings(max_examples=40, deadline=None)
def test_pictures_with_broken_layers_show_exactly_the_edges(graph: Graph, columns: int) -> None:
    plan = Plan("any", graph)
    drawn, whole = shown(plan, columns)
    if whole:
        assert drawn == edges(plan)


@pytest.mark.parametrize("name", ["diamond", "long-edges", "swap", "conditional", "nested"])
def test_sample_pictures_show_exactly_the_edges(name: str) -> None:
    drawn, whole = shown(PLANS[name], 80)
    assert whole
    assert drawn == edges(PLANS[name])


@given(graphs(most=30, depth=1), st.sampled_from((20, 33, 40, 60, 80, 120)), st.booleans())
@settings(max_examples=50, deadline=None)
def test_every_node_is_named_and_no_line_is_too_wide(
    graph: Graph, columns: int, unicode: bool
) -> None:
    plan = Plan("any", graph)
    for overview in (None, seen(plan, "running", [])):
        text = draw(plan, overview, screen=Screen(columns, unicode=unicode))
        assert max(map(width, text.splitlines())) <= columns
        assert unicode or text.isascii()
        words = set(re.findall(r"node-\d+", text))
        if columns >= 40:  # in fewer, deeply nested names are broken
            assert words >= {node.name for _, node in plan.walk()}


@given(graphs(most=14, depth=2))
@settings(max_examples=50, deadline=None)
def test_a_picture_does_not_wobble_while_nodes_change_state(graph: Graph) -> None:
    plan = Plan("any", graph)
    shapes = []
    for state in ("running", "failed", "stopped"):
        labels = Labels(seen(plan, state, []))
        block = layout(plan, labels, 100)
        shapes.append([(box.path, box.x, box.y, box.w, box.h) for box in block.boxes])
    assert shapes[0] == shapes[1] == shapes[2]
