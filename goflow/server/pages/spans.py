"""When nodes waited and ran, as bars beside their names; which of them decided when the run ended."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from goflow.backend import Attempt, NodeRun, Run
from goflow.critical import critical_path
from goflow.pieces import Piece, pieces_of
from goflow.plan import Plan
from goflow.server.pages.markup import Markup, tag
from goflow.tally import StaticPaths
from goflow.tries import counted

#: units of a bar's width and height: the style sheet scales them to what place there is
_WIDTH: Final = 1000
_HEIGHT: Final = 16
#: what is shorter is drawn as wide as this, or nobody would see it
_LEAST: Final = 3

#: by path, the attempts of those nodes whose own records do not tell all of them
Tries = Mapping[str, Sequence[Attempt]]


class Span(NamedTuple):
    """A node instance on the time line, or all instances of a node of the definition.

    Times are seconds since the epoch. `waited` and `ran` are seconds over all attempts (those that were lost
    with a worker left out), medians where there are several instances. `earlier` are the attempts before the
    last one.
    """

    ready: float
    started: float
    finished: float
    waited: float
    ran: float
    critical: bool
    earlier: tuple[Piece, ...] = ()


class Clock(NamedTuple):
    """What a run's bars are drawn against: its first moment, and the last there is."""

    begin: float
    end: float


def clock(run: Run, recorded: Iterable[NodeRun], now: float) -> Clock:
    """From the run's creation (a round begins anew) to its end or the present."""
    ready = min((node.ready for node in recorded if node.ready is not None), default=run.created)
    ended = run.finished if run.finished is not None and run.state.terminal else now
    begin = min(run.created, ready) if run.round == 1 else ready
    return Clock(begin, max(ended, begin + 0.001))


def critical(plan: Plan, run: Run, recorded: Sequence[NodeRun]) -> frozenset[str]:
    """The paths that decided when the run ended; nothing while that is open."""
    return frozenset(critical_path(plan, recorded)) if run.state.terminal else frozenset()


def tries_of(attempts: Iterable[Attempt]) -> Tries:
    """What of all attempts the nodes' own records, which have the last of them, do not tell."""
    told: dict[str, list[Attempt]] = {}
    for attempt in counted(attempts):
        told.setdefault(attempt.path, []).append(attempt)
    return {
        path: tries
        for path, tries in told.items()
        if len(tries) > 1 or tries[0].state != "succeeded"
    }


def span(node: NodeRun, decisive: frozenset[str], now: float, tries: Tries) -> Span | None:
    """When one instance waited and ran; None for one that has not started."""
    if node.path in tries and node.width is None:
        return _tried(pieces_of(node, tries[node.path], now), node.path in decisive)
    if node.started is None:
        return None
    ready = min(node.started if node.ready is None else node.ready, node.started)
    finished = max(now if node.finished is None else node.finished, node.started)
    waited, ran = node.started - ready, finished - node.started
    return Span(ready, node.started, finished, waited, ran, node.path in decisive)


def _tried(pieces: Sequence[Piece], critical: bool) -> Span | None:
    """The span of a node that was tried more than once, or in vain."""
    active = [piece for piece in pieces if piece.kind != "waited"]
    if not active:
        return None
    *earlier, last = active
    return Span(
        ready=pieces[0].begin,
        started=last.begin,
        finished=last.end,
        waited=sum(piece.end - piece.begin for piece in pieces if piece.kind == "waited"),
        ran=sum(piece.end - piece.begin for piece in active if piece.kind != "lost"),
        critical=critical,
        earlier=tuple(earlier),
    )


def summed(
    plan: Plan, recorded: Iterable[NodeRun], decisive: frozenset[str], now: float, tries: Tries
) -> dict[str, Span]:
    """The same by node of the definition, its instances summed up."""
    groups: dict[str, list[Span]] = {}
    static = StaticPaths(plan)
    for node in recorded:
        each = None if node.path.endswith("]") else span(node, decisive, now, tries)
        if each is None:
            continue
        path = node.path if node.path.startswith("~") else static(node.path)
        groups.setdefault(path, []).append(each)  # also of those that only a former definition had
    return {path: group[0] if len(group) == 1 else _sum(group) for path, group in groups.items()}


def _sum(group: Sequence[Span]) -> Span:
    waited = sorted(each.waited for each in group)
    ran = sorted(each.ran for each in group)
    return Span(
        ready=min(each.ready for each in group),
        started=min(each.started for each in group),
        finished=max(each.finished for each in group),
        waited=waited[len(waited) // 2],
        ran=ran[len(ran) // 2],
        critical=any(each.critical for each in group),
    )


def bar(each: Span | None, state: str, clock: Clock, *, grouped: bool = False) -> Markup | None:
    """A span as a drawing; its numbers stand beside it as text. Sizes are attributes, never styles."""
    if each is None:
        return None
    scale = _WIDTH / (clock.end - clock.begin)
    if grouped:
        each = each._replace(earlier=())

    def x(at: float) -> float:
        return min(max(at - clock.begin, 0.0) * scale, _WIDTH)

    left, middle = x(each.ready), min(x(each.started), _WIDTH - _LEAST)
    wide = max(x(each.finished) - middle, _LEAST)
    earlier = [
        tag(
            "rect",
            x=f"{x(piece.begin):.1f}",
            y=3,
            width=f"{max(x(piece.end) - x(piece.begin), _LEAST):.1f}",
            height=10,
            class_=f"earlier {piece.kind}",
        )
        for piece in each.earlier
    ]
    kind = f"ran {state}" + (" grouped" if grouped else "") + (" critical" if each.critical else "")
    wait = tag("rect", x=f"{left:.1f}", y=6, width=f"{middle - left:.1f}", height=4, class_="wait")
    return tag(
        "svg",
        wait if middle - left > 0.05 else None,
        earlier,
        tag("rect", x=f"{middle:.1f}", y=2, width=f"{wide:.1f}", height=12, class_=kind),
        viewBox=f"0 0 {_WIDTH} {_HEIGHT}",
        preserveAspectRatio="none",
        class_="bar",
        aria_hidden="true",
    )
