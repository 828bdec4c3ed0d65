"""What `goflow retry --adopt` changes: a run goes on under another definition of its flow.

Results that are recorded are kept. What has not run follows the new edges: it forgets what came from nodes
that no longer lead to it, and gets what is recorded of those that do now. What cannot be made good by
names and numbers alone (a forwarder would have to run, a node has run without what it waits for now) is
refused, with the node to repeat.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain

import msgspec

from goflow.backend import NodeRun
from goflow.errors import Conflict, UnknownNode
from goflow.message import RESULT, Arrival, Rewind
from goflow.nodepath import Place, Scope, is_planned, owners
from goflow.plan import Edge, Plan
from goflow.state import NodeState

#: tells from which sources something has arrived at a node path that is not open
Sources = Callable[[str], set[str]]


def adoption(
    plan: Plan,
    nodes: Sequence[NodeRun],
    sources: Sources,
    *,
    former: Plan | None = None,
    undone: Rewind | None = None,
) -> Rewind:
    """Move a run with these recorded nodes to `plan`, from `former` (as far as it is known).

    `undone` is what `--from` repeats meanwhile: the answer then does both. Raises Conflict that names
    every recorded node the plan no longer has, and everything else that stands in the way.
    """
    return _Adoption(plan, nodes, sources, former, undone or Rewind()).rewind()


class _Adoption:
    def __init__(
        self,
        plan: Plan,
        nodes: Sequence[NodeRun],
        sources: Sources,
        former: Plan | None,
        undone: Rewind,
    ) -> None:
        self._plan = plan
        self._former = former
        self._sources = sources
        self._undone = undone
        self._gone = frozenset(undone.removed)
        self._reopened = frozenset(undone.reopened)
        self._forgotten = {
            (path, source) for path, source, closing in undone.dropped if not closing
        }
        self._nodes = {n.path: n for n in nodes if is_planned(n.path)}
        self._undone_paths: dict[str, bool] = {}
        self._closed: dict[str, bool] = {}
        self._problems: list[str] = []
        self._removed: list[str] = []
        self._dropped: list[tuple[str, str, bool]] = []
        self._arrivals: list[tuple[str, Arrival]] = []
        self._changed: set[str] = set()

    def rewind(self) -> Rewind:
        places = list(self._places())
        scopes = {place.scope.prefix: place.scope for place in places} | {"": self._plan.root}
        awaited = {prefix: scope for prefix, scope in scopes.items() if self._is_awaited(scope)}
        for scope in awaited.values():
            self._check_ends(scope)
        live = {prefix for prefix, scope in awaited.items() if not self._is_complete(scope)}
        for place in places:
            if place.scope.prefix in live:
                self._settle(place)
        for prefix in live:
            self._check_starts(scopes[prefix])
        if self._problems:
            lines = "".join(f"\n  - {problem}" for problem in dict.fromkeys(self._problems))
            raise Conflict(f"the run cannot move to the present definition:{lines}")
        return msgspec.structs.replace(
            self._undone,
            removed=tuple(dict.fromkeys((*self._undone.removed, *self._removed))),
            ready=tuple(path for path in self._undone.ready if path not in self._changed),
            dropped=tuple(dict.fromkeys((*self._undone.dropped, *self._dropped))),
            arrivals=tuple(self._arrivals),
            fingerprint=self._plan.fingerprint,
        )

    # -- what there is ----------------------------------------------------------------------------

    def _places(self) -> Iterator[Place]:
        for path in self._nodes:
            try:
                yield self._plan.locate(path)
            except UnknownNode as error:
                self._problems.append(str(error))

    def _is_undone(self, path: str) -> bool:
        return bool(self._gone) and _found(path, self._gone.__contains__, self._undone_paths)

    def _has_run(self, path: str) -> bool:
        """Whether a node's result is recorded, and stays so."""
        node = self._nodes.get(path)
        done = node is not None and node.state == NodeState.SUCCEEDED
        return done and path not in self._reopened and not self._is_undone(path)

    def _is_open(self, path: str) -> bool:
        node = self._nodes.get(path)
        opened = node is not None and node.width is not None
        return opened and not self._has_run(path) and not self._is_undone(path)

    def _is_awaited(self, scope: Scope) -> bool:
        """Whether the branch or sub-DAG around a scope is open; what is in any other has no effect."""
        if not scope.prefix:
            return True
        return not _found(scope.owner, lambda owner: not self._is_open(owner), self._closed)

    def _is_complete(self, scope: Scope) -> bool:
        """Whether a scope of an open branch has brought its result already."""
        return bool(scope.prefix) and all(
            self._has_run(scope.prefix + name) for name in scope.graph.ends
        )

    def _edges_before(self, path: str) -> set[str] | None:
        """What led to a node under the former definition; None where that is not known."""
        if self._former is None:
            return None
        try:
            place = self._former.locate(path)
        except UnknownNode:
            return None
        return {edge.source for edge in place.scope.graph.edges_in[place.node.name]}

    # -- one node ---------------------------------------------------------------------------------

    def _settle(self, place: Place) -> None:
        path = place.path
        if self._has_run(path):
            self._follow(place)
        if self._has_run(path) or self._is_open(path):
            self._check_started(place)
        else:
            self._receive(place)

    def _follow(self, place: Place) -> None:
        """Send a recorded result over every edge whose target has not started."""
        for edge, arrival in _arrivals(place):
            if self._has_run(arrival.target) or self._is_open(arrival.target):
                continue
            if not edge.forwarder:
                self._arrivals.append((place.path, arrival))
            elif edge.source not in self._sources(arrival.target):
                self._problems.append(
                    f"edge {edge.source!r} -> {edge.target!r} is new and has a forwarder, which would"
                    f" have to run: repeat {place.path!r} with --from"
                )

    def _check_started(self, place: Place) -> None:
        for edge in place.scope.graph.edges_in[place.node.name]:
            if not self._has_run(place.scope.prefix + edge.source):
                self._problems.append(
                    f"node {place.path!r} has run and waits for {edge.source!r} now:"
                    " repeat it with --from"
                )
        if self._is_open(place.path):
            kind = place.node.kind
            if kind == "node" or kind != self._kind_before(place.path, kind):
                self._problems.append(
                    f"node {place.path!r} is open and of another kind now ({kind}):"
                    " repeat it with --from"
                )

    def _kind_before(self, path: str, unknown: str) -> str:
        try:
            return self._former.locate(path).node.kind if self._former else unknown
        except UnknownNode:
            return unknown

    def _receive(self, place: Place) -> None:
        """Let a node that has not run begin with what its present edges bring."""
        path, edges = place.path, place.scope.graph.edges_in[place.node.name]
        wanted = {edge.source for edge in edges}
        if self._edges_before(path) == wanted:
            return
        box = {source for source in self._sources(path) if (path, source) not in self._forgotten}
        if not wanted and "" in box:
            return  # it starts its DAG as it did, and keeps the input of it
        if "" in box or (box and not wanted):
            now = f"waits for {', '.join(sorted(wanted))}" if wanted else "starts its DAG"
            self._problems.append(f"node {path!r} {now} now, and did not when it was reached")
            return
        again = {
            e.source
            for e in edges
            if not e.forwarder and self._has_run(place.scope.prefix + e.source)
        }
        if wanted and wanted <= box and not again and wanted != self._edges_before(path):
            sources = ", ".join(sorted(wanted))
            self._problems.append(f"node {path!r} waits for less now: repeat {sources} with --from")
        self._changed.add(path)
        self._removed.append(path)
        self._dropped += [
            (path, source, False)
            for source in sorted(box)
            if source in again or source not in wanted
        ]

    # -- one scope --------------------------------------------------------------------------------

    def _check_starts(self, scope: Scope) -> None:
        for name in scope.graph.starts:
            if scope.prefix + name not in self._nodes:
                self._problems.append(f"node {scope.prefix + name!r} is a new start node")

    def _check_ends(self, scope: Scope) -> None:
        """What waits for a scope knows how many ends it had: only the run's own result can change."""
        ends, before = scope.graph.ends, self._ends_before(scope)
        if before is not None and set(before) == set(ends):
            return
        if scope.prefix:
            if self._former is None:
                why = "how its DAG ended before is not known any more"
            elif before is not None:
                why = f"its DAG ends otherwise now ({', '.join(ends)})"
            else:
                return
            self._problems.append(f"node {scope.owner!r} is open and {why}: repeat it with --from")
            return
        self._removed.append(RESULT)
        self._dropped += [(RESULT, source, False) for source in sorted(self._sources(RESULT))]
        done = [name for name in ends if self._has_run(name)]
        if len(ends) > 1:
            self._arrivals += [(name, Arrival(RESULT, name, len(ends))) for name in done]
        elif before is not None and all(map(self._has_run, scope.graph.nodes)):
            self._problems.append(f"all has run, {done[0]!r} too: repeat a node with --from")

    def _ends_before(self, scope: Scope) -> tuple[str, ...] | None:
        if self._former is None:
            return None
        try:
            head = scope.prefix.removesuffix("/")
            return (self._former.scope(head) if head else self._former.root).graph.ends
        except UnknownNode:
            return None


def _found(path: str, wanted: Callable[[str], bool], known: dict[str, bool]) -> bool:
    """Whether a path, or that of a branch or sub-DAG around it, is wanted. Keeps in `known` what it found."""
    asked, found = [], False
    for each in chain((path,), owners(path)):
        if each in known:
            found = known[each]
            break
        asked.append(each)
        if wanted(each):
            found = True
            break
    known.update(dict.fromkeys(asked, found))
    return found


def _arrivals(place: Place) -> Iterator[tuple[Edge, Arrival]]:
    """What a node sends over its edges."""
    graph, prefix = place.scope.graph, place.scope.prefix
    for edge in graph.edges_out[place.node.name]:
        expects = len(graph.edges_in[edge.target])
        carries = not edge.execution_only
        yield edge, Arrival(prefix + edge.target, edge.source, expects, carries=carries)
