"""A flow's drawing inside a page: coloured by the page's style sheet, its nodes links."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from goflow.drawing import svg
from goflow.overview import Overview
from goflow.plan import Plan
from goflow.server.pages.dots import dots
from goflow.server.pages.markup import Markup, tag

#: nodes and edges of the outermost graph from which on nobody could read boxes: each node is a dot then
MOST_BOXES: Final = 150
MOST_EDGES: Final = 500


def graph(plan: Plan, view: Overview | None = None, at: Callable[..., str] | None = None) -> Markup:
    """The DAG, painted with a run where there is one; its nodes then lead where `at` says."""

    def lead(path: str) -> str:
        """A node's detail, or the list of its instances where a foreach may have made many."""
        assert at is not None
        if "[]" in path:
            return at(under=path, node="") + "#nodes"
        return at(node=path) + "#node"

    link = lead if at is not None else None
    if len(plan.graph.nodes) > MOST_BOXES or len(plan.graph.edges) > MOST_EDGES:
        drawing = dots(plan, view, link)
    else:
        drawing = Markup(svg.inline(plan, view, link))
    label = "Graph; the table of nodes tells the same" if at else "Graph"
    return tag("div", drawing, class_="graph", tabindex="0", role="region", aria_label=label)
