"""The lines around a picture: which flow and run, how many nodes are in which state, what failed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from goflow.backend import NodeRun
from goflow.drawing.look import BOLD, DIM, OF_RUN, RED, Line, glyph
from goflow.drawing.text import clean, count, cut, duration, split, width, wrap
from goflow.overview import Overview
from goflow.plan import Plan
from goflow.state import NodeState

#: how many failed instances are named below a picture
MOST_ERRORS: Final = 5


def heading(plan: Plan, overview: Overview | None, columns: int, unicode: bool) -> list[Line]:
    """The flow; with a run its id, state, time, and how many nodes are in which state."""
    if overview is None:
        number = plan.size
        told = f"{number} node" + "s" * (number != 1)
        return _flowing([[(plan.flow, BOLD)], [(told, DIM)]], columns)
    run = overview.run
    mark, sgr = glyph(OF_RUN[run.state], unicode)
    state = run.state.value if run.ending in (None, run.state) else f"{run.state}, {run.ending}"
    pieces: list[Line] = [[(f"{mark} ", sgr), (plan.flow, BOLD)], [(run.id, "")], [(state, sgr)]]
    if run.started is not None:
        pieces.append([(duration((run.finished or overview.now) - run.started), DIM)])
    if run.round > 1:
        pieces.append([(f"round {run.round}", DIM)])
    return [*_flowing(pieces, columns), *_flowing(tally(overview, unicode), columns)]


def tally(overview: Overview, unicode: bool) -> list[Line]:
    """`✓ 5 succeeded`, `● 2 running`, ...: a legend of the glyphs as well."""
    return [
        [glyph(state, unicode), (f" {count(number)} {state}", "")]
        for state, number in overview.counts.items()
    ]


def footing(
    plan: Plan, overview: Overview | None, columns: int, unicode: bool, *, dashed: bool
) -> list[Line]:
    """What failed, the handlers, and what a dashed line means where there is one."""
    lines: list[Line] = []
    if overview is not None:
        failed = [node for node in overview.notable if node.state == NodeState.FAILED]
        lines += _errors(failed, columns, unicode)
    lines += handlers(plan, overview, columns, unicode)
    if dashed:
        legend = f"{'╎' if unicode else ':'} execution-only: orders, carries nothing"
        lines += [[(line, DIM)] for line in wrap(legend.split(), columns, columns)]
    return lines


def handlers(plan: Plan, overview: Overview | None, columns: int, unicode: bool) -> list[Line]:
    """`✓ ~finally 3 ms`, for the handlers that the flow has."""
    return _flowing([_handler(name, overview, unicode) for name in plan.handlers], columns)


def _errors(failed: list[NodeRun], columns: int, unicode: bool) -> list[Line]:
    """The instances that failed by themselves; a branch fails with what is in it."""
    told = [node for node in failed if node.error or node.width is None]
    lines: list[Line] = []
    for node in told[:MOST_ERRORS]:
        path = clean(node.path, unicode)
        error = clean(node.error or "", unicode)
        mark = glyph(NodeState.FAILED, unicode)
        if width(path) + width(error) + 4 <= columns or columns - width(path) >= 24:
            lines.append([mark, (" ", ""), (path, RED), ("  ", ""), (error, "")])
        else:
            lines += [[mark, (" ", ""), (path, RED)], [("  ", ""), (error, "")]]
    if len(told) > MOST_ERRORS:
        lines.append([(f"  and {len(told) - MOST_ERRORS} more failed", DIM)])
    return [cut_line(line, columns, unicode) for line in lines]


def _handler(name: str, overview: Overview | None, unicode: bool) -> Line:
    for node in overview.handlers if overview is not None else ():
        if node.path == name:
            line: Line = [glyph(node.state, unicode), (" ", ""), (name, "")]
            if node.started is not None and node.finished is not None:
                line.append((f" {duration(node.finished - node.started)}", DIM))
            return line
    return [(name, DIM)]


def _flowing(pieces: Iterable[Line], columns: int) -> list[Line]:
    """Pieces one after the other, three columns apart, on as many lines as they need."""
    lines: list[Line] = []
    used = columns
    for piece in pieces:
        needs = sum(width(text) for text, _ in piece)
        if used + 3 + needs <= columns:
            lines[-1] += [("   ", ""), *piece]
            used += 3 + needs
            continue
        lines.append([])
        used = 0
        for text, sgr in piece:
            rest = text
            while rest:
                part, rest = split(rest, columns - used) if used < columns else ("", rest)
                if part:
                    lines[-1].append((part, sgr))
                    used += width(part)
                if rest:
                    lines.append([])
                    used = 0
    return lines


def cut_line(line: Line, columns: int, unicode: bool) -> Line:
    """The line in at most so many columns."""
    kept: Line = []
    for text, sgr in line:
        piece = cut(text, columns, "…" if unicode else "~")
        columns -= width(piece)
        kept.append((piece, sgr))
    return kept
