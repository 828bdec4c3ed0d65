"""Timing whole processes: two commands in turn, medians and the ratio pair by pair."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

FLOWS = Path(__file__).with_name("flows.py")
ONE_NODE = Path(__file__).parents[1] / "examples" / "myflow.py"
GOFLOW = [str(Path(sys.executable).with_name("goflow"))]


class Figure(NamedTuple):
    """One line of the table. `ours` and `yardstick` are medians in `unit`; `goal` is for their ratio."""

    name: str
    ours: float
    yardstick: float
    unit: str
    ratio: float
    goal: str
    holds: bool


def pairs(ours: Callable[[], float], other: Callable[[], float], runs: int) -> tuple[float, ...]:
    """Medians of both and of their ratio, measured in turn after one warm-up each.

    In turn, since these machines are shared: what slows one down slows the other too.
    """
    ours(), other()
    measured = [(ours(), other()) for _ in range(runs)]
    ratios = [a / b for a, b in measured]
    return (
        statistics.median(a for a, _ in measured),
        statistics.median(b for _, b in measured),
        statistics.median(ratios),
    )


def wall(command: Sequence[str], **environment: str) -> float:
    """Seconds a whole process takes. Raises CalledProcessError where it fails."""
    begun = time.perf_counter()
    subprocess.run(
        command,
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **environment},
    )
    return time.perf_counter() - begun


@contextmanager
def private_store() -> Iterator[dict[str, str]]:
    """The environment for a store in a temporary folder, two children and compiled bytecode."""
    with tempfile.TemporaryDirectory(prefix="goflow-bench-") as folder:
        yield {
            "GOFLOW_LOCAL_PATH": folder,
            "GOFLOW_WORKER_CONCURRENCY": "2",
            "PYTHONDONTWRITEBYTECODE": "",
        }
