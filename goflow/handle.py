"""What `Dag.node` answers, for `>>`: `a >> [b, c] >> d` adds plain edges."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Union, overload

from goflow.calling import caller

if TYPE_CHECKING:
    from goflow.dag import Dag

#: what stands on either side of `>>`
Nodes = Union["NodeHandle", str, Sequence[Union["NodeHandle", str]]]


class NodeHandle:
    """A node of a Dag under construction."""

    __slots__ = ("_dag", "name")

    def __init__(self, dag: Dag, name: str) -> None:
        self._dag = dag
        self.name = name

    @overload
    def __rshift__(self, other: NodeHandle | str) -> NodeHandle: ...  # type: ignore[overload-overlap]
    @overload
    def __rshift__(self, other: Sequence[NodeHandle | str]) -> NodeGroup: ...
    def __rshift__(self, other: Nodes) -> NodeHandle | NodeGroup:
        return _connect(self._dag, [self], other, caller())

    def __rrshift__(self, other: Nodes) -> NodeHandle:
        _connect(self._dag, _each(other), self, caller())
        return self

    def __repr__(self) -> str:
        return f"<node {self.name!r}>"


class NodeGroup(tuple[NodeHandle, ...]):
    """The nodes in the middle of `a >> [b, c] >> d`: each of them gets and gives every edge."""

    _dag: Dag

    @overload
    def __rshift__(self, other: NodeHandle | str) -> NodeHandle: ...  # type: ignore[overload-overlap]
    @overload
    def __rshift__(self, other: Sequence[NodeHandle | str]) -> NodeGroup: ...
    def __rshift__(self, other: Nodes) -> NodeHandle | NodeGroup:
        return _connect(self._dag, self, other, caller())


def _connect(
    dag: Dag, sources: Sequence[NodeHandle | str], targets: Nodes, at: str
) -> NodeHandle | NodeGroup:
    """Plain edges from every source to every target, which are answered as handles."""
    handles = [NodeHandle(dag, name_of(target)) for target in _each(targets)]
    for source in sources:
        for target in handles:
            dag._edge(name_of(source), target.name, None, False, at)
    if isinstance(targets, NodeHandle | str):
        return handles[0]
    group = NodeGroup(handles)
    group._dag = dag
    return group


def name_of(node: NodeHandle | str) -> str:
    """The name of what may be given as a handle or by name."""
    return node.name if isinstance(node, NodeHandle) else str(node)


def _each(nodes: Nodes) -> Sequence[NodeHandle | str]:
    """The nodes that `>>` was given. Raises TypeError, as an operator does, for what are none."""
    if isinstance(nodes, NodeHandle | str):
        return [nodes]
    each = list(nodes) if isinstance(nodes, Iterable) else [nodes]
    for node in each:
        if not isinstance(node, NodeHandle | str):
            raise TypeError(f">>: expected a node, its name, or a list of them, got {node!r}")
    return each
