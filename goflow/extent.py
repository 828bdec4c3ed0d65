"""How large a Dag is, told before anything walks through all of it.

A sub-DAG that is used twice on each of thirty levels is a billion nodes drawn in sixty lines. And a node's path names
every level around it: those of a flow of n nodes that are nested in a line come to about n * n / 2 names, all of which a
worker holds in memory and a run writes to its store. Both are refused with a sentence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from goflow.drawn import Drawn

#: nodes of a flow, those of a sub-DAG counted wherever it is used; about 100 MB of functions and plan
MAX_NODES: Final = 1_000_000
#: characters of all node paths together: 250 MB. Depth has no bound of its own, and comes to this at 7,000 levels of
#: names of ten letters; 1,000 levels of the longest there are (64) come to 33 MB
MAX_PATHS: Final = 250_000_000


class _Extent(NamedTuple):
    """The levels of a Dag, its nodes, and the characters of their paths; those inside them counted."""

    levels: int
    nodes: int
    paths: int


def excess(drawn: Drawn) -> str | None:
    """What makes a Dag too much, as a sentence; None where it is not. Looks at each Dag once."""
    extent = _measure(drawn)
    if extent.nodes > MAX_NODES:
        return (
            f"it has {extent.nodes:,} nodes, at most {MAX_NODES:,} are allowed; a foreach over items"
            " needs one node, however many there are"
        )
    if extent.paths > MAX_PATHS:
        return (
            f"its DAGs are nested {extent.levels:,} levels deep, and the paths of its nodes come to"
            f" {extent.paths:,} characters, at most {MAX_PATHS:,} are allowed: take shorter names, put nodes"
            " side by side, or start another run from a node"
        )
    return None


def _measure(drawn: Drawn) -> _Extent:
    """One inside itself counts once: that is another mistake's to tell."""
    known: dict[int, _Extent] = {}
    entered: set[int] = set()
    stack = [drawn]
    while stack:
        top = stack[-1]
        inner = top.inner
        fresh = [each for _, each in inner if id(each) not in known and id(each) not in entered]
        if id(top) not in entered and fresh:
            entered.add(id(top))
            stack += fresh
            continue
        stack.pop()
        entered.discard(id(top))
        levels, nodes, paths = 0, top.width, top.letters
        for prefix, each in inner:
            extent = known.get(id(each), _Extent(0, 0, 0))
            levels = max(levels, extent.levels)
            nodes += extent.nodes
            paths += extent.paths + extent.nodes * prefix
        known[id(top)] = _Extent(levels + 1, nodes, paths)
    return known[id(drawn)]
