"""`goflow show RUN`: what happened."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import click

from goflow.backend import Attempt, Backend, NodeRun, Run
from goflow.message import Failure
from goflow.pieces import Gap, gaps_of
from goflow.plan import Plan
from goflow.rows import Row, rows
from goflow.state import NodeState
from goflow.took import took
from goflow.tries import counted
from goflow.wholesale import Listed
from goflow_cli.arguments import run_argument
from goflow_cli.session import Asking, backend_option, json_option
from goflow_cli.table import clean, duration, moment, print_table
from goflow_cli.told import print_json, run_json
from goflow_cli.views.drawing import screen
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
    session = Asking(None, backend)
    store = session.backend
    run = session.run(run_id)
    if live and not run.state.terminal:
        from goflow_cli.watching import watch

        run = watch(store, _plan(store, run), run_id, None, patience(run))
    if as_json:
        print_json(run_json(run), **details(store, run))
    else:
        tell(store, run)
    return 0


def details(store: Backend, run: Run) -> dict[str, Callable[[], Iterable[Any]]]:
    """The lists that `--json` tells of a run, each read when it is printed."""
    plan = _plan(store, run)
    return {
        "nodes": lambda: rows(plan, run, Listed(store, run.id)),
        "attempts": lambda: counted(store.attempts(run.id)),
    }


def tell(store: Backend, run: Run, tracebacks: int = 1) -> None:
    """What people are told of a run, with the tracebacks of so many of its failed nodes."""
    recorded = _Noted(Listed(store, run.id), tracebacks)
    listed = rows(_plan(store, run), run, recorded)
    shown = list(islice(listed, MOST_ROWS))
    more = sum(1 for _ in listed)
    _summary(run, gaps_of(recorded.branches.values(), recorded.tries))
    tries: dict[str, list[Attempt]] = {}
    for attempt in counted(recorded.tries):
        tries.setdefault(attempt.path, []).append(attempt)
    now = time.time()
    table = [_row(row, now, tries.get(row.path, [])) for row in shown]
    print_table(["NODE", "STATE", "TRIES", "STARTED", "TOOK", "ERROR"], table, state=1)
    if more:
        print(f"... {more} more (`--json` lists all)")
    _attempts([each for name in tries if len(tries[name]) > 1 for each in tries[name]])
    for path, failure in recorded.failures.items():
        print(f"\n{path} failed at:\n{_traceback(failure.detail)}{clean(str(failure))}")


class _Noted:
    """A run's node instances as they go by, of which only its branches and the first failures with a traceback are
    kept: a run of any width takes little memory."""

    def __init__(self, nodes: Listed, most: int) -> None:
        self.tries = nodes.tries
        self.branches: dict[str, NodeRun] = {}
        self.failures: dict[str, Failure] = {}
        self._nodes = nodes
        self._most = most

    def __iter__(self) -> Iterator[NodeRun]:
        for node in self._nodes:
            if node.width is not None:
                self.branches[node.path] = node
            for path, failure in failures((node,)):
                if failure.detail and len(self.failures) < self._most:
                    self.failures[path] = failure
            yield node


def _attempts(tries: list[Attempt]) -> None:
    """The single attempts of the nodes that took several."""
    if not tries:
        return
    print()
    changed = len({(each.path, each.digest) for each in tries}) > len({e.path for e in tries})
    head = ["ATTEMPT AT", "ROUND", "ATTEMPT", "STATE", "STARTED", "TOOK"]
    head += [*(["CODE"] if changed else []), "ERROR"]
    table = [
        [
            each.path,
            str(each.round),
            str(each.attempt),
            each.state,
            moment(each.started),
            duration(each.finished - each.started),
            *([each.digest] if changed else []),
            each.error or "",
        ]
        for each in tries[:MOST_ROWS]
    ]
    print_table(head, table, state=3, keep=2)
    if len(tries) > MOST_ROWS:
        print(f"... {len(tries) - MOST_ROWS} more (`--json` lists all)")


def failures(recorded: Iterable[NodeRun]) -> Iterator[tuple[str, Failure]]:
    """Why nodes failed for good, by path."""
    for node in recorded:
        if node.state is NodeState.FAILED and node.failure is not None:
            yield node.path, node.failure


def _plan(store: Backend, run: Run) -> Plan:
    return Plan.from_json(store.definition(run.flow, run.fingerprint).plan)


def _summary(run: Run, gaps: Sequence[Gap]) -> None:
    lasted = "" if run.started is None else f" {duration(took(run, time.time(), gaps))}"
    print(f"{run.flow} {run.id}: {run.state}{lasted}")
    waited = ""
    if run.started is not None and run.round > 1:
        waited = f", round {run.round} since {moment(run.started)}"
    elif run.started is not None:
        waited = f", first task after {duration(run.started - run.created)}"
    print(f"created {moment(run.created)}{waited}")
    if run.abandoned:
        print(f"abandoned: its owner is gone, `goflow retry {run.id}` continues it")
    if run.error:
        print(f"error: {clean(run.error)}")
    print()


def _row(row: Row, now: float, tries: list[Attempt]) -> list[str]:
    ended = row.finished or (now if row.state in ("running", "retrying") else None)
    took = "" if row.started is None or ended is None else duration(ended - row.started)
    # where a retry waits, or was to come when the run ended, `attempt` is one that has not begun
    begun = row.state == "running" or not tries
    count = max(len(tries), row.attempt) if begun else len(tries)
    return [row.path, row.state.value, str(count or ""), moment(row.started), took, row.error or ""]


def _traceback(detail: str) -> str:
    """Without the marks below lines that a terminal wraps: they would point at nothing."""
    lines = _printable(detail).splitlines(keepends=True)
    if not sys.stdout.isatty():
        return "".join(lines)
    columns = screen(sys.stdout).width
    kept = [
        line
        for before, line in zip(["", *lines], lines, strict=False)
        if len(before.rstrip()) <= columns or set(line.strip()) - set("^~")
    ]
    return "".join(kept)


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() or c == "\n" else " " for c in text)
