"""`goflow explain RUN [NODE]`: why it is where it is, and what to do."""

from __future__ import annotations

import time

import click

from goflow.backend import Backend, NodeRun, Run
from goflow.errors import UnknownNode
from goflow.overview import Row, rows
from goflow.plan import Plan
from goflow.rewind import find
from goflow.state import NodeState, RunState
from goflow_cli.arguments import run_argument
from goflow_cli.session import Session, backend_option, json_option
from goflow_cli.table import clean, duration, moment
from goflow_cli.told import print_json


@click.command()
@run_argument
@click.argument("node", required=False)
@backend_option
@json_option
def explain(run_id: str, node: str | None, backend: str | None, as_json: bool) -> int:
    """Say why RUN, or one NODE of it, is where it is, and what to do about it."""
    session = Session(None, backend)
    store = session.backend
    run = session.run(run_id)
    plan = Plan.from_json(store.definition(run.flow, run.fingerprint).plan)
    recorded = store.nodes(run_id)
    if node is None:
        lines = explain_run(store, run, recorded)
    else:
        lines = explain_node(store, plan, run, recorded, node)
    if as_json:
        print_json({"run_id": run.id, "node": node, "reasons": lines})
    else:
        print("\n".join(clean(line) for line in lines))
    return 0


def explain_run(store: Backend, run: Run, recorded: list[NodeRun]) -> list[str]:
    """Sentences about the run, the decisive one first."""
    again = f"`goflow retry {run.id}` continues it from its unfinished nodes"
    match run.state:
        case RunState.SUCCEEDED:
            return [f"it succeeded; `goflow result {run.id}` prints what came out"]
        case RunState.FAILED:
            return [f"it failed: {run.error}", f"{again} once the cause is mended"]
        case RunState.STOPPED:
            return ["somebody stopped it", again]
        case RunState.PAUSED:
            return [f"it is paused: nothing starts until `goflow resume {run.id}`"]
    if run.abandoned:
        return ["the process that executed it is gone", f"{again}; so does any worker of its flow"]
    lines = []
    if run.ending is not None:
        lines.append(f"it is about to end as {run.ending}: {run.error or 'its handlers run'}")
    moving = [n for n in recorded if n.state == NodeState.RUNNING and n.width is None]
    waiting = [n for n in recorded if n.state == NodeState.READY]
    retrying = [n for n in recorded if n.state == NodeState.RETRYING]
    lines += [
        f"{n.path} is running, for {duration(time.time() - (n.started or 0))}" for n in moving[:5]
    ]
    lines += [_retrying(n) for n in retrying[:5]]
    if waiting:
        many = "1 ready node waits" if len(waiting) == 1 else f"{len(waiting)} ready nodes wait"
        lines.append(f"{many} for a worker: {', '.join(n.path for n in waiting[:5])}")
        lines += _nobody(store, run)
    return lines or ["it is between two steps; ask again"]


def explain_node(
    store: Backend, plan: Plan, run: Run, recorded: list[NodeRun], name: str
) -> list[str]:
    """Sentences about one node instance."""
    listed = list(rows(plan, run, recorded))
    row = _row(plan, listed, recorded, name)
    node = next((n for n in recorded if n.path == row.path), None)
    match row.state:
        case NodeState.SUCCEEDED:
            took = (row.finished or 0) - (row.started or 0)
            return [f"{row.path} succeeded in attempt {row.attempt or 1}, in {duration(took)}"]
        case NodeState.FAILED:
            return [
                f"{row.path} failed: {row.error}",
                f"`goflow logs {run.id} {row.path}` shows what it printed",
                f"`goflow retry {run.id}` attempts it again",
            ]
        case NodeState.RUNNING if node is not None and node.width is not None:
            return [f"{row.path} is open: {node.done} of {node.width} scopes are complete"]
        case NodeState.RUNNING:
            return [f"{row.path} is running, for {duration(time.time() - (row.started or 0))}"]
        case NodeState.RETRYING if node is not None:
            return [_retrying(node)]
        case NodeState.READY:
            if run.state == RunState.PAUSED:
                return explain_run(store, run, recorded)
            return [f"{row.path} is ready and waits for a worker", *_nobody(store, run)]
        case NodeState.SKIPPED:
            return [f"{row.path} was skipped: {_skipped(run)}"]
        case NodeState.STOPPED:
            return [f"{row.path} was stopped with its run"]
    return [f"{row.path} waits for {_missing(plan, listed, row.path)}"]


def _row(plan: Plan, listed: list[Row], recorded: list[NodeRun], name: str) -> Row:
    by_path = {row.path: row for row in listed}
    if name in by_path:
        return by_path[name]
    ends = [row for row in listed if row.path.rpartition("/")[2] == name]
    if len(ends) == 1:
        return ends[0]
    if ends:
        return by_path[find(plan, recorded, name)]
    raise UnknownNode(name, by_path)


def _missing(plan: Plan, listed: list[Row], path: str) -> str:
    place = plan.locate(path)
    states = {row.path: row.state for row in listed}
    names = [place.scope.prefix + e.source for e in place.scope.graph.edges_in[place.node.name]]
    open_ones = [f"{n} ({states.get(n, NodeState.WAITING)})" for n in names]
    missing = [
        text for n, text in zip(names, open_ones, strict=True) if states.get(n) != "succeeded"
    ]
    if missing:
        return ", ".join(missing)
    return f"{place.scope.owner} to open" if place.scope.owner else "its turn"


def _retrying(node: NodeRun) -> str:
    due = "soon" if node.due is None else f"at {moment(node.due)}"
    return f"{node.path} failed ({node.error}) and is tried again {due}"


def _skipped(run: Run) -> str:
    if run.state == RunState.FAILED:
        return f"the run failed before it could start ({run.error})"
    return "its branch chose other keys"


def _nobody(store: Backend, run: Run) -> list[str]:
    """Why no worker takes its tasks, if none can."""
    if run.owner:
        return []
    alive = [worker for worker in store.workers() if worker.alive]
    if any((run.flow, run.fingerprint) in worker.flows for worker in alive):
        return ["workers of this flow are busy; `goflow workers` shows with what"]
    others = [fp for worker in alive for name, fp in worker.flows if name == run.flow]
    if others:
        return [
            f"no worker knows this definition ({run.fingerprint}): the workers have {others[0]};"
            f" start one with the old file, or stop the run and `goflow retry {run.id} --adopt`"
        ]
    return [f"no worker knows the flow {run.flow!r}: start `goflow worker FILE`"]
