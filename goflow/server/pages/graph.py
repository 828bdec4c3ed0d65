"""A flow's drawing inside a page: coloured by the page's style sheet, its nodes links."""

from __future__ import annotations

from goflow.drawing import svg
from goflow.overview import Overview
from goflow.plan import Plan
from goflow.server.pages.markup import Markup, tag
from goflow.server.pages.parts import link


def graph(plan: Plan, view: Overview | None = None, at: str = "") -> Markup:
    """The DAG, painted with a run where there is one; its nodes then lead to `at`, the run's page."""

    def lead(path: str) -> str:
        """A node's detail, or the list of its instances where a foreach may have made many."""
        return link(at, under=path) + "#nodes" if "[]" in path else link(at, node=path) + "#node"

    drawing = Markup(svg.inline(plan, view, lead if at else None))
    label = "Graph; the table of nodes tells the same" if at else "Graph"
    return tag("div", drawing, class_="graph", tabindex="0", role="region", aria_label=label)
