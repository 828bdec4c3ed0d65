"""How deep and how large a Dag is, told before anything walks through all of it.

A sub-DAG that is used twice on each of thirty levels is a billion nodes drawn in sixty lines, and one that is nested
a thousand levels deep has paths of a thousand names. Both are refused with a sentence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from goflow.dag import Dag

#: levels of DAGs inside DAGs; what is written down of a flow nests as deep, and so do its node paths
MAX_DEPTH: Final = 100
#: nodes of a flow, those of a sub-DAG counted wherever it is used; about 100 MB of functions and plan
MAX_NODES: Final = 1_000_000


def excess(dag: Dag) -> str | None:
    """What makes a Dag too much, as a sentence; None where it is not. Looks at each Dag once."""
    depth, nodes = _measure(dag)
    if depth > MAX_DEPTH:
        return (
            f"its DAGs are nested {depth} levels deep, at most {MAX_DEPTH} are allowed;"
            " put nodes side by side, or start another run from a node"
        )
    if nodes > MAX_NODES:
        return (
            f"it has {nodes:,} nodes, at most {MAX_NODES:,} are allowed; a foreach over items"
            " needs one node, however many there are"
        )
    return None


def _measure(dag: Dag) -> tuple[int, int]:
    """Its levels and nodes. One inside itself counts once: that is another mistake's to tell."""
    known: dict[int, tuple[int, int]] = {}
    entered: set[int] = set()
    stack = [dag]
    while stack:
        top = stack[-1]
        inner = top.inner
        fresh = [each for each in inner if id(each) not in known and id(each) not in entered]
        if id(top) not in entered and fresh:
            entered.add(id(top))
            stack += fresh
            continue
        stack.pop()
        entered.discard(id(top))
        found = [known[id(each)] for each in inner if id(each) in known]
        depth = 1 + max((levels for levels, _ in found), default=0)
        known[id(top)] = (depth, top.width + sum(nodes for _, nodes in found))
    return known[id(dag)]
