"""The critical path: the chain of node instances that decided when a run ended.

Read backwards: from the node that ended last, step to whatever it waited for that ended last, until nothing
was waited for. Branches and sub-DAGs count by when they were complete, and are then seen through to the
last of their inner nodes: the chain holds plain nodes, and of the branches those that opened nothing.
`tests/test_waterfall.py` holds it against all chains of random runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain

from goflow.backend import NodeRun
from goflow.errors import UnknownNode
from goflow.nodepath import decode_key
from goflow.plan import Graph, Node, Plan


def critical_path(plan: Plan, nodes: Sequence[NodeRun]) -> list[str]:
    """The node paths that decided when the run ended, first to last. Handlers are not among them."""
    return _Chain(plan, nodes).paths()


class _Chain:
    """The search over one run."""

    def __init__(self, plan: Plan, nodes: Sequence[NodeRun]) -> None:
        self._plan = plan
        self._ended: dict[str, float] = {}
        self._opened: dict[str, NodeRun] = {}
        for node in nodes:
            if node.finished is not None and not node.path.startswith("~"):
                self._ended[node.path] = node.finished
            if node.width is not None:
                self._opened[node.path] = node

    def paths(self) -> list[str]:
        last = self._last(self._plan.graph.ends)
        if last is None:  # it failed or was stopped on the way
            plain = (p for p in self._ended if p not in self._opened and p[-1] != "]")
            last = self._last(plain)
        found: list[str] = []
        while last is not None:
            found.append(last)
            last = self._before(last)
        return found[::-1]

    def _before(self, path: str) -> str | None:
        """The plain node that the one at this path waited for longest."""
        try:
            place = self._plan.locate(path)
        except UnknownNode:  # the run was moved to another definition
            return None
        for around in chain((place,), self._plan.around(path)):
            edges = around.scope.graph.edges_in[around.node.name]
            if edges:
                return self._last(around.scope.prefix + edge.source for edge in edges)
        return None

    def _last(self, paths: Iterator[str] | Sequence[str]) -> str | None:
        """Of these, the one that was complete last, seen through to the plain node it waited for."""
        path = _latest(paths, self._ended)
        while path is not None and path in self._opened:
            inner = self._inside(self._opened[path])
            if inner is None:
                return path
            path = inner
        return path

    def _inside(self, branch: NodeRun) -> str | None:
        """The node in a branch or sub-DAG whose end completed it."""
        node = self._plan.locate(branch.path).node
        if node.kind == "sub_dag":
            ends = node.dags[""].ends
            return _latest((f"{branch.path}/{end}" for end in ends), self._ended)
        scope = _latest(_completions(node, branch), self._ended)
        if scope is None or scope[-1] != "]":
            return scope
        key = scope[len(branch.path) + 1 : -1]
        graph = _graph(node, key)
        return _latest((f"{scope}/{end}" for end in graph.ends), self._ended) or scope


def _completions(node: Node, branch: NodeRun) -> Iterator[str]:
    """For each scope of a branch the path whose end completes it: its end, or the join of several."""
    keys = branch.keys if branch.keys is not None else map(str, range(branch.width or 0))
    for key in keys:
        ends = _graph(node, key).ends
        scope = f"{branch.path}[{key}]"
        yield f"{scope}/{ends[0]}" if len(ends) == 1 else scope


def _graph(node: Node, key: str) -> Graph:
    return node.dags[decode_key(key) if node.kind == "conditional" else ""]


def _latest(paths: Iterator[str] | Sequence[str], ended: Mapping[str, float]) -> str | None:
    known = [path for path in paths if path in ended]
    return max(known, key=lambda path: (ended[path], path), default=None)
