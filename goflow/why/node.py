"""Why one node instance of a run is where it is."""

from __future__ import annotations

from collections.abc import Sequence

from goflow.backend import Backend, NodeRun, Run
from goflow.drawing.text import duration
from goflow.errors import UnknownNode
from goflow.glimpse import attempts_at
from goflow.plan import WINDOW, Plan
from goflow.rewind import find
from goflow.rows import Row, rows
from goflow.state import NodeState, RunState
from goflow.tries import counted
from goflow.why.reason import Reason, retrying
from goflow.why.run import why_run
from goflow.why.workers import held, waits_for_worker


def why_node(store: Backend, plan: Plan, run: Run, name: str) -> tuple[str, list[Reason]]:
    """The node path that a path or plain name means, and its reasons, the decisive one first.

    Raises UnknownNode, Conflict for a name that several share.
    """
    recorded = store.nodes(run.id, [name])
    if not recorded or recorded[0].state is NodeState.WAITING:
        recorded = store.nodes(run.id)
    listed = {row.path: row for row in rows(plan, run, recorded)}
    row = _row(plan, listed, recorded, name)
    node = next((each for each in recorded if each.path == row.path), None)
    return row.path, _reasons(store, plan, run, listed, row, node)


def _reasons(
    store: Backend, plan: Plan, run: Run, listed: dict[str, Row], row: Row, node: NodeRun | None
) -> list[Reason]:
    path = row.path
    match row.state:
        case NodeState.SUCCEEDED:
            took = duration((row.finished or 0) - (row.started or 0))
            text = f"{path} succeeded in {_attempt(store, run, row)}, in {took}"
            return [Reason("succeeded", text)]
        case NodeState.FAILED:
            return [
                _failed(store, run, row),
                *([] if run.state.terminal else why_run(store, plan, run)),
            ]
        case NodeState.RUNNING if run.abandoned:
            return why_run(store, plan, run)
        case NodeState.RUNNING if node is not None and node.width is not None:
            return [_open(plan, node)]
        case NodeState.RUNNING if node is not None:
            return held(store, run, plan, [node])
        case NodeState.RETRYING if node is not None:
            return retrying([node])
        case NodeState.READY:
            if run.abandoned or (
                run.state is not RunState.RUNNING and run.state != RunState.QUEUED
            ):
                return why_run(store, plan, run)
            ready = Reason("ready", f"{path} is ready and waits for a worker")
            return [ready, *waits_for_worker(store, run, 1)]
        case NodeState.SKIPPED:
            return [Reason("skipped", f"{path} was skipped: {_skipped(plan, run, listed, path)}")]
        case NodeState.STOPPED:
            todo = f"`goflow retry {run.id}` continues the run"
            return [Reason("stopped", f"{path} was stopped with its run", todo)]
    return [_waiting(plan, run, listed, path)]


def _row(plan: Plan, listed: dict[str, Row], recorded: Sequence[NodeRun], name: str) -> Row:
    if name in listed:
        return listed[name]
    ends = [row for path, row in listed.items() if path.rpartition("/")[2] == name]
    if len(ends) == 1:
        return ends[0]
    if ends:
        return listed[find(plan, recorded, name)]
    raise UnknownNode(name, listed)


def _attempt(store: Backend, run: Run, row: Row) -> str:
    """Which one it was. They are counted anew in each round, so of a run of several all are told, too."""
    tries = counted(attempts_at(store, run.id, row.path)) if run.round > 1 else []
    if len(tries) < 2:
        return f"attempt {row.attempt or 1}"
    last = tries[-1]
    return f"attempt {last.attempt} of round {last.round} ({len(tries)} tries in all)"


def _failed(store: Backend, run: Run, row: Row) -> Reason:
    which = _attempt(store, run, row)
    attempts = "" if which == "attempt 1" else f" in {which}"
    look = f"`goflow logs {run.id} {row.path}` shows what it printed"
    if not row.path.endswith("]"):
        look += f", `goflow debug {run.id} {row.path}` runs it again here"
    if run.state.terminal:
        look += f"; `goflow retry {run.id}` attempts it again in the run"
    return Reason("failed", f"{row.path} failed{attempts}: {row.error}", look)


def _open(plan: Plan, node: NodeRun) -> Reason:
    inside = plan.locate(node.path).node
    if inside.kind == "sub_dag":
        return Reason("open", f"{node.path} is open: its inner nodes are on their way")
    window = inside.max_parallel or WINDOW
    limit = ""
    if inside.kind == "foreach" and (node.width or 0) - node.done > window:
        limit = f", {window} at a time (max_parallel)"
    text = f"{node.path} is open: {node.done} of {node.width} scopes are complete{limit}"
    return Reason("open", text)


def _waiting(plan: Plan, run: Run, listed: dict[str, Row], path: str) -> Reason:
    """What is missing before it."""
    place = plan.locate(path)
    prefix, edges = place.scope.prefix, place.scope.graph.edges_in[place.node.name]
    missing = []
    for edge in edges:
        before = listed.get(prefix + edge.source)
        state = before.state if before is not None else NodeState.WAITING
        if state is not NodeState.SUCCEEDED:
            missing.append((prefix + edge.source, state))
    if missing:
        told = ", ".join(f"{name} ({state})" for name, state in missing)
        todo = f"`goflow explain {run.id} {missing[0][0]}` says why"
        return Reason("parents missing", f"{path} waits for {told}", todo)
    owner = place.scope.owner
    if not owner:
        return Reason("between", f"{path} is about to be ready", "ask again")
    around = listed.get(owner)
    if around is not None and around.state is NodeState.RUNNING:
        window = (place.scope.around and place.scope.around.max_parallel) or WINDOW
        text = f"{path} waits for its turn: {owner} has {window} scopes on their way at a time"
        return Reason("max_parallel", text, "a larger max_parallel lets more run at a time")
    todo = f"`goflow explain {run.id} {owner}` says why"
    return Reason("parents missing", f"{path} waits for {owner} to open", todo)


def _skipped(plan: Plan, run: Run, listed: dict[str, Row], path: str) -> str:
    for owner in () if path.startswith("~") else plan.around(path):
        row = listed.get(owner.path)
        if owner.node.kind == "conditional" and row is not None:
            decided = row.state in (NodeState.SUCCEEDED, NodeState.RUNNING)
            if decided:
                return f"the condition {owner.path} chose otherwise"
    if run.state is RunState.FAILED or run.ending is RunState.FAILED:
        return f"the run failed before it could start ({run.error})"
    return "the run went another way"
