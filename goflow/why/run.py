"""Why a run is where it is."""

from __future__ import annotations

from collections.abc import Sequence

from goflow.backend import Backend, NodeRun, Run
from goflow.plan import Plan
from goflow.state import NodeState, RunState
from goflow.why.reason import Reason, retrying, some
from goflow.why.workers import held, waits_for_worker


def why_run(store: Backend, plan: Plan, run: Run) -> list[Reason]:
    """The reasons, the decisive one first. Nodes are read only of a run on its way."""
    if run.state.terminal:
        return _ended(run)
    if run.abandoned:
        return [_abandoned(store, run)]
    nodes = store.nodes(run.id)
    moving = [n for n in nodes if n.state is NodeState.RUNNING and n.width is None]
    ready = [n for n in nodes if n.state is NodeState.READY]
    reasons = _situation(run, moving)
    reasons += held(store, run, plan, moving)
    reasons += retrying([n for n in nodes if n.state is NodeState.RETRYING])
    if ready and run.state is not RunState.PAUSED and run.ending is None:
        reasons.append(_ready(ready))
        reasons += waits_for_worker(store, run, len(ready))
    elif ready and run.ending is not None:
        handlers = [n for n in ready if n.path.startswith("~")]
        if handlers:
            reasons.append(_ready(handlers))
            reasons += waits_for_worker(store, run, len(handlers))
    return reasons or [Reason("between", "it is between two steps", "ask again")]


def _ended(run: Run) -> list[Reason]:
    if run.state is RunState.SUCCEEDED:
        todo = f"`goflow result {run.id}` prints what came out"
        return [Reason("succeeded", f"it succeeded at {_at(run)}", todo)]
    again = f"`goflow retry {run.id}` continues it from its unfinished nodes"
    if run.state is RunState.STOPPED:
        return [Reason("stopped", f"somebody stopped it at {_at(run)}", again)]
    failure = run.failure
    if failure is None or not failure.node:
        return [Reason("failed", f"it failed: {run.error}", f"{again} once the cause is mended")]
    look = f"`goflow logs {run.id} {failure.node}` shows what it printed"
    if not failure.node.endswith("]"):
        look += f", `goflow debug {run.id} {failure.node}` runs it again here"
    return [
        Reason("failed", f"{failure.node} failed: {failure}", look),
        Reason("failed", f"so the run failed at {_at(run)}", f"{again} once the cause is mended"),
    ]


def _at(run: Run) -> str:
    from goflow.why.reason import moment

    return moment(run.finished) if run.finished is not None else "its end"


def _abandoned(store: Backend, run: Run) -> Reason:
    text = "it is abandoned: the process that executed it is gone"
    key = (run.flow, run.fingerprint)
    if any(worker.alive and key in worker.flows for worker in store.workers()):
        return Reason("abandoned", f"{text}; a worker of its flow takes it over now")
    todo = f"`goflow retry {run.id}` continues it from its unfinished nodes; so does a worker of its flow"
    return Reason("abandoned", text, todo)


def _situation(run: Run, moving: Sequence[NodeRun]) -> list[Reason]:
    """What holds for the run as a whole."""
    if run.state is RunState.PAUSED:
        still = f"; {len(moving)} running may finish" if moving else ""
        text = f"it is paused: nothing starts{still}"
        return [Reason("paused", text, f"`goflow resume {run.id}`")]
    if run.state is RunState.STOPPING:
        return [Reason("stopping", "it is being stopped: what runs is killed, then finally_ runs")]
    if run.ending is not None:
        cause = f" ({run.error})" if run.error else ""
        what = "its running nodes finish" if moving else "its handlers run"
        return [
            Reason(
                "ending", f"it is about to end as {run.ending}{cause}: {what}, nothing new starts"
            )
        ]
    return []


def _ready(ready: Sequence[NodeRun]) -> Reason:
    many = "1 ready node waits" if len(ready) == 1 else f"{len(ready)} ready nodes wait"
    return Reason("ready", f"{many} for a worker: {some([node.path for node in ready])}")
