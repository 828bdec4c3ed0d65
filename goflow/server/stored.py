"""The figures that live in the store, as Prometheus reads them: the same from every server.

What is read does not grow with the runs that are kept: counters, queues, workers.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from math import inf
from typing import Final

from goflow.backend import Backend
from goflow.figures import PLACES, Accountable, Figures
from goflow.server.exposition import family, histogram, sample

#: upper bounds of the buckets, in seconds
_BOUNDS: Final = (*(2**at / 1000 for at in range(PLACES - 1)), inf)
#: name, what is observed, and its name among the store's figures
_DURATIONS: Final = (
    ("goflow_run_seconds", "Time from submit to end of runs.", "run"),
    ("goflow_attempt_seconds", "Time that attempts at nodes took.", "attempt"),
    ("goflow_queue_wait_seconds", "Time that ready tasks waited for a worker.", "wait"),
)
_ENDS: Final = ("succeeded", "failed", "stopped")


def stored(backend: Backend) -> Iterator[str]:
    """Every line."""
    flows = [each.flow for each in backend.definitions()]
    yield from _queues(backend, flows)
    yield from _workers(backend)
    if isinstance(backend, Accountable):
        yield from _figures(backend.figures(), flows)


def _queues(backend: Backend, flows: list[str]) -> Iterator[str]:
    waiting: Counter[str] = Counter(dict.fromkeys(flows, 0))
    for (flow, _), count in backend.waiting().items():
        waiting[flow] += count
    yield from family("goflow_tasks_waiting", "gauge", "Ready tasks that no worker holds.")
    for flow, count in sorted(waiting.items()):
        yield sample("goflow_tasks_waiting", {"flow": flow}, count)


def _workers(backend: Backend) -> Iterator[str]:
    alive = [worker for worker in backend.workers() if worker.alive]
    yield from family("goflow_workers", "gauge", "Workers that are alive.")
    yield sample("goflow_workers", {}, len(alive))
    yield from family("goflow_worker_slots", "gauge", "Tasks that all workers can hold at a time.")
    yield sample("goflow_worker_slots", {}, sum(worker.concurrency for worker in alive))
    yield from family("goflow_tasks_running", "gauge", "Tasks that workers say they hold.")
    yield sample("goflow_tasks_running", {}, sum(len(worker.doing) for worker in alive))


def _figures(figures: Figures, flows: list[str]) -> Iterator[str]:
    names = sorted(
        {*flows, *figures.active, *figures.oldest, *(flow for flow, _ in figures.numbers)}
    )
    now = time.time()
    yield from family("goflow_oldest_task_age_seconds", "gauge", "Age of the oldest waiting task.")
    for flow in names:
        age = max(0.0, now - figures.oldest[flow]) if flow in figures.oldest else 0.0
        yield sample("goflow_oldest_task_age_seconds", {"flow": flow}, age)
    yield from family("goflow_runs_active", "gauge", "Runs that have not ended.")
    for flow in names:
        yield sample("goflow_runs_active", {"flow": flow}, figures.active.get(flow, 0))
    for metric, text, figure in (
        ("goflow_runs_total", "Runs that ended, by state.", "runs"),
        ("goflow_attempts_total", "Attempts at nodes that ended, by state.", "attempts"),
    ):
        yield from family(metric, "counter", text)
        for flow in names:
            for state in _ENDS:
                count = figures.numbers.get((flow, f"{figure}:{state}"), 0)
                yield sample(metric, {"flow": flow, "state": state}, count)
    yield from family("goflow_retries_total", "counter", "Attempts that another one followed.")
    for flow in names:
        yield sample(
            "goflow_retries_total", {"flow": flow}, figures.numbers.get((flow, "retries"), 0)
        )
    for metric, text, figure in _DURATIONS:
        yield from family(metric, "histogram", text)
        for flow in names:
            counts = [figures.numbers.get((flow, f"{figure}:{at}"), 0) for at in range(PLACES)]
            total = figures.numbers.get((flow, f"{figure}:ms"), 0) / 1000
            yield from histogram(metric, {"flow": flow}, zip(_BOUNDS, counts, strict=True), total)
