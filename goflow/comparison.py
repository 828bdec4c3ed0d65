"""Two recordings of one request held side by side: what differs, and where that began.

A node that makes something else has everything after it make something else too. What helps is the node
that had the same inputs and yet differs: `Difference.origin` says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

import msgspec

from goflow.backend import NodeRun
from goflow.errors import UnknownNode
from goflow.nodepath import is_join
from goflow.payload import Payload
from goflow.plan import Plan
from goflow.recorded import Recorded
from goflow.state import NodeState, RunState

#: characters of a result that are shown
SHOWN = 60


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """A node instance that did not come to the same: how it was recorded, and how it went here.

    `origin` is False where something before it differs already; `code` says that its code is another.
    """

    path: str
    recorded: str
    here: str
    origin: bool = True
    code: bool = False


def differences(recorded: Recorded, here: Recorded) -> list[Difference]:
    """All of them, in the order the nodes became ready when they were recorded. Joins that goflow adds
    are left out: what they join is told. So is what one of them did not get to because it failed elsewhere."""
    found: dict[str, Difference] = {}
    for path in [*recorded.nodes, *(path for path in here.nodes if path not in recorded.nodes)]:
        if is_join(path):
            continue
        before, after = _outcome(recorded, path), _outcome(here, path)
        if before != after and not (_cut_off(recorded, before) or _cut_off(here, after)):
            found[path] = Difference(
                path=path,
                recorded=_told(before, after),
                here=_told(after, before),
                code=len({_digest(each, path) for each in (recorded, here)} - {""}) > 1,
            )
    return [
        msgspec.structs.replace(each, origin=not _caused(recorded.plan, path, found))
        for path, each in found.items()
    ]


def _digest(recorded: Recorded, path: str) -> str:
    node = recorded.nodes.get(path)
    return node.digest if node is not None else ""


_UNREACHED = "not reached"

_Outcome = tuple[str, Payload | None, str]


def _outcome(recorded: Recorded, path: str) -> _Outcome:
    node = recorded.nodes.get(path)
    return _state(node), recorded.output(path), _reason(node)


def _cut_off(recorded: Recorded, outcome: _Outcome) -> bool:
    """Whether the run ended before it could get there: which nodes that hits is a matter of chance."""
    return outcome[0] == _UNREACHED and recorded.run.state is not RunState.SUCCEEDED


def _state(node: NodeRun | None) -> str:
    """What has not come to an end counts as not reached, whatever it waits for."""
    ended = (NodeState.SUCCEEDED, NodeState.FAILED, NodeState.STOPPED)
    return node.state.value if node is not None and node.state in ended else _UNREACHED


def _reason(node: NodeRun | None) -> str:
    failed = node is not None and node.state is NodeState.FAILED
    return (node.error or "") if node is not None and failed else ""


def _told(outcome: _Outcome, other: _Outcome | None) -> str:
    state, output, reason = outcome
    if reason:
        return f"{state}: {reason}"
    if output is None:
        return state
    if other is not None and other[0] == state:
        return _excerpt(output, other[1])
    return f"{state} with {_excerpt(output, None)}"


def _excerpt(payload: Payload, other: Payload | None) -> str:
    """The beginning of a result; where another begins alike, from a little before they part."""
    data, start = payload.data, 0
    if other is not None and other.data != data:
        pairs = zip(data, other.data, strict=False)
        alike = next(
            (n for n, (a, b) in enumerate(pairs) if a != b), min(len(data), len(other.data))
        )
        start = max(0, alike - SHOWN // 3) if alike > SHOWN // 2 else 0
    text = data[start : start + SHOWN].decode(errors="replace")
    kind = f" ({payload.media_type})" if other is not None and other.data == data else ""
    more = len(data) - start - SHOWN
    return ("..." if start else "") + (text or "nothing") + ("..." if more > 0 else "") + kind


def _caused(plan: Plan, path: str, different: dict[str, Difference]) -> bool:
    """Whether something a node instance depends on differs too."""
    if path.startswith("~"):
        return len(different) > 1
    try:
        place = plan.locate(path)
    except UnknownNode:  # only here, where the flow is another
        return False
    if place.node.kind != "node":  # a branch comes to what its scopes come to
        inside = (f"{path}[", f"{path}/")
        if any(other.startswith(inside) for other in different):
            return True
    return any(before in different for before in _before(plan, path))


def _before(plan: Plan, path: str) -> Iterator[str]:
    """The nodes whose results a node instance got: those before it, and before each branch around it."""
    for place in chain((plan.locate(path),), plan.around(path)):
        for edge in place.scope.graph.edges_in[place.node.name]:
            yield place.scope.prefix + edge.source
