"""`goflow runs`: what ran."""

from __future__ import annotations

import time

import click

from goflow.errors import nearest
from goflow.state import RunState
from goflow.took import took
from goflow_cli.arguments import FlowName, RunId, limit_option
from goflow_cli.session import Asking, backend_option, json_option, note
from goflow_cli.table import duration, moment, print_table
from goflow_cli.told import print_json, run_json

#: characters of an error that a line has room for, in a pipe too; `show` and `--json` have all of it
LONGEST = 160


@click.command()
@click.option("--flow", metavar="F", type=FlowName(), help="Only runs of this flow.")
@click.option("--state", metavar="S", type=click.Choice([s.value for s in RunState]), help="In it.")
@limit_option
@click.option("--before", metavar="RUN", type=RunId(), help="Only older ones: the next page.")
@backend_option
@json_option
def runs(
    flow: str | None,
    state: str | None,
    limit: int,
    before: str | None,
    backend: str | None,
    as_json: bool,
) -> int:
    """List runs, the newest first."""
    session = Asking(None, backend)
    if before is not None:
        session.run(before)
    found = session.backend.runs(flow, None if state is None else RunState(state), limit, before)
    if as_json:
        print_json([run_json(run) for run in found])
        return 0
    if not found:
        known = [each.flow for each in session.backend.definitions()] if flow else []
        if flow and flow not in known:
            note(f"goflow: no runs of {flow!r}{nearest(flow, known)}")
        elif flow or state or before:
            note("goflow: no such runs")
        else:
            note(f"goflow: no runs yet in {session.backend.name}")
        return 0
    rows = []
    for run in found:
        lasted = duration(took(run, time.time())) if run.started else ""
        trouble = run.error or ("abandoned: its owner is gone, retry it" if run.abandoned else "")
        rows.append(
            [run.id, run.flow, run.state.value, moment(run.created), lasted, _short(trouble)]
        )
    print_table(["RUN", "FLOW", "STATE", "CREATED", "TOOK", "ERROR"], rows, state=2)
    return 0


def _short(error: str) -> str:
    return error if len(error) <= LONGEST else f"{error[: LONGEST - 4]} ..."
