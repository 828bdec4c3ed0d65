"""`goflow worker`: take tasks until told to stop."""

from __future__ import annotations

import sys
import time

import click

from goflow.errors import BackendError, GoflowError, UnknownFlow
from goflow.message import Outcome
from goflow.patience import patiently
from goflow.worker import Worker
from goflow_cli.arguments import FlowName
from goflow_cli.session import Session, backend_option, note
from goflow_cli.watching import Echo


@click.command()
@click.argument("files", metavar="[FILE]...", nargs=-1)
@click.option("--concurrency", metavar="N", type=int, help="Tasks at a time (goflow.toml: 5).")
@click.option(
    "--flow", "names", metavar="NAME", type=FlowName(), multiple=True, help="Only these flows."
)
@backend_option
def worker(
    files: tuple[str, ...], concurrency: int | None, names: tuple[str, ...], backend: str | None
) -> int:
    """Take tasks of the flows in FILEs (else goflow.toml's) until stopped.

    SIGTERM or Ctrl-C drains: running tasks may finish within the grace period. A second one hands
    them back at once.
    """
    from goflow.host import serve_flows

    start = files[0] if files else None
    session = Session(start, backend, worker__concurrency=concurrency)
    store = patiently(lambda: session.backend, WorkerLog().troubled)
    flows = session.flows(files)
    for name in names:
        if name not in flows:
            raise UnknownFlow(name, flows)
    if not flows:
        raise GoflowError(
            "no flows to work on: give flow files, or name them under `flows` in goflow.toml"
        )
    chosen = [flow for name, flow in flows.items() if not names or name in names]

    def started(worker: Worker) -> None:
        shown = ", ".join(flow.name for flow in chosen)
        note(
            f"goflow worker: {shown} from {store.name},"
            f" {session.config.worker.concurrency} at a time (Ctrl-C drains)"
        )

    serve_flows(store, chosen, session.config, observer=WorkerLog(), started=started)
    note("goflow worker: drained")
    return 0


class WorkerLog(Echo):
    """One line for each failure and each trouble with the store; successes are silent."""

    def finished(self, outcome: Outcome, accepted: bool) -> None:
        super().finished(outcome, accepted)
        task = outcome.task
        if not accepted:
            _line(f"{task.run_id} {task.path}: finished too late, another worker has it")
        elif outcome.failure is not None:
            again = "" if outcome.retry_at is None else ", will be retried"
            _line(f"{task.run_id} {task.path}: {outcome.failure}{again}")

    def troubled(self, error: BackendError) -> None:
        _line(f"{error}; trying again")


def _line(text: str) -> None:
    print(time.strftime("%H:%M:%S"), text, file=sys.stderr, flush=True)
