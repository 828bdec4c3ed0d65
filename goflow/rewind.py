"""What `goflow retry --from` undoes: computed from a plan and what a run has recorded.

The store only carries out the `Rewind` made here, so no store needs to know what a DAG is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from goflow.backend import NodeRun
from goflow.errors import Conflict, UnknownNode
from goflow.message import RESULT, Rewind
from goflow.nodepath import Place, Scope
from goflow.plan import Plan


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
        raise UnknownNode(name, hint=" yet: it has not been reached in this run")
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
    for owner in plan.around(path):
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
