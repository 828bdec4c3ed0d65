"""A run in few lines, for terminals that cannot hold its picture: what matters now comes first."""

from __future__ import annotations

from typing import Final

from goflow.backend import NodeRun
from goflow.drawing.captions import cut_line, handlers, heading
from goflow.drawing.look import DIM, LOOKS, RED, Line, glyph
from goflow.drawing.text import clean, cut, duration, progress
from goflow.overview import NodeSummary, Overview
from goflow.plan import Plan
from goflow.state import NodeState

#: columns of a progress bar at most and at least; with less there is none
BAR: Final = (30, 6)
#: columns of the progress count beside it
COUNT: Final = 9

_MOVING: Final = (NodeState.RUNNING, NodeState.RETRYING)


def compact(
    plan: Plan, overview: Overview, columns: int, rows: int, unicode: bool = True
) -> list[Line]:
    """At most `rows` lines: the heading, a bar for each foreach, then failed instances and those on their
    way, then what else of the definition has been at work, the latest first."""
    lines = heading(plan, overview, columns, unicode)
    below = handlers(plan, overview, columns, unicode) if overview.handlers else []
    room = max(rows - len(lines) - len(below) - 1, 1)
    bars = [
        _bar(overview.nodes[path], columns, unicode)
        for path, node in plan.walk()
        if node.kind == "foreach" and overview.nodes[path].width
    ]
    told = [_instance(node, overview.now, columns, unicode) for node in _chosen(overview)]
    told += [_node(node, columns, unicode) for node in _rest(plan, overview)]
    body = [*bars[: max(room // 2, 1)], *told][:room]
    return [*lines, *([[]] if body else []), *body, *below][:rows]


def _chosen(overview: Overview) -> list[NodeRun]:
    """Branches tell nothing that their nodes do not; handlers have a line of their own."""
    return [
        node
        for node in overview.notable
        if node.error
        or (node.state in _MOVING and node.width is None and not node.path.startswith("~"))
    ]


def _rest(plan: Plan, overview: Overview) -> list[NodeSummary]:
    """Nodes no instance of which has a line: what a foreach has done is told in one line for each node,
    for its items one by one would drive everything else from the screen."""
    shown = {node.path for node in _chosen(overview)}
    found = [
        summary
        for path, node in plan.walk()
        if node.kind == "node" and path not in shown
        for summary in (overview.nodes[path],)
        if summary.started is not None
    ]
    return sorted(found, key=lambda each: -(each.finished or each.started or 0.0))


def _bar(summary: NodeSummary, columns: int, unicode: bool) -> Line:
    """`● each  ━━━━━━────────  37/500`"""
    of = summary.width or 1
    most = min(BAR[0], columns // 3)
    room = columns - 2 - COUNT - 1
    if most >= BAR[1]:
        room -= most + 2
    more = "…" if unicode else "~"
    name = cut(clean(summary.path.replace("[]", ""), unicode), max(room, 1), more)
    line: Line = [glyph(summary.state, unicode), (" ", ""), (name, "")]
    if most >= BAR[1]:
        full = most * min(summary.done, of) // of
        done, left = ("━", "─") if unicode else ("#", "-")
        sgr = LOOKS[summary.state].sgr
        line += [("  ", ""), (done * full, sgr), (left * (most - full), DIM)]
    return [*line, (f" {progress(summary.done, of)}", "")]


def _node(node: NodeSummary, columns: int, unicode: bool) -> Line:
    """`✓ each/verify  500/500`"""
    path = clean(node.path.replace("[]", ""), unicode)
    line: Line = [glyph(node.state, unicode), (" ", ""), (path, "")]
    if "[]" in node.path:
        line.append((f"  {progress(node.counts.get(NodeState.SUCCEEDED, 0), node.instances)}", DIM))
    elif node.started is not None and node.finished is not None:
        line.append((f"  {duration(node.finished - node.started)}", DIM))
    return cut_line(line, columns, unicode)


def _instance(node: NodeRun, now: float, columns: int, unicode: bool) -> Line:
    """`✗ each[alice]/verify  1.2 s  ValueError: ...`"""
    took = ""
    if node.started is not None and (node.finished is not None or node.state == NodeState.RUNNING):
        took = duration((node.finished or now) - node.started)
    path = clean(node.path, unicode)
    line: Line = [glyph(node.state, unicode), (" ", "")]
    line.append((path, RED if node.state == NodeState.FAILED else ""))
    if took:
        line.append((f"  {took}", DIM))
    if node.error and node.state in (NodeState.FAILED, NodeState.RETRYING):
        line.append((f"  {clean(node.error, unicode)}", ""))
    return cut_line(line, columns, unicode)
