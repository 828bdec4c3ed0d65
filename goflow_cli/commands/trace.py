"""`goflow trace RUN`: where its time went."""

from __future__ import annotations

import sys
import time

import click
import msgspec

from goflow.backend import Run
from goflow.drawing.look import BOLD, DIM, LOOKS, Line, paint
from goflow.drawing.text import clean, cut, width
from goflow.plan import Plan
from goflow.state import NodeState
from goflow.waterfall import Bar, bars, critical_path
from goflow_cli.arguments import run_argument
from goflow_cli.session import Session, backend_option, json_option, note
from goflow_cli.table import duration
from goflow_cli.told import print_json, run_json
from goflow_cli.views.drawing import Screen, screen

#: columns of the longest name
NAMES = 32


@click.command()
@run_argument
@backend_option
@json_option
def trace(run_id: str, backend: str | None, as_json: bool) -> int:
    """Show RUN as a waterfall: waiting and running times, and the critical path (marked *).

    Nodes with many instances in a foreach are summed up in one line.
    """
    session = Session(None, backend)
    store = session.backend
    run = session.run(run_id)
    plan = Plan.from_json(store.definition(run.flow, run.fingerprint).plan)
    nodes = store.nodes(run_id)
    now = time.time()
    told = bars(plan, nodes, now)
    path = critical_path(plan, nodes)
    if as_json:
        print_json(run_json(run) | {"critical_path": path, "bars": msgspec.to_builtins(told)})
        return 0
    if not told:
        note(f"goflow: nothing of run {run.id} has started yet; `goflow explain {run.id}` says why")
        return 0
    seen = screen(sys.stdout)
    for line in _page(run, told, now, seen):
        print(paint(line, seen.color))
    return 0


def _page(run: Run, told: list[Bar], now: float, seen: Screen) -> list[Line]:
    begin = min(run.created, *(bar.ready for bar in told))
    end = max(run.finished or now, *(bar.finished for bar in told))
    names = min(NAMES, max(width(_name(bar, seen)) for bar in told))
    times = max(width(_times(bar)) for bar in told)
    columns = max(10, seen.width - names - times - 5)
    scale = columns / max(end - begin, 1e-6)
    lines: list[Line] = [
        [(run.flow, BOLD), (f"  {run.id}  {run.state}  {duration(end - begin)}", "")],
        [(" " * (names + 3) + _ruler(end - begin, columns), DIM)],
    ]
    lines += [_row(bar, begin, scale, names, columns, seen) for bar in told]
    wait, work = ("░", "█") if seen.unicode else (".", "#")
    lines += [[], [(f"{wait} waits for a worker   {work} runs   * critical path", DIM)]]
    if any(bar.count > 1 for bar in told):
        lines.append([("of many instances: median / 95th percentile / longest", DIM)])
    return lines


def _row(bar: Bar, begin: float, scale: float, names: int, columns: int, seen: Screen) -> Line:
    name = cut(_name(bar, seen), names, "…" if seen.unicode else "~")
    at, start, stop = (round((t - begin) * scale) for t in (bar.ready, bar.started, bar.finished))
    at, start = min(at, columns - 1), min(start, columns - 1)
    stop = max(min(stop, columns), start + 1)
    wait, work = ("░", "█") if seen.unicode else (".", "#")
    sgr = LOOKS[NodeState(bar.state)].sgr if bar.state in set(NodeState) else ""
    return [
        (name + " " * (names - width(name)), BOLD if bar.critical else ""),
        (" * " if bar.critical else "   ", BOLD),
        (" " * at, ""),
        (wait * (start - at), DIM),
        (work * (stop - start), sgr),
        (" " * (columns - stop) + "  ", ""),
        (_times(bar), DIM),
    ]


def _times(bar: Bar) -> str:
    """Waiting and running time; of many instances their spread."""
    if bar.count > 1:
        return " / ".join(map(duration, (bar.ran, bar.late, bar.slowest)))
    waited = f"{duration(bar.queued)} + " if bar.queued >= 0.0005 else ""
    return waited + duration(bar.ran)


def _name(bar: Bar, seen: Screen) -> str:
    many = f" x{bar.count}" if bar.count > 1 else ""
    return clean(bar.path, seen.unicode) + many


def _ruler(seconds: float, columns: int) -> str:
    """The beginning and the end of the time line."""
    right = duration(seconds)
    return "0" + " " * max(1, columns - 1 - len(right)) + right
