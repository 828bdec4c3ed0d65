"""`goflow explain RUN [NODE]`: why it is where it is, and what to do."""

from __future__ import annotations

import sys

import click
import msgspec

from goflow.drawing.text import wrap
from goflow.plan import Plan
from goflow.why import why_node, why_run
from goflow_cli.arguments import NodePath, run_argument
from goflow_cli.session import Asking, backend_option, json_option
from goflow_cli.table import clean
from goflow_cli.told import print_json
from goflow_cli.views.drawing import screen


@click.command()
@run_argument
@click.argument("node", type=NodePath(), required=False)
@backend_option
@json_option
def explain(run_id: str, node: str | None, backend: str | None, as_json: bool) -> int:
    """Say why RUN, or one NODE of it, is where it is, and what to do about it."""
    session = Asking(None, backend)
    store = session.backend
    run = session.run(run_id)
    plan = Plan.from_json(store.definition(run.flow, run.fingerprint).plan)
    path = None
    if node is None:
        reasons = why_run(store, plan, run)
    else:
        path, reasons = why_node(store, plan, run, node)
    if as_json:
        told = {"run_id": run.id, "state": run.state.value, "node": path}
        print_json(told | {"reasons": msgspec.to_builtins(reasons)})
        return 0
    for reason in reasons:
        _say(reason.text, "")
        if reason.todo:
            _say(reason.todo, "  ")
    return 0


def _say(text: str, indent: str) -> None:
    """A sentence, on a terminal wrapped between its words."""
    seen = screen(sys.stdout)
    cleaned = clean(text, seen.unicode)
    columns = max(20, seen.width - len(indent) - 2)
    lines = wrap(cleaned.split(), columns, columns) if sys.stdout.isatty() else [cleaned]
    for number, line in enumerate(lines):
        print(indent + ("  " if number else "") + line)
