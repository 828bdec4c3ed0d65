"""`goflow trace RUN`: where its time went."""

from __future__ import annotations

import sys
import time

import click
import msgspec

from goflow.drawing.look import paint
from goflow.plan import Plan
from goflow.waterfall import waterfall
from goflow.wholesale import nodes_and_tries
from goflow_cli.arguments import run_argument
from goflow_cli.session import Asking, backend_option, json_option, note
from goflow_cli.told import print_json, run_json
from goflow_cli.views.drawing import screen
from goflow_cli.views.waterfall import page


@click.command()
@run_argument
@backend_option
@json_option
def trace(run_id: str, backend: str | None, as_json: bool) -> int:
    """Show RUN as a waterfall: waiting and running times, and the critical path (marked *).

    Nodes with many instances in a foreach are summed up by percentiles. Time between the rounds of a
    retried run is left out.
    """
    session = Asking(None, backend)
    store = session.backend
    run = session.run(run_id)
    plan = Plan.from_json(store.definition(run.flow, run.fingerprint).plan)
    nodes, tries = nodes_and_tries(store, run_id)
    fall = waterfall(plan, run, nodes, tries, time.time())
    if as_json:
        told = {"critical_path": [], "bars": []} if fall is None else msgspec.to_builtins(fall)
        print_json(run_json(run) | told)
        return 0
    if fall is None:
        note(f"goflow: nothing of run {run.id} has started yet; `goflow explain {run.id}` says why")
        return 0
    seen = screen(sys.stdout)
    for line in page(run, fall, seen):
        print(paint(line, seen.color))
    return 0
