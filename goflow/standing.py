"""How a store stands: its flows, queues and workers now, and how fast things went lately.

Everything is read off what a store keeps anyway (queues, workers, counters by flow), so looking costs the same
however many runs there are. Rates are differences of two looks.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Mapping

import msgspec

from goflow.backend import Backend, Run, WorkerInfo
from goflow.figures import PLACES, Accountable, Figures, Name

#: how many of the newest runs are told
NEWEST = 20


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """One look at a store, at the time `at`. `figures` is None where the backend keeps none."""

    at: float
    flows: tuple[str, ...]
    workers: tuple[WorkerInfo, ...]
    waiting: dict[str, int]
    figures: Figures | None
    runs: tuple[Run, ...]


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """What happened between two looks, a second: runs that ended, those of them that failed, attempts, and
    retries. Of the attempts the median and the 90th percentile of the seconds they ran and waited before,
    as upper bounds that are powers of two ms; None where there was none."""

    runs: float
    failed: float
    attempts: float
    retries: float
    ran_p50: float | None = None
    ran_p90: float | None = None
    waited_p50: float | None = None
    waited_p90: float | None = None


class FlowStanding(msgspec.Struct, frozen=True, kw_only=True):
    """A flow: runs on their way, ready tasks that wait and for how long the first of them has (seconds),
    workers that know it, and its rates (None with a single look, or a backend without figures)."""

    flow: str
    active: int | None
    waiting: int
    oldest: float | None
    workers: int
    rates: Rates | None


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """The whole store. `busy` of `slots` task slots of living workers are taken; `seconds` is how far apart
    the looks were from which the rates come."""

    at: float
    seconds: float
    busy: int
    slots: int
    waiting: int
    oldest: float | None
    rates: Rates | None
    flows: tuple[FlowStanding, ...]
    workers: tuple[WorkerInfo, ...]
    runs: tuple[Run, ...]


class Watcher:
    """Looks again and again; its rates are over the last `window` seconds."""

    def __init__(self, store: Backend, window: float = 10.0) -> None:
        self._store = store
        self._window = window
        self._looks: deque[Look] = deque()

    def look(self) -> Standing:
        """Look now. Raises BackendError."""
        now = look(self._store)
        self._looks.append(now)
        while len(self._looks) > 2 and now.at - self._looks[1].at >= self._window:
            self._looks.popleft()
        before = self._looks[0] if len(self._looks) > 1 else None
        return standing(now, before)


def look(store: Backend) -> Look:
    """Read what there is to read, once."""
    waiting: dict[str, int] = {}
    for (flow, _), count in store.waiting().items():
        waiting[flow] = waiting.get(flow, 0) + count
    return Look(
        at=time.time(),
        flows=tuple(definition.flow for definition in store.definitions()),
        workers=tuple(store.workers()),
        waiting=waiting,
        figures=store.figures() if isinstance(store, Accountable) else None,
        runs=tuple(store.runs(limit=NEWEST)),
    )


def standing(now: Look, before: Look | None) -> Standing:
    """How things stand, with rates since an earlier look."""
    alive = [worker for worker in now.workers if worker.alive]
    seconds = now.at - before.at if before is not None else 0.0
    done = _done(now.figures, before.figures if before is not None else None)
    active = now.figures.active if now.figures is not None else {}
    oldest = now.figures.oldest if now.figures is not None else {}
    names = sorted({*now.flows, *now.waiting, *(flow for flow, n in active.items() if n)})
    flows = [
        FlowStanding(
            flow=flow,
            active=active.get(flow, 0) if now.figures is not None else None,
            waiting=now.waiting.get(flow, 0),
            oldest=max(0.0, now.at - oldest[flow]) if flow in oldest else None,
            workers=sum(any(flow == name for name, _ in worker.flows) for worker in alive),
            rates=None if done is None else _rates(_of(done, flow), seconds),
        )
        for flow in names
    ]
    flows.sort(key=lambda each: (-each.waiting, -(each.active or 0), each.flow))
    return Standing(
        at=now.at,
        seconds=seconds,
        busy=sum(len(worker.doing) for worker in alive),
        slots=sum(worker.concurrency for worker in alive),
        waiting=sum(now.waiting.values()),
        oldest=max((f.oldest for f in flows if f.oldest is not None), default=None),
        rates=None if done is None else _rates(_sums(done), seconds),
        flows=tuple(flows),
        workers=now.workers,
        runs=now.runs,
    )


def _done(now: Figures | None, before: Figures | None) -> dict[Name, int] | None:
    """What was counted between two looks."""
    if now is None or before is None:
        return None
    told = {name: value - before.numbers.get(name, 0) for name, value in now.numbers.items()}
    return {name: value for name, value in told.items() if value > 0}


def _of(done: Mapping[Name, int], flow: str) -> dict[str, int]:
    return {name: value for (of, name), value in done.items() if of == flow}


def _sums(done: Mapping[Name, int]) -> dict[str, int]:
    sums: dict[str, int] = {}
    for (_, name), value in done.items():
        sums[name] = sums.get(name, 0) + value
    return sums


def _rates(done: Mapping[str, int], seconds: float) -> Rates:
    span = max(seconds, 1e-3)

    def rate(names: Iterator[str]) -> float:
        return sum(done.get(name, 0) for name in names) / span

    return Rates(
        runs=rate(name for name in done if name.startswith("runs:")),
        failed=rate(iter(("runs:failed",))),
        attempts=rate(name for name in done if name.startswith("attempts:")),
        retries=rate(iter(("retries",))),
        ran_p50=_percentile(done, "attempt", 50),
        ran_p90=_percentile(done, "attempt", 90),
        waited_p50=_percentile(done, "wait", 50),
        waited_p90=_percentile(done, "wait", 90),
    )


def _percentile(done: Mapping[str, int], name: str, percent: int) -> float | None:
    """The seconds that so many percent of what was counted did not exceed."""
    counts = [done.get(f"{name}:{at}", 0) for at in range(PLACES)]
    total, seen = sum(counts), 0
    for at, count in enumerate(counts):
        seen += count
        if total and seen * 100 >= total * percent:
            return 2.0**at / 1000
    return None
