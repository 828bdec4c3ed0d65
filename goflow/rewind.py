"""What `goflow retry --from` and `--adopt` undo: computed from a plan and what a run has recorded.

The store only carries out the `Rewind` made here, so no store needs to know what a DAG is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec

from goflow.backend import NodeRun
from goflow.errors import Conflict, UnknownNode
from goflow.message import RESULT, Arrival, Rewind
from goflow.plan import Edge, Place, Plan, Scope
from goflow.state import NodeState


def find(plan: Plan, nodes: Sequence[NodeRun], name: str) -> str:
    """The node path a user means: a path, or a plain name where only one recorded path ends in it.

    Raises UnknownNode, Conflict for a name that several share.
    """
    paths = [node.path for node in nodes if not node.path.endswith("]")]
    if name in paths:
        return name
    found = [path for path in paths if path.rpartition("/")[2] == name]
    if len(found) == 1:
        return found[0]
    if found:
        shown = ", ".join(found[:5]) + (", ..." if len(found) > 5 else "")
        raise Conflict(f"{len(found)} nodes are called {name!r}: say which path ({shown})")
    known = {path.rpartition("/")[2] for path in paths} | set(paths)
    statics = {static for static, _ in plan.walk()}
    if name in statics or name in {static.rpartition("/")[2] for static in statics}:
        raise UnknownNode(name + " (it has not been reached in this run)")
    raise UnknownNode(name, known)


def rewind_from(plan: Plan, path: str) -> Rewind:
    """Repeat the node at this path and all after it, in every scope around it."""
    removed: list[str] = []
    dropped: list[tuple[str, str, bool]] = []
    reopened: list[str] = []
    place = plan.locate(path)
    scope = place.scope
    gone = scope.graph.after(place.node.name)
    _undo(scope, gone, place.node.name, removed, dropped)
    while scope.prefix:
        owner = plan.locate(scope.owner)
        dropped += _leaving(scope, owner, gone)
        join = scope.prefix.removesuffix("/")
        if _joins(scope, owner):
            removed.append(join)
        reopened.append(scope.owner)
        outer = owner.scope
        gone = outer.graph.after(owner.node.name)
        after = [name for name in gone if name != owner.node.name]
        _undo(outer, after, None, removed, dropped, owner.node.name)
        scope = outer
    removed.append(RESULT)
    return Rewind(
        removed=tuple(removed),
        ready=(path,),
        dropped=tuple(dropped),
        reopened=tuple(reopened),
    )


def adoption(plan: Plan, nodes: Sequence[NodeRun], sources: Callable[[str], set[str]]) -> Rewind:
    """Move a run to this plan: what its recorded nodes lead to now is added where it is missing.

    `sources` tells what has arrived at a node path. Raises Conflict naming every recorded node the
    plan no longer has, every new start node, and every new edge with a forwarder (that would have to
    run user code on an old result).
    """
    problems: list[str] = []
    arrivals: list[tuple[str, Arrival]] = []
    recorded = {n.path: n for n in nodes if not n.path.startswith("~") and not n.path.endswith("]")}
    scopes: dict[str, Scope] = {"": plan.root}
    for path, node in recorded.items():
        try:
            place = plan.locate(path)
        except UnknownNode as error:
            problems.append(str(error))
            continue
        scopes[place.scope.prefix] = place.scope
        opened = node.width is not None
        if opened and place.node.kind == "node":
            problems.append(f"node {path!r} was a branch or sub-DAG and is a plain node now")
        elif node.state == NodeState.SUCCEEDED:
            for edge, arrival in _arrivals(place):
                if not edge.forwarder:
                    arrivals.append((path, arrival))
                elif edge.source not in sources(arrival.target):
                    problems.append(
                        f"edge {edge.source!r} -> {edge.target!r} is new and has a forwarder"
                    )
    for prefix, scope in scopes.items():
        for name in scope.graph.starts:
            if prefix + name not in recorded:
                problems.append(f"node {prefix + name!r} is a new start node")
    if problems:
        lines = "".join(f"\n  - {problem}" for problem in problems)
        raise Conflict(f"the run cannot move to the present definition:{lines}")
    return Rewind(arrivals=tuple(arrivals), fingerprint=plan.fingerprint)


def merge(first: Rewind, second: Rewind) -> Rewind:
    """Both: `--adopt --from NODE`."""
    gone = set(first.removed) | set(second.removed)
    arrivals = [
        (by, arrival)
        for by, arrival in (*first.arrivals, *second.arrivals)
        if by not in gone and arrival.target not in second.ready
    ]
    return msgspec.structs.replace(
        second,
        removed=(*first.removed, *second.removed),
        arrivals=tuple(arrivals),
        fingerprint=first.fingerprint or second.fingerprint,
    )


def _undo(
    scope: Scope,
    gone: Iterable[str],
    start: str | None,
    removed: list[str],
    dropped: list[tuple[str, str, bool]],
    around: str | None = None,
) -> None:
    """Remove these nodes of a scope and what they sent each other; `start` keeps its inbox."""
    names = [*gone, *([around] if around else [])]
    for name in gone:
        removed.append(scope.prefix + name)
    for edge in scope.graph.edges:
        if edge.source in names and edge.target in names and edge.target not in (start, around):
            dropped.append((scope.prefix + edge.target, edge.source, False))
    if not scope.prefix and len(scope.graph.ends) > 1:
        dropped.extend((RESULT, name, False) for name in names if name in scope.graph.ends)


def _leaving(scope: Scope, owner: Place, gone: Iterable[str]) -> list[tuple[str, str, bool]]:
    """The arrivals by which ends of a scope reached its owner, or the join before it."""
    ends = [name for name in gone if name in scope.graph.ends]
    if owner.node.kind == "sub_dag":
        return [(scope.owner, name, True) for name in ends]
    told = [(scope.owner, scope.key, True)]
    if _joins(scope, owner):
        told += [(scope.prefix.removesuffix("/"), name, False) for name in ends]
    return told


def _joins(scope: Scope, owner: Place) -> bool:
    return owner.node.kind != "sub_dag" and len(scope.graph.ends) > 1


def _arrivals(place: Place) -> list[tuple[Edge, Arrival]]:
    """What a succeeded node sends over its edges; what is recorded already changes nothing."""
    graph, prefix = place.scope.graph, place.scope.prefix
    return [
        (
            edge,
            Arrival(
                prefix + edge.target,
                edge.source,
                len(graph.edges_in[edge.target]),
                carries=not edge.execution_only,
            ),
        )
        for edge in graph.edges_out[place.node.name]
    ]
