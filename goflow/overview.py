"""What people see of a run: its plan and what is recorded of it, combined. Pure, no store, no terminal.

A run records only what it has reached, one instance per scope. People ask about the flow they wrote:
`overview` answers per node of the definition, with the instances inside a foreach summed up (rows.py: each
by itself). It also names what is not recorded: a node the run has not come to is `waiting`, one it went past
(another condition was chosen, the run failed) is `skipped`, one that a stop kept from running is `stopped`.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from goflow.backend import NodeRun, Run
from goflow.nodepath import encode_key
from goflow.notable import Notable
from goflow.plan import Graph, Node, Plan
from goflow.settled import failed_around, settled, unreached_state
from goflow.state import NodeState
from goflow.tally import Tally, tally
from goflow.unnested import Computation, computed


class NodeSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A node of the definition over all its instances in a run.

    `instances` counts those that exist or will (its scopes are open), `counts` says in which states they
    are. Of a branch, `width` and `done` count the scopes it opened and those that are complete; `chosen`
    holds the condition keys chosen so far, None before any choice. Times are seconds since the epoch:
    the first start and, when nothing of it is on its way any more, the last end.
    """

    path: str
    state: NodeState
    instances: int = 1
    counts: dict[NodeState, int] = {}
    attempt: int = 0
    started: float | None = None
    finished: float | None = None
    error: str | None = None
    width: int | None = None
    done: int = 0
    chosen: frozenset[str] | None = None


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """A run as people see it at the time `now`.

    `nodes` is by static path (`each[]/verify`) in the order of `Plan.walk`; `handlers` are the recorded
    `~on_failure` and `~finally`; `counts` are the recorded and expected instances of plain nodes by
    state (a node in a scope that is not open counts once). `notable` are the instances worth a line when there
    is room for few: failed ones, those on their way, then the latest that ended.
    """

    run: Run
    now: float
    nodes: dict[str, NodeSummary]
    handlers: tuple[NodeRun, ...] = ()
    counts: dict[NodeState, int] = {}
    notable: tuple[NodeRun, ...] = ()


def overview(
    plan: Plan, run: Run, recorded: Iterable[NodeRun], now: float | None = None
) -> Overview:
    """Combine a plan with what a run has recorded: something that can be gone through twice.

    Nothing of it is kept but sums and a few instances, so a run of any width takes the same memory.
    `now` is what running nodes are timed against (the present by default). Nodes that the plan does not
    have (the run was moved to another definition) are left out.
    """
    notable = Notable()
    nodes = recorded
    if unreached_state(run) != NodeState.WAITING:
        failed = failed_around(recorded, run)
        done = NodeState.SUCCEEDED
        nodes = (n if n.state is done else settled(n, run, failed) for n in recorded)
    tallies = tally(plan, map(notable.seen, nodes))
    told: dict[str, NodeSummary] = {}
    counts: dict[NodeState, int] = {}
    computed(_summarise(plan.graph, "", 1, unreached_state(run), tallies, told, counts))
    return Overview(
        run=run,
        now=time.time() if now is None else now,
        nodes=told,
        handlers=tuple(notable.handlers),
        counts={state: counts[state] for state in NodeState if counts.get(state)},
        notable=notable.chosen(),
    )


def _summarise(
    graph: Graph,
    prefix: str,
    scopes: int,
    unreached: NodeState,
    tallies: dict[str, Tally],
    told: dict[str, NodeSummary],
    counts: dict[NodeState, int],
) -> Computation[None]:
    """Summaries of a graph's nodes and of all inside them. `scopes` is how many copies of it exist."""
    for node in graph.in_order:
        path = prefix + node.name
        recorded = tallies.get(path, _EMPTY)
        of = dict(recorded.counts)
        missing = scopes - sum(of.values())
        if missing > 0:
            of[unreached] = of.get(unreached, 0) + missing
        state = _combined(of) if of else unreached
        moving = state not in _ENDED
        conditional = node.kind == "conditional"
        decided = bool(recorded.opened or of.get(NodeState.SUCCEEDED))
        told[path] = NodeSummary(
            path=path,
            state=state,
            instances=max(scopes, sum(of.values())),
            counts=of,
            attempt=recorded.attempt,
            started=recorded.started,
            finished=None if moving else recorded.finished,
            error=recorded.error,
            width=recorded.width,
            done=recorded.done,
            chosen=frozenset(recorded.choices) if conditional and decided else None,
        )
        if node.kind == "node":
            for each, count in (of or {state: 1}).items():
                counts[each] = counts.get(each, 0) + count
        for mark, inner, copies in _inside(node, recorded):
            inner_unreached = unreached
            if not copies and unreached == NodeState.WAITING and _passed(state, of, decided):
                inner_unreached = NodeState.SKIPPED
            yield _summarise(inner, path + mark, copies, inner_unreached, tallies, told, counts)


def _inside(node: Node, recorded: Tally) -> Iterator[tuple[str, Graph, int]]:
    """What follows the path of each graph inside a node, the graph, and how many copies are open."""
    for key, inner in node.dags.items():
        if node.kind == "conditional":
            encoded = encode_key(key)
            yield f"[{encoded}]/", inner, recorded.choices.get(encoded, 0)
        elif node.kind == "foreach":
            yield "[]/", inner, recorded.width or 0
        else:
            yield "/", inner, recorded.opened


def _passed(state: NodeState, counts: dict[NodeState, int], decided: bool) -> bool:
    """Whether a graph inside a node, of which no copy is open, will not be opened any more."""
    undecided = (NodeState.WAITING, NodeState.READY, NodeState.RETRYING)
    if state in (NodeState.SKIPPED, NodeState.STOPPED):
        return True
    return decided and not any(counts.get(each) for each in undecided)


def _combined(counts: dict[NodeState, int]) -> NodeState:
    """One state for many instances: the one that wants attention first."""
    for state in _ATTENTION:
        if counts.get(state):
            return state
    if counts.get(NodeState.SUCCEEDED):
        return NodeState.RUNNING if counts.get(NodeState.WAITING) else NodeState.SUCCEEDED
    return NodeState.WAITING if counts.get(NodeState.WAITING) else NodeState.SKIPPED


_EMPTY: Final = Tally()
_ENDED: Final = frozenset(
    {NodeState.SUCCEEDED, NodeState.FAILED, NodeState.SKIPPED, NodeState.STOPPED}
)
_ATTENTION: Final = (
    NodeState.FAILED,
    NodeState.RUNNING,
    NodeState.RETRYING,
    NodeState.READY,
    NodeState.STOPPED,
)
