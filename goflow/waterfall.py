"""Where a run's time went: for every node what it waited and what it ran, attempt by attempt.

Pure: computed from a plan and what is recorded. Nodes inside a foreach that are too many for lines of their
own are summed up by percentiles. Time in which a run of several rounds lay idle is told apart (`gaps`), so
that nobody takes a night between failure and retry for work.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from goflow.backend import Attempt, NodeRun, Run
from goflow.critical import critical_path
from goflow.nodepath import around
from goflow.pieces import Gap, Piece, gaps_of, length, pieces_of, waited, without
from goflow.plan import Plan
from goflow.tally import StaticPaths
from goflow.took import took

#: how many instances of one node get bars of their own; more are summed up
MOST_BARS: Final = 12


class Spread(msgspec.Struct, frozen=True):
    """Percentiles of many durations, in seconds."""

    p50: float
    p90: float
    p99: float
    max: float

    @staticmethod
    def of(values: Iterable[float]) -> Spread:
        """By nearest rank. There is at least one value."""
        ordered = sorted(values)
        last = len(ordered) - 1
        # the smallest value that so many percent of all do not exceed
        p50, p90, p99 = (
            ordered[min(last, (len(ordered) * p + 99) // 100 - 1)] for p in (50, 90, 99)
        )
        return Spread(p50, p90, p99, ordered[last])


class Bar(msgspec.Struct, frozen=True, kw_only=True):
    """A node instance on the time line, or all instances of a node inside a foreach.

    Times are seconds since the epoch; `queued`, `ran` and `lost` (with workers that vanished) are seconds
    over all its attempts. Of `count` instances the first two are medians, `waits` and `runs` are how they
    spread, and `lost` is the sum.
    """

    path: str
    state: str
    begin: float
    end: float
    queued: float
    ran: float
    lost: float = 0.0
    pieces: tuple[Piece, ...] = ()
    critical: bool = False
    branch: bool = False
    count: int = 1
    waits: Spread | None = None
    runs: Spread | None = None


class Waterfall(msgspec.Struct, frozen=True, kw_only=True):
    """A run's time line. `took` is its time without the `gaps` between rounds; `queued`, `ran` and
    `lost` are what the nodes on the critical path waited for a worker, ran, and lost with workers that
    vanished; `lost_with` are those, as `Attempt.worker` names them."""

    begin: float
    end: float
    took: float
    queued: float
    ran: float
    critical_path: tuple[str, ...]
    lost: float = 0.0
    lost_with: tuple[str, ...] = ()
    bars: tuple[Bar, ...]
    gaps: tuple[tuple[float, float], ...] = ()


def waterfall(
    plan: Plan, run: Run, nodes: Sequence[NodeRun], attempts: Sequence[Attempt], now: float
) -> Waterfall | None:
    """The time line of what has started; None where nothing has.

    Of a run of several rounds `attempts` are all that are recorded, else at least those that a node's own
    record does not tell, such as one that was lost with its worker (`wholesale.OneLook`).
    """
    if run.finished is not None:
        now = (
            run.finished
        )  # what never ended, such as the branch around a failed node, ended with it
    tries: dict[str, list[Attempt]] = {}
    for attempt in attempts:
        tries.setdefault(attempt.path, []).append(attempt)
    tries = {path: each for path, each in tries.items() if run.round > 1 or _tell_more(each)}
    path = critical_path(plan, nodes)
    gaps = gaps_of(nodes, attempts) if run.round > 1 else []
    bars = _bars(plan, nodes, tries, set(path), now, gaps)
    if not bars:
        return None
    known = {bar.path: bar for bar in bars if bar.count == 1}
    decisive = [
        known.get(node.path) or _bar(node, tries, True, now, gaps) for node in _named(nodes, path)
    ]
    queued = sum(bar.queued for bar in decisive)
    if bars[0].branch and bars[0].begin > run.created:
        # a store tells of a branch since when it could close, not how long it waited to open
        queued += bars[0].begin - run.created
        bars[0] = _since(bars[0], run.created)
    lost = [piece for bar in decisive for piece in bar.pieces if piece.kind == "lost"]
    begin = min(run.created, *(bar.begin for bar in bars))
    end = max(run.finished or now, *(bar.end for bar in bars))
    return Waterfall(
        begin=begin,
        end=end,
        took=took(run, now, gaps),
        queued=queued,
        ran=sum(bar.ran for bar in decisive),
        critical_path=tuple(path),
        lost=sum(bar.lost for bar in decisive),
        lost_with=tuple(dict.fromkeys(piece.worker for piece in lost)),
        bars=tuple(bars),
        gaps=tuple(gaps),
    )


def _since(bar: Bar, ready: float) -> Bar:
    """The bar with what it waited before."""
    before = Piece("waited", ready, bar.begin)
    return msgspec.structs.replace(
        bar,
        begin=ready,
        queued=bar.queued + before.end - before.begin,
        pieces=(before, *bar.pieces),
    )


def _tell_more(tries: Sequence[Attempt]) -> bool:
    """Whether a node's attempts in one round tell more than its own record, which has the last of them."""
    return len(tries) > 1 or tries[0].state != "succeeded"


