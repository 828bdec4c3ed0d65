"""Node paths: how they are spelled, and where in a plan one leads.

The root's nodes are called by their names. A sub-DAG `kyc` puts its nodes at `kyc/NODE`; a branch puts those of the
scope opened for key K at `each[K]/NODE`; nested to any depth. The *static* path of a node leaves out foreach keys
(`each[]/NODE`): there is one per node of the definition.

A path is followed from the root in one loop. What lies around a place is told inmost first and made only when it is
asked for, since the paths of all that is around a node a thousand levels deep are as long as a book.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from goflow.errors import UnknownNode
from goflow.message import RESULT

if TYPE_CHECKING:
    from goflow.plan import Graph, Node


class Scope(NamedTuple):
    """A DAG that is running inside a run: the root's, a sub-DAG's, or one key's of a branch.

    `around` is the branch or sub-DAG it belongs to (None for the root) and `owner` its path (""), `key` the encoded
    key ("" for a sub-DAG), `prefix` what its nodes' paths begin with.
    """

    graph: Graph
    prefix: str
    owner: str
    key: str
    static: str
    around: Node | None


class Place(NamedTuple):
    """Where a node path lies: its node, its scope and its static path."""

    path: str
    node: Node
    scope: Scope
    static: str


class _Step(NamedTuple):
    """One level: a branch or sub-DAG, the graph the path goes on in, its key, and where in the path the level
    begins, its name ends and it itself ends; `static` is where it ends in the static path."""

    node: Node
    graph: Graph
    key: str
    begin: int
    named: int
    end: int
    static: int


class Way:
    """The way from the root through everything a path leads into (`head`: a path without its last name).

    As far as a former way went the same way it is not walked again: a run goes down and up again, and each of its
    steps would cost as much as it is deep. Raises UnknownNode where it leads nowhere.
    """

    __slots__ = ("_head", "_root", "_static", "_steps")

    def __init__(self, graph: Graph, head: str, former: Way | None = None) -> None:
        self._root = graph
        self._head = head
        self._static = ""
        self._steps: list[_Step] = [] if former is None else former._shared(head)
        begin = static = 0
        parts = []
        if self._steps and former is not None:
            last = self._steps[-1]
            graph, begin, static = last.graph, last.end + 1, last.static + 1
            parts.append(former._static[: last.static])
        for part in head[begin:].split("/") if begin <= len(head) else ():
            end = begin + len(part)
            match = _PART.fullmatch(part)
            name = match[1] if match else part
            node = graph.nodes.get(name)
            if node is None:
                prefix = head[:begin]
                raise UnknownNode(prefix + name, (prefix + other for other in graph.nodes))
            key = match[2] if match else None
            graph, mark = _entered(node, key, head[:end], head[: begin + len(name)])
            parts.append(name + mark)
            static += len(name) + len(mark)
            step = _Step(node, graph, key or "", begin, begin + len(name), end, static)
            self._steps.append(step)
            begin, static = end + 1, static + 1
        self._static = "/".join(parts)

    def _shared(self, head: str) -> list[_Step]:
        """The first steps of this way that are also those of another."""
        low, high = 0, len(self._steps)
        while low < high:
            middle = (low + high + 1) // 2
            end = self._steps[middle - 1].end
            if head[end : end + 1] in ("", "/") and head[:end] == self._head[:end]:
                low = middle
            else:
                high = middle - 1
        return self._steps[:low]

    def scope(self, level: int = -1) -> Scope:
        """The scope the way ends in; with a level the one so many levels below the root."""
        if not level:
            return root(self._root)
        step, head = self._steps[level if level < 0 else level - 1], self._head
        return Scope(
            step.graph,
            head[: step.end] + "/",
            head[: step.named],
            step.key,
            self._static[: step.static] + "/",
            step.node,
        )

    def outwards(self) -> Iterator[Place]:
        """The branches and sub-DAGs on the way, the inmost first."""
        for level in range(len(self._steps) - 1, -1, -1):
            step, scope = self._steps[level], self.scope(level)
            name = self._head[step.begin : step.named]
            yield Place(self._head[: step.named], step.node, scope, scope.static + name)


def is_join(path: str) -> bool:
    """Whether it is a join of several ends that the engine adds: `each[alice]` for a scope, `~result` for the run."""
    return path.endswith("]") or path == RESULT


def is_planned(path: str) -> bool:
    """Whether it is the path of a node of the plan, which is neither such a join nor a handler."""
    return not (path.endswith("]") or path.startswith("~"))


def root(graph: Graph) -> Scope:
    """The scope of the nodes that are inside nothing."""
    return Scope(graph, "", "", "", "", None)


def _entered(node: Node, key: str | None, head: str, owner: str) -> tuple[Graph, str]:
    """The graph that a branch or sub-DAG opens for a key, and how its static path goes on."""
    if (node.kind == "sub_dag") == (key is not None) or node.kind == "node":
        raise UnknownNode(head)
    if node.kind == "conditional":  # by their encoded keys: a path has one spelling
        graph = {encode_key(each): inner for each, inner in node.dags.items()}.get(key or "")
    else:
        graph = node.dags.get("")
    if graph is None:
        raise UnknownNode(head, (f"{owner}[{encode_key(k)}]" for k in node.dags))
    return graph, "" if key is None else f"[{key}]" if node.kind == "conditional" else "[]"


def owners(path: str) -> Iterator[str]:
    """The paths of the branches and sub-DAGs around a node instance, or around a scope's join; inmost first."""
    while path:
        if not path.endswith("]"):
            path = path.rpartition("/")[0]
        if path.endswith("]"):
            path = path.rpartition("[")[0]
        if path:
            yield path


def around(paths: Iterable[str]) -> set[str]:
    """The paths of all branches and sub-DAGs around any of these."""
    found: set[str] = set()
    for path in paths:
        for owner in owners(path):
            if owner in found:  # and so is all around it
                break
            found.add(owner)
    return found


def encode_key(key: str) -> str:
    """A foreach or condition key as it stands in a node path: percent-encoded where it would confuse.

    >>> encode_key("a/b 100%")
    'a%2Fb%20100%25'
    """
    return _UNSAFE.sub(lambda m: "".join(f"%{byte:02X}" for byte in m[0].encode()), key)


def decode_key(key: str) -> str:
    """The key again; of what `encode_key` did not make, what can be read."""
    return _ESCAPES.sub(
        lambda m: bytes.fromhex(m[0].replace("%", "")).decode(errors="replace"), key
    )


def mark(kind: str, key: str) -> str:
    """What follows the static path of a branch or sub-DAG in that of what is inside it."""
    if kind == "conditional":
        return f"[{encode_key(key)}]/"
    return "[]/" if kind == "foreach" else "/"


_PART = re.compile(r"([^\[\]]*)(?:\[([^\[\]]*)\])?", re.DOTALL)
_UNSAFE = re.compile(r"[%/\[\]\s\x00-\x1f\x7f-\x9f]+")
_ESCAPES = re.compile(r"(?:%[0-9A-F]{2})+")
