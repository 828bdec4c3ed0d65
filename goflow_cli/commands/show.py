"""`goflow show RUN`: what happened."""

from __future__ import annotations

import time
from typing import Any

import click
import msgspec

from goflow.backend import Attempt, NodeRun, Run
from goflow.overview import Row, rows
from goflow.plan import Plan
from goflow_cli.arguments import run_argument
from goflow_cli.session import Session, backend_option, json_option
from goflow_cli.table import clean, duration, moment, print_table
from goflow_cli.told import print_json, run_json
from goflow_cli.waiting import patience

#: how many instances a person is shown; `--json` has them all
MOST_ROWS = 200


@click.command()
@run_argument
@click.option("--live", is_flag=True, help="Watch it until it ends.")
@backend_option
@json_option
def show(run_id: str, live: bool, backend: str | None, as_json: bool) -> int:
    """Show the state of RUN and of its nodes: times, attempts, errors."""
    session = Session(None, backend)
    store = session.backend
    run = session.run(run_id)
    plan = Plan.from_json(store.definition(run.flow, run.fingerprint).plan)
    if live and not run.state.terminal:
        from goflow_cli.watching import watch

        run = watch(store, plan, run_id, None, patience(run))
    recorded = store.nodes(run_id)
    listed = list(rows(plan, run, recorded))
    attempts = store.attempts(run_id)
    if as_json:
        print_json(_json(run, listed, attempts))
    else:
        _print(run, listed, recorded, attempts)
    return 0


def _json(run: Run, listed: list[Row], attempts: list[Attempt]) -> dict[str, Any]:
    return run_json(run) | {
        "nodes": msgspec.to_builtins(listed),
        "attempts": msgspec.to_builtins(attempts),
    }


def _print(run: Run, listed: list[Row], recorded: list[NodeRun], attempts: list[Attempt]) -> None:
    now = time.time()
    took = "" if run.started is None else f" {duration((run.finished or now) - run.started)}"
    print(f"{run.flow} {run.id}: {run.state}{took}")
    waited = (
        "" if run.started is None else f", first task after {duration(run.started - run.created)}"
    )
    rounds = f", round {run.round}" if run.round > 1 else ""
    print(f"created {moment(run.created)}{waited}{rounds}")
    if run.abandoned:
        print(f"its owner is gone: `goflow retry {run.id}` continues it")
    if run.error:
        print(f"error: {clean(run.error)}")
    print()
    tries: dict[str, list[Attempt]] = {}
    for attempt in attempts:
        tries.setdefault(attempt.path, []).append(attempt)
    table = [_row(row, now, tries.get(row.path, [])) for row in listed[:MOST_ROWS]]
    print_table(["NODE", "STATE", "TRIES", "STARTED", "TOOK", "ERROR"], table, state=1)
    if len(listed) > MOST_ROWS:
        print(f"... {len(listed) - MOST_ROWS} more (`--json` lists all)")
    for node in recorded:
        if node.state == "failed" and node.failure is not None and node.failure.detail:
            print(
                f"\n{node.path} failed at:\n{_printable(node.failure.detail)}{clean(str(node.failure))}"
            )
            break


def _row(row: Row, now: float, tries: list[Attempt]) -> list[str]:
    ended = row.finished or (now if row.state in ("running", "retrying") else None)
    took = "" if row.started is None or ended is None else duration(ended - row.started)
    count = max(len(tries), row.attempt)
    tried = str(count) if count > 1 or row.attempt else ""
    return [row.path, row.state.value, tried, moment(row.started), took, row.error or ""]


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() or c == "\n" else " " for c in text)
