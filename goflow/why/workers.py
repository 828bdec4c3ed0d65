"""Who could take a run's tasks, and why nobody does."""

from __future__ import annotations

from collections.abc import Sequence

from goflow.backend import Backend, NodeRun, Run, WorkerInfo
from goflow.drawing.text import duration
from goflow.nodepath import is_planned
from goflow.plan import Plan
from goflow.why.reason import NAMED, Reason, ago, some


def waits_for_worker(store: Backend, run: Run, ready: int) -> list[Reason]:
    """Why so many ready tasks of a run are not taken."""
    workers = store.workers()
    if run.owner:
        return [_owner(run, workers, ready)]
    alive = [worker for worker in workers if worker.alive]
    key = (run.flow, run.fingerprint)
    able = [worker for worker in alive if key in worker.flows]
    if able:
        return [_queued(store, run, able, ready)]
    others = sorted({fp for worker in alive for flow, fp in worker.flows if flow == run.flow})
    if others:
        text = (
            f"no worker knows this definition ({run.fingerprint}): the workers of"
            f" {run.flow!r} have {', '.join(others)}"
        )
        todo = (
            "start `goflow worker` with the file as it was, or stop the run and"
            f" `goflow retry {run.id} --adopt` moves it to the present one"
        )
        return [Reason("no worker knows this definition", text, todo)]
    text = f"no worker knows the flow {run.flow!r}"
    gone = [worker for worker in workers if not worker.alive and key in worker.flows]
    if gone:
        text += f"; {len(gone)} that did {'is' if len(gone) == 1 else 'are'} gone"
    return [Reason("no worker", text, "start `goflow worker FILE`")]


def _owner(run: Run, workers: Sequence[WorkerInfo], ready: int) -> Reason:
    """The one process that may execute it is there (else the run were abandoned)."""
    owner = next((worker for worker in workers if worker.id == run.owner), None)
    if owner is None:
        return Reason("busy", "the process that executes it is about to take them")
    held = f"{len(owner.doing)} of {owner.concurrency}"
    text = f"{_name(owner)} executes it, {held} tasks at a time are under way"
    todo = (
        "more at a time: `worker.concurrency` in goflow.toml" if ready > owner.concurrency else ""
    )
    return Reason("busy", text, todo)


def _queued(store: Backend, run: Run, able: Sequence[WorkerInfo], ready: int) -> Reason:
    """Workers know it: they are full, or will have it in a moment."""
    slots = sum(worker.concurrency for worker in able)
    busy = sum(min(len(worker.doing), worker.concurrency) for worker in able)
    waiting = store.waiting().get((run.flow, run.fingerprint), 0)
    ahead = max(0, waiting - ready)
    many = "1 worker" if len(able) == 1 else f"{len(able)} workers"
    if busy < slots:
        text = f"{many} of its flow with {slots - busy} of {slots} slots free: it will be taken now"
        return Reason("queued", text)
    behind = f"up to {ahead} tasks of other runs are before it, and " if ahead else ""
    text = f"{behind}all {slots} slots of {many} of its flow are busy"
    todo = "`goflow workers` shows with what; more workers or `--concurrency` make it go faster"
    return Reason("queued", text, todo)


def held(store: Backend, run: Run, plan: Plan, nodes: Sequence[NodeRun]) -> list[Reason]:
    """Nodes that workers hold; first those whose worker is lost."""
    if not nodes:
        return []
    workers = {worker.id: worker for worker in store.workers()}
    reasons, lost = [], []
    for node in nodes:
        worker = workers.get(node.worker)
        if node.worker and node.worker != run.owner and (worker is None or not worker.alive):
            lost.append(node)
    if lost:
        reasons.append(_lost(store, run, [node.path for node in lost]))
    for node in [node for node in nodes if node not in lost][:NAMED]:
        worker = workers.get(node.worker)
        where = f" on {_name(worker)}" if worker is not None else ""
        if worker is not None and worker.standing == "silent":
            text = f"{node.path} is running{where}: {silence(worker)}"
            reasons.append(Reason("running", text))
            continue
        reasons.append(
            Reason(
                "running",
                f"{node.path} is running{where}, for {ago(node.started)}{_limit(plan, node)}",
            )
        )
    more = len(nodes) - len(lost) - NAMED
    if more > 0:
        reasons.append(Reason("running", f"{more} more nodes are running"))
    return reasons


def _limit(plan: Plan, node: NodeRun) -> str:
    if not is_planned(node.path):
        return ""
    timeout = plan.locate(node.path).node.timeout
    return f" (its timeout is {duration(timeout)})" if timeout is not None else ""


def _lost(store: Backend, run: Run, paths: list[str]) -> Reason:
    verb = "is" if len(paths) == 1 else "are"
    text = f"{some(paths)} {verb} held by a worker that is gone"
    key = (run.flow, run.fingerprint)
    if any(worker.alive and key in worker.flows for worker in store.workers()):
        return Reason("worker lost", f"{text}; its lease runs out, then another worker takes over")
    return Reason(
        "worker lost", text, "start `goflow worker FILE`: it takes over when the lease is out"
    )


def silence(worker: WorkerInfo) -> str:
    """What to expect of a worker that gives no sign of life but holds its lease."""
    left = duration(max(0.0, worker.lease - worker.silent))
    return (
        f"last sign of life {duration(worker.silent)} ago; its tasks go to another worker in {left}"
        " unless it comes back"
    )


def _name(worker: WorkerInfo) -> str:
    return f"{worker.host}:{worker.pid}"