def _named(nodes: Sequence[NodeRun], paths: Sequence[str]) -> list[NodeRun]:
    wanted = set(paths)
    return [node for node in nodes if node.path in wanted]


def _bars(
    plan: Plan,
    nodes: Sequence[NodeRun],
    tries: dict[str, list[Attempt]],
    critical: set[str],
    now: float,
    gaps: Sequence[Gap],
) -> list[Bar]:
    static = StaticPaths(plan)
    groups: dict[str, list[NodeRun]] = {}
    for node in nodes:
        if node.started is not None and node.path[-1] != "]" and node.path != "~result":
            groups.setdefault(static(node.path), []).append(node)
    decisive = around(critical) | critical
    told: list[Bar] = []
    for name, members in groups.items():
        if len(members) > MOST_BARS:
            told.append(_summary(name, members, tries, decisive, now, gaps))
        else:
            told += [_bar(node, tries, node.path in decisive, now, gaps) for node in members]
    return sorted(told, key=lambda bar: (bar.begin, bar.path.count("/"), bar.path))


def _bar(
    node: NodeRun,
    tries: dict[str, list[Attempt]],
    critical: bool,
    now: float,
    gaps: Sequence[Gap],
) -> Bar:
    pieces = tuple(without(pieces_of(node, tries.get(node.path, ()), now), gaps))
    return Bar(
        path=node.path,
        state=node.state.value,
        begin=min(piece.begin for piece in pieces),
        end=max(piece.end for piece in pieces),
        queued=sum(length(piece, gaps) for piece in pieces if piece.kind == "waited"),
        ran=sum(length(piece, gaps) for piece in pieces if piece.kind not in ("waited", "lost")),
        lost=sum(length(piece, gaps) for piece in pieces if piece.kind == "lost"),
        pieces=pieces,
        critical=critical,
        branch=node.width is not None,
    )


def _summary(
    name: str,
    members: Sequence[NodeRun],
    tries: dict[str, list[Attempt]],
    critical: set[str],
    now: float,
    gaps: Sequence[Gap],
) -> Bar:
    lost = 0.0
    if gaps or any(node.path in tries for node in members):
        each = [_bar(node, tries, False, now, gaps) for node in members]
        queued, ran = [bar.queued for bar in each], [bar.ran for bar in each]
        lost = sum(bar.lost for bar in each)
        begins, ends = [bar.begin for bar in each], [bar.end for bar in each]
    else:  # ten thousand of them are added up without ten thousand bars
        times = [_times(node, now) for node in members]
        queued = [started - ready for ready, started, _ in times]
        ran = [finished - started for _, started, finished in times]
        begins, ends = [ready for ready, _, _ in times], [finished for _, _, finished in times]
    states = {node.state.value for node in members}
    begin, end = min(begins), max(ends)
    first = min(node.started or now for node in members)
    waits, runs = Spread.of(queued), Spread.of(ran)
    return Bar(
        path=name,
        state=states.pop() if len(states) == 1 else "mixed",
        begin=begin,
        end=end,
        queued=waits.p50,
        ran=runs.p50,
        lost=lost,
        pieces=(*waited(begin, first), Piece("ran", max(first, begin), end)),
        critical=any(node.path in critical for node in members),
        branch=members[0].width is not None,
        count=len(members),
        waits=waits,
        runs=runs,
    )


def _times(node: NodeRun, now: float) -> tuple[float, float, float]:
    """When it was ready, started and ended, in this order."""
    started = node.started if node.started is not None else now
    ready = started if node.ready is None else min(node.ready, started)
    return ready, started, max(now if node.finished is None else node.finished, started)
