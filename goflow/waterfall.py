"""Where a run's time went: a bar per node, and the chain of nodes that decided when the run ended.

Pure: computed from a plan and what is recorded. The critical path is read backwards. From the node that
ended last, step to whatever it waited for that ended last, until nothing was waited for. Branches and
sub-DAGs are seen through: what counts is the last of their inner nodes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from goflow.backend import NodeRun
from goflow.plan import Plan, Scope

#: how many instances of one node get bars of their own; more are summed up
MOST_BARS: Final = 12


class Bar(msgspec.Struct, frozen=True, kw_only=True):
    """A node instance, or all instances of a node inside a foreach, on the time line.

    Times are seconds since the epoch. `count` instances are summed up; `queued` and `ran` are then their
    medians in seconds, `slowest` the longest run and `late` the 95th percentile.
    """

    path: str
    ready: float
    started: float
    finished: float
    state: str
    critical: bool = False
    count: int = 1
    queued: float = 0.0
    ran: float = 0.0
    late: float = 0.0
    slowest: float = 0.0


def bars(plan: Plan, nodes: Sequence[NodeRun], now: float) -> list[Bar]:
    """The time line: every node that has started, in the order in which nodes became ready."""
    critical = set(critical_path(plan, nodes))
    groups: dict[str, list[NodeRun]] = {}
    for node in nodes:
        if node.started is None or node.width is not None or node.path.endswith("]"):
            continue
        groups.setdefault(_static(plan, node.path), []).append(node)
    told: list[Bar] = []
    for static, members in groups.items():
        if len(members) > MOST_BARS:
            told.append(_summary(static, members, critical, now))
        else:
            told += [_bar(node, node.path in critical, now) for node in members]
    return sorted(told, key=lambda bar: (bar.ready, bar.started))


def critical_path(plan: Plan, nodes: Sequence[NodeRun]) -> list[str]:
    """The node paths that decided when the run ended, first to last. Handlers are not among them."""
    ended = {
        node.path: node.finished
        for node in nodes
        if node.finished is not None and not node.path.startswith("~")
    }
    opened = {node.path: node for node in nodes if node.width is not None}
    last = _latest(list(_ends(plan, plan.root, ended, opened)), ended)
    if last is None:  # it failed or was stopped on the way
        plain = [p for p in ended if p not in opened and not p.endswith("]")]
        last = _latest(plain, ended)
    found: list[str] = []
    while last is not None:
        found.append(last)
        last = _latest(list(before(plan, last, ended, opened)), ended)
    return found[::-1]


def before(
    plan: Plan, path: str, ended: dict[str, float], opened: dict[str, NodeRun]
) -> Iterator[str]:
    """The node instances a plain one waited for, seen through branches and sub-DAGs."""
    place = plan.locate(path)
    edges = place.scope.graph.edges_in[place.node.name]
    for edge in edges:
        yield from _inside(plan, place.scope.prefix + edge.source, ended, opened)
    if not edges and place.scope.prefix:
        yield from before(plan, place.scope.owner, ended, opened)


def _inside(
    plan: Plan, path: str, ended: dict[str, float], opened: dict[str, NodeRun]
) -> Iterator[str]:
    """The instances whose ends complete what is at this path: itself, or the ends of its scopes."""
    if path not in opened:
        if path in ended:
            yield path
        return
    found = False
    for scope in _scopes(plan, opened[path]):
        for name in _ends(plan, scope, ended, opened):
            found = True
            yield name
    if not found and path in ended:
        yield path


def _ends(
    plan: Plan, scope: Scope, ended: dict[str, float], opened: dict[str, NodeRun]
) -> Iterator[str]:
    """The instances that end a scope, seen through branches and sub-DAGs."""
    for name in scope.graph.ends:
        yield from _inside(plan, scope.prefix + name, ended, opened)


def _scopes(plan: Plan, branch: NodeRun) -> Iterator[Scope]:
    """The scopes that a recorded branch or sub-DAG opened."""
    node = plan.locate(branch.path).node
    if node.kind == "sub_dag":
        yield plan.scope(branch.path)
        return
    keys = branch.keys if branch.keys is not None else map(str, range(branch.width or 0))
    for key in keys:
        yield plan.scope(f"{branch.path}[{key}]")


def _latest(paths: Sequence[str], ended: dict[str, float]) -> str | None:
    return max(paths, key=lambda path: (ended[path], path), default=None)


def _static(plan: Plan, path: str) -> str:
    return path if path.startswith("~") else plan.locate(path).static


def _bar(node: NodeRun, critical: bool, now: float) -> Bar:
    started = node.started or now
    finished = node.finished or now
    ready = min(node.ready or started, started)
    return Bar(
        path=node.path,
        ready=ready,
        started=started,
        finished=finished,
        state=str(node.state),
        critical=critical,
        queued=started - ready,
        ran=finished - started,
        slowest=finished - started,
    )


def _summary(static: str, members: Sequence[NodeRun], critical: set[str], now: float) -> Bar:
    each = [_bar(node, False, now) for node in members]
    ran = sorted(bar.ran for bar in each)
    queued = sorted(bar.queued for bar in each)
    states = {bar.state for bar in each}
    return Bar(
        path=static,
        ready=min(bar.ready for bar in each),
        started=min(bar.started for bar in each),
        finished=max(bar.finished for bar in each),
        state=states.pop() if len(states) == 1 else "mixed",
        critical=any(node.path in critical for node in members),
        count=len(each),
        queued=queued[len(queued) // 2],
        ran=ran[len(ran) // 2],
        late=ran[min(len(ran) - 1, len(ran) * 95 // 100)],
        slowest=ran[-1],
    )
