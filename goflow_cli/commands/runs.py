"""`goflow runs`: what ran."""

from __future__ import annotations

import time

import click

from goflow.state import RunState
from goflow_cli.arguments import FlowName
from goflow_cli.session import Session, backend_option, json_option, note
from goflow_cli.table import duration, moment, print_table
from goflow_cli.told import print_json, run_json


@click.command()
@click.option("--flow", metavar="F", type=FlowName(), help="Only runs of this flow.")
@click.option("--state", metavar="S", type=click.Choice([s.value for s in RunState]), help="In it.")
@click.option("--limit", metavar="N", type=click.IntRange(1), default=20, show_default=True)
@backend_option
@json_option
def runs(
    flow: str | None, state: str | None, limit: int, backend: str | None, as_json: bool
) -> int:
    """List runs, the newest first."""
    session = Session(None, backend)
    found = session.backend.runs(flow, None if state is None else RunState(state), limit)
    if as_json:
        print_json([run_json(run) for run in found])
        return 0
    if not found:
        note(
            "goflow: no such runs"
            if flow or state
            else f"goflow: no runs yet in {session.backend.name}"
        )
        return 0
    rows = []
    for run in found:
        end = run.finished or time.time()
        took = duration(end - run.started) if run.started else ""
        trouble = run.error or ("abandoned: its owner is gone, retry it" if run.abandoned else "")
        rows.append([run.id, run.flow, run.state.value, moment(run.created), took, trouble])
    print_table(["RUN", "FLOW", "STATE", "CREATED", "TOOK", "ERROR"], rows, state=2)
    return 0
