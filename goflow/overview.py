"""What people see of a run: its plan and what is recorded of it, combined. Pure, no store, no terminal.

A run records only what it has reached, one instance per scope. People ask about the flow they wrote:
`overview` answers per node of the definition, with the instances inside a foreach summed up, and
`rows` per instance. Both also name what is not recorded: a node the run has not come to is `waiting`,
one it went past (another condition was chosen, the run failed) is `skipped`, one that a stop kept from
running is `stopped`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

import msgspec

from goflow.backend import NodeRun, Run
from goflow.message import FINALLY, ON_FAILURE
from goflow.nodepath import around, encode_key, is_join
from goflow.plan import Graph, Node, Plan
from goflow.state import NodeState, RunState
from goflow.tally import Tally, tally
from goflow.unnested import Computation, Walk, computed, flattened

#: how many instances of each sort `Overview.notable` keeps: more than any terminal shows
NOTABLE: Final = 100


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
    state (a node in a scope that is not open counts once). `notable` are the instances worth a line when there is room for few: failed ones, those on
    their way, then the latest that ended.
    """

    run: Run
    now: float
    nodes: dict[str, NodeSummary]
    handlers: tuple[NodeRun, ...] = ()
    counts: dict[NodeState, int] = {}
    notable: tuple[NodeRun, ...] = ()


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A node instance as `goflow show --json` lists it."""

    path: str
    state: NodeState
    attempt: int = 0
    started: float | None = None
    finished: float | None = None
    error: str | None = None


def overview(
    plan: Plan, run: Run, recorded: Iterable[NodeRun], now: float | None = None
) -> Overview:
    """Combine a plan with what a run has recorded: something that can be gone through twice.

    Nothing of it is kept but sums and a few instances, so a run of any width takes the same memory.
    `now` is what running nodes are timed against (the present by default). Nodes that the plan does not
    have (the run was moved to another definition) are left out.
    """
    notable = _Notable()
    nodes = recorded
    if _unreached(run) != NodeState.WAITING:
        failed = _failed(recorded)
        done = NodeState.SUCCEEDED
        nodes = (n if n.state is done else _settled(n, run, failed) for n in recorded)
    tallies = tally(plan, map(notable.seen, nodes))
    told: dict[str, NodeSummary] = {}
    counts: dict[NodeState, int] = {}
    computed(_summarise(plan.graph, "", 1, _unreached(run), tallies, told, counts))
    return Overview(
        run=run,
        now=time.time() if now is None else now,
        nodes=told,
        handlers=tuple(notable.handlers),
        counts={state: counts[state] for state in NodeState if counts.get(state)},
        notable=notable.chosen(),
    )


def rows(plan: Plan, run: Run, recorded: Sequence[NodeRun]) -> Iterator[Row]:
    """The recorded instances in their order, then those to come in scopes that are known.

    A scope is known when it is open, or when its condition was decided against (its nodes are then
    `skipped`). The joins the engine adds (`each[alice]`, `~result`) are listed only where they failed.
    """
    failed = _failed(recorded)
    seen: dict[str, NodeRun] = {}
    for node in recorded:
        if is_join(node.path) and node.state != NodeState.FAILED:
            continue
        node = seen[node.path] = _settled(node, run, failed)
        yield Row(
            path=node.path,
            state=node.state,
            attempt=node.attempt,
            started=node.started,
            finished=node.finished,
            error=node.error,
        )
    yield from flattened(_unseen(plan.graph, "", _unreached(run), seen))


def _unreached(run: Run) -> NodeState:
    """The state of a node that the run has not come to."""
    end = run.state if run.state.terminal else run.ending
    if end == RunState.STOPPED or run.state == RunState.STOPPING:
        return NodeState.STOPPED
    return NodeState.WAITING if end is None else NodeState.SKIPPED


def _failed(recorded: Iterable[NodeRun]) -> frozenset[str]:
    """The paths of everything around a failed instance: what cannot complete because of it."""
    return frozenset(around(n.path for n in recorded if n.state == NodeState.FAILED))


def _settled(node: NodeRun, run: Run, failed: frozenset[str]) -> NodeRun:
    """The instance with a state that can be true now that the run has ended, or is about to.

    A store may leave ready tasks and open branches of an ended run as they were.
    """
    unreached = _unreached(run)
    if unreached == NodeState.WAITING or node.path.startswith("~"):
        return node
    pending = (NodeState.WAITING, NodeState.READY, NodeState.RETRYING)
    open_branch = node.state == NodeState.RUNNING and node.width is not None
    if open_branch and node.path in failed:
        return msgspec.structs.replace(node, state=NodeState.FAILED)
    if node.state in pending or (run.state.terminal and node.state == NodeState.RUNNING):
        return msgspec.structs.replace(node, state=unreached)
    return node


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


class _Notable:
    """The instances worth a line, picked while all go by; never many more are kept."""

    def __init__(self) -> None:
        self.handlers: list[NodeRun] = []
        self._failed: list[NodeRun] = []
        self._active: list[NodeRun] = []
        self._ended: list[NodeRun] = []

    def seen(self, node: NodeRun) -> NodeRun:
        """Look at one, and hand it on."""
        if node.path in (ON_FAILURE, FINALLY):
            self.handlers.append(node)
        if node.state == NodeState.FAILED:
            if len(self._failed) < NOTABLE:
                self._failed.append(node)
        elif is_join(node.path):
            pass
        elif node.state in (NodeState.RUNNING, NodeState.RETRYING):
            _keep(self._active, node, _by_start)
        elif node.finished is not None:
            _keep(self._ended, node, _by_end)
        return node

    def chosen(self) -> tuple[NodeRun, ...]:
        """Failed ones, those on their way by their start, then the latest that ended."""
        active = sorted(self._active, key=_by_start)[:NOTABLE]
        ended = sorted(self._ended, key=_by_end)[:NOTABLE]
        return (*self._failed, *active, *ended)


def _by_start(node: NodeRun) -> tuple[bool, float]:
    return node.width is not None, node.started or 0.0


def _by_end(node: NodeRun) -> tuple[bool, float]:
    return False, -(node.finished or 0.0)


def _keep(
    nodes: list[NodeRun], node: NodeRun, order: Callable[[NodeRun], tuple[bool, float]]
) -> None:
    """Add one; once there are ten times as many as anybody sees, forget the last in order."""
    nodes.append(node)
    if len(nodes) >= 10 * NOTABLE:
        nodes.sort(key=order)
        del nodes[NOTABLE:]


def _unseen(graph: Graph, prefix: str, unreached: NodeState, seen: dict[str, NodeRun]) -> Walk[Row]:
    for node in graph.in_order:
        path = prefix + node.name
        record = seen.get(path)
        if record is None:
            yield Row(path=path, state=unreached)
            continue
        for head, inner, chosen in _scopes(node, record):
            state = unreached if chosen else NodeState.SKIPPED
            yield _unseen(inner, head, state, seen)


def _scopes(node: Node, record: NodeRun) -> Iterator[tuple[str, Graph, bool]]:
    """The known scopes of a recorded branch or sub-DAG, and whether each is open."""
    opened = record.width is not None
    if node.kind == "conditional" and (opened or record.state == NodeState.SUCCEEDED):
        chosen = set(record.keys or ())
        for key, inner in node.dags.items():
            encoded = encode_key(key)
            yield f"{record.path}[{encoded}]/", inner, encoded in chosen
    elif node.kind == "foreach" and opened:
        keys = record.keys if record.keys is not None else map(str, range(record.width or 0))
        for key in keys:
            yield f"{record.path}[{key}]/", node.dags[""], True
    elif node.kind == "sub_dag" and opened:
        yield f"{record.path}/", node.dags[""], True


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
