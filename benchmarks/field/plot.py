"""`python -m benchmarks.field.plot RESULT.json...`: table and pictures of measured parts, into docs/."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

from benchmarks import plot
from benchmarks.field.figures import Figure
from benchmarks.field.peers import SHAPES

DOCS = Path(__file__).parents[2] / "docs"
RATES = ("single", "chains", "chain", "fan-1000", "fan-10000", "diamonds")
#: what is better the less there is of it
COSTS = {
    "idle": "a lone run on an idle fleet, median, ms",
    "start-up": "start of its command, ms",
    "memory": "memory of a worker, MiB",
    "redis-bytes": "Redis kept by 1 -> 1,000 -> 1, KiB",
}

Measured = Mapping[str, Mapping[str, Figure]]


def pictures(measured: Measured) -> dict[str, str]:
    """SVG by file name: rates, where more is better, and costs, where less is."""
    rates = [plot.Bars(f"{shape}, nodes/s", _values(measured, shape)) for shape in RATES]
    costs = [plot.Bars(COSTS[s], _values(measured, s), lower=True) for s in SHAPES if s in COSTS]
    return {
        "field.svg": plot.bars("nodes per second by shape and peer", _some(rates)),
        "field-costs.svg": plot.bars("latency, start-up and memory by peer", _some(costs)),
    }


def _values(measured: Measured, shape: str) -> dict[str, float]:
    found = {name: figures.get(shape) for name, figures in measured.items()}
    return {name: figure.value for name, figure in found.items() if figure and figure.value}


def _some(groups: list[plot.Bars]) -> list[plot.Bars]:
    return [group for group in groups if group.values]


def main(files: list[str]) -> None:
    """Read, print, draw."""
    from benchmarks.field.report import table

    measured: dict[str, dict[str, Figure]] = {}
    for file in files:
        for name, figures in json.loads(Path(file).read_text())["figures"].items():
            read = {shape: Figure(**figure) for shape, figure in figures.items()}
            measured.setdefault(name, {}).update(read)
    print(table(measured))
    for name, picture in pictures(measured).items():
        (DOCS / name).write_text(picture)


if __name__ == "__main__":
    main(sys.argv[1:])
