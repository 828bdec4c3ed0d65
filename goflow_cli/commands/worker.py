"""`goflow worker`: take tasks until told to stop."""

from __future__ import annotations

import gc

import click

from goflow.errors import GoflowError, UnknownFlow
from goflow.patience import patiently
from goflow.worker import Worker
from goflow_cli.arguments import FlowName
from goflow_cli.service_log import ServiceLog, WorkerLog
from goflow_cli.session import Session, backend_option


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

    SIGTERM, Ctrl-C or a terminal that closes drains: running tasks may finish within the grace period.
    A second signal hands them back at once.
    """
    from goflow.host import serve_flows

    start = files[0] if files else None
    session = Session(start, backend, worker__concurrency=concurrency)
    log = ServiceLog(session.config.logs.format)
    watching = WorkerLog(log)
    store = patiently(lambda: session.backend, watching.troubled, full=True)
    flows = session.flows(files)
    for name in names:
        if name not in flows:
            raise UnknownFlow(name, flows)
    if not flows:
        raise GoflowError(
            "no flows to work on: give flow files, or name them under `flows` in goflow.toml"
        )
    chosen = [flow for name, flow in flows.items() if not names or name in names]

    concurrency = session.config.worker.concurrency

    def started(worker: Worker) -> None:
        # What is loaded stays, so no collection need go through it: one that does writes to every page of it, and
        # children share those pages only until then. The price: garbage that imports have left stays as well
        gc.freeze()
        shown = ", ".join(flow.name for flow in chosen)
        log.say(
            "started",
            f"goflow worker: {shown} from {store.name}, {concurrency} at a time (Ctrl-C drains)",
            flows=[flow.name for flow in chosen],
            store=store.name,
            concurrency=concurrency,
        )

    serve_flows(store, chosen, session.config, observer=watching, started=started)
    watching.drained()
    return 0
