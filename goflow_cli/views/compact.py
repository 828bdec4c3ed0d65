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


def compact(
    plan: Plan, overview: Overview, columns: int, rows: int, unicode: bool = True
) -> list[Line]:
    """At most `rows` lines: the heading, a bar for each foreach, then failed nodes, those on their
    way and the latest that ended."""
    lines = heading(plan, overview, columns, unicode)
    below = handlers(plan, overview, columns, unicode) if overview.handlers else []
    room = max(rows - len(lines) - len(below) - 1, 1)
    bars = [
        _bar(overview.nodes[path], columns, unicode)
        for path, node in plan.walk()
        if node.kind == "foreach" and overview.nodes[path].width
    ]
    told = [_instance(node, overview.now, columns, unicode) for node in _chosen(overview)]
    body = [*bars[: max(room // 2, 1)], *told][:room]
    return [*lines, *([[]] if body else []), *body, *below][:rows]


def _chosen(overview: Overview) -> list[NodeRun]:
    """Branches tell nothing that their nodes do not; handlers have a line of their own."""
    return [
        node
        for node in overview.notable
        if node.error or (node.width is None and not node.path.startswith("~"))
    ]


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
