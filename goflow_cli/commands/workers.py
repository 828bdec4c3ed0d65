"""`goflow workers`: who is working on what."""

from __future__ import annotations

import time

import click
import msgspec

from goflow.why.workers import silence
from goflow_cli.session import Asking, backend_option, json_option, note
from goflow_cli.table import clean, duration, print_table
from goflow_cli.told import print_json


@click.command()
@backend_option
@json_option
def workers(backend: str | None, as_json: bool) -> int:
    """List the processes that take tasks, and what they hold."""
    found = Asking(None, backend).backend.workers()
    if as_json:
        print_json(msgspec.to_builtins(found))
        return 0
    if not found:
        note("goflow: no workers; `goflow worker FILE` starts one")
        return 0
    rows = [
        [
            f"{worker.host}:{worker.pid}",
            worker.standing,
            f"{len(worker.doing)}/{worker.concurrency}",
            duration(worker.up(time.time())),
            ", ".join(sorted({flow for flow, _ in worker.flows})) or "(one run)",
            ", ".join(worker.doing[:3]) + (", ..." if len(worker.doing) > 3 else ""),
        ]
        for worker in found
    ]
    print_table(["WORKER", "STATE", "BUSY", "UP", "FLOWS", "DOING"], rows)
    for worker in found:
        if worker.standing == "silent":
            print(f"{clean(worker.host)}:{worker.pid}: {silence(worker)}")
    return 0
