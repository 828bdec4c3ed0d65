"""The page of `goflow top`: a store at a glance."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from goflow.drawing.look import BOLD, DIM, RED, Line
from goflow.drawing.text import count, cut, cut_middle, duration, width
from goflow.standing import FlowStanding, Rates, Standing
from goflow.took import took
from goflow_cli.table import table
from goflow_cli.views.drawing import Screen

#: lines that each table gets at least, its head and the space before it included
LEAST: Final = 4
#: columns of a store's name at least, where it is cut so that the head is one line
_NAME: Final = 12
#: columns of a flow's name beside a worker
_KNOWN: Final = 16
#: columns of a run's id beside a node path at least, as many as a generated one has
_RUN_ID: Final = 20
#: flows that nothing is on its way of and that are listed; more are summed up
_IDLE: Final = 3
_FLOWS: Final = (
    *("FLOW", "ACTIVE", "WAITING", "OLDEST", "RUNS/S", "FAILED/S", "TASKS/S", "RETRIES/S"),
    *("RAN P50", "P90", "WAITED P50", "P90"),
)
_WORKERS: Final = ("WORKER", "STATE", "BUSY", "UP", "FLOWS", "DOING")
_RUNS: Final = ("RUN", "FLOW", "STATE", "TOOK", "ERROR")


def page(now: Standing, name: str, seen: Screen, trouble: str = "") -> list[Line]:
    """The lines of the page: no more than `seen.height`, where that is not 0. `name` is the store's,
    `trouble` what it says when it cannot be read."""
    lines = _head(now, name, seen, trouble)
    tables = [
        _flows(now.flows, seen),
        table(_WORKERS, _workers(now, seen), seen.width, 1, unicode=seen.unicode),
        table(_RUNS, _runs(now), seen.width, 2, unicode=seen.unicode),
    ]  # fmt: skip
    rooms = _rooms([len(each) + 1 for each in tables], seen.height - len(lines))
    for rows, room in zip(tables, rooms, strict=True):
        if seen.height and room < len(rows) + 1:
            left = len(rows) - (room - 2)
            rows = [*rows[: room - 2], [(f"... {left} more", DIM)]]
        if len(rows) > 1:
            lines += [[], *rows]
    return lines[: seen.height] if seen.height else lines


def _rooms(wanted: Sequence[int], lines: int) -> list[int]:
    """Lines for each table: what it wants, while there are that many; the first ones matter most."""
    rooms = [min(each, LEAST) for each in wanted]
    left = max(0, lines - sum(rooms))
    for number, each in enumerate(wanted):
        more = min(each - rooms[number], left)
        rooms[number] += more
        left -= more
    return rooms


def _head(now: Standing, name: str, seen: Screen, trouble: str) -> list[Line]:
    alive = sum(worker.alive for worker in now.workers)
    clock = time.strftime("%H:%M:%S", time.localtime(now.at))
    waits = f"{now.waiting} waiting"
    if now.oldest is not None:
        waits += f", the first for {duration(now.oldest)}"
    rest = [clock, _many(alive, "worker"), f"{now.busy}/{now.slots} busy", waits]
    room = seen.width - len("goflow top  ") - sum(3 + width(part) for part in rest)
    more = "…" if seen.unicode else "~"
    parts = [cut_middle(name, room, more) if room >= _NAME else name, *rest]
    lines: list[Line] = []
    for text in _flowing(parts, seen.width - len("goflow top  ")):
        lines.append([("goflow top  " if not lines else " " * 12, BOLD), (text, "")])
    if now.rates is not None:
        lines += [[(text, DIM)] for text in _flowing(_rates(now.rates), seen.width)]
    if trouble:
        lines.append([(cut(trouble, seen.width), RED)])
    return lines


def _rates(rates: Rates) -> list[str]:
    parts = [f"{_rate(rates.runs)} runs/s", f"{_rate(rates.failed)} failed/s"]
    parts += [f"{_rate(rates.attempts)} tasks/s", f"{_rate(rates.retries)} retries/s"]
    if rates.ran_p50 is not None:
        parts.append(f"ran p50 < {_took(rates.ran_p50)} p90 < {_took(rates.ran_p90)}")
        parts.append(f"waited p50 < {_took(rates.waited_p50)} p90 < {_took(rates.waited_p90)}")
    return parts


def _flowing(parts: Sequence[str], columns: int) -> list[str]:
    """Parts beside each other, as many in a line as fit."""
    lines: list[str] = []
    for part in parts:
        beside = f"{lines[-1]}   {part}" if lines else part
        if lines and width(beside) <= columns:
            lines[-1] = beside
        else:
            lines.append(cut(part, max(1, columns)))
    return lines


def _flows(flows: Sequence[FlowStanding], seen: Screen) -> list[Line]:
    """The table of flows; idle ones beyond a few are one line."""
    idle = [each for each in flows if _is_idle(each)]
    left = {each.flow for each in idle[_IDLE:]} if len(idle) > _IDLE + 1 else set()
    shown = [_flow(each) for each in flows if each.flow not in left]
    numbers = frozenset(range(1, len(_FLOWS)))
    lines = table(_FLOWS, shown, seen.width, numbers=numbers, unicode=seen.unicode)
    return [*lines, [(f"{len(left)} more idle flows", DIM)]] if left else lines


def _is_idle(each: FlowStanding) -> bool:
    rates = each.rates
    moved = rates is not None and (rates.runs or rates.failed or rates.attempts or rates.retries)
    return not (each.active or each.waiting or moved)


def _flow(each: FlowStanding) -> list[str]:
    rates = each.rates
    told = [
        each.flow,
        "" if each.active is None else count(each.active),
        count(each.waiting),
        "" if each.oldest is None else duration(each.oldest),
    ]
    if rates is None:
        return told + [""] * (len(_FLOWS) - len(told))
    told += map(_rate, (rates.runs, rates.failed, rates.attempts, rates.retries))
    spans = (rates.ran_p50, rates.ran_p90, rates.waited_p50, rates.waited_p90)
    return told + [f"<{_took(span)}" if span is not None else "" for span in spans]


def _doing(tasks: Sequence[str], seen: Screen) -> str:
    """What a worker does: in little room less of the run ids, so that the nodes are seen."""
    more = "…" if seen.unicode else "~"
    shown = []
    for task in tasks[:3]:
        run_id, _, path = task.partition("/")
        shown.append(f"{cut_middle(run_id, max(_RUN_ID, seen.width // 4), more)}/{path}")
    return ", ".join(shown) + (", ..." if len(tasks) > 3 else "")


def _workers(now: Standing, seen: Screen) -> list[list[str]]:
    return [
        [
            f"{worker.host}:{worker.pid}",
            worker.standing,
            f"{len(worker.doing)}/{worker.concurrency}",
            duration(worker.up(now.at)),
            _known(sorted({flow for flow, _ in worker.flows})),
            _doing(worker.doing, seen),
        ]
        for worker in sorted(now.workers, key=lambda each: (not each.alive, -len(each.doing)))
    ]


def _known(flows: Sequence[str]) -> str:
    """The flows of a worker in few columns: what it does matters more."""
    if not flows:
        return "(one run)"
    return cut(flows[0], _KNOWN) + (f" +{len(flows) - 1}" if len(flows) > 1 else "")


def _runs(now: Standing) -> list[list[str]]:
    told = []
    for run in sorted(now.runs, key=lambda run: run.state.terminal):
        lasted = duration(took(run, now.at)) if run.started is not None else ""
        state = "abandoned" if run.abandoned else run.state.value
        told.append([run.id, run.flow, state, lasted, run.error or ""])
    return told


def _rate(value: float) -> str:
    return f"{value:.1f}" if value < 100 else count(round(value))


def _took(seconds: float | None) -> str:
    return "" if seconds is None else duration(seconds)


def _many(number: int, what: str) -> str:
    return f"{number} {what}" + "s" * (number != 1)
