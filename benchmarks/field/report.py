"""The field as lines on a terminal, as a Markdown table and as JSON."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Mapping
from pathlib import Path

from benchmarks.field.figures import UNITS, Figure
from benchmarks.field.peers import PEERS, SHAPES, Peer

RESULTS = Path(__file__).parents[1] / "results"


def line(peer: Peer, figures: Mapping[str, Figure]) -> str:
    """One peer's figures, one a line."""
    lines = [f"{peer.name}: {peer.fleet}"]
    for shape, figure in figures.items():
        unit = UNITS.get(shape, "nodes/s")
        lines.append(f"  {shape:12} {text(figure):>16} {unit}{_costs(figure)}")
    return "\n".join(lines)


def text(figure: Figure | None) -> str:
    """A figure as a cell."""
    if figure is None:
        return "-"
    if figure.value is None:
        return figure.word
    shown = _number(figure.value)
    if figure.second is not None:
        shown += f" / {_number(figure.second)}"
    elif figure.most > 1.2 * figure.least:
        shown += f" ({_number(figure.least)}-{_number(figure.most)})"
    return f"{shown} ({figure.word})" if figure.word else shown


def table(measured: Mapping[str, Mapping[str, Figure]]) -> str:
    """All of them as Markdown, shapes in columns."""
    shapes = [shape for shape in SHAPES if any(shape in each for each in measured.values())]
    heads = [f"{shape}, {UNITS[shape]}" if shape in UNITS else shape for shape in shapes]
    lines = ["| peer | " + " | ".join(heads) + " |", "| --- |" + " ---: |" * len(shapes)]
    for name, figures in measured.items():
        cells = [text(figures.get(shape)) for shape in shapes]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def kept(measured: Mapping[str, Mapping[str, Figure]]) -> str:
    """Keep everything under benchmarks/results; answers the table and where it is."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / time.strftime("field-%Y%m%d-%H%M%S.json")
    record = {
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, {platform.python_version()}",
        "packages": {peer.name: peer.packages for peer in PEERS if peer.name in measured},
        "figures": {
            name: {shape: figure._asdict() for shape, figure in figures.items()}
            for name, figures in measured.items()
        },
    }
    path.write_text(json.dumps(record, indent=2))
    return f"{table(measured)}\n\n{path}"


def _number(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _costs(figure: Figure) -> str:
    if figure.redis_us is None or figure.worker_us is None:
        return ""
    return f"   (Redis {figure.redis_us:.0f} us, workers {figure.worker_us:.0f} us a node)"
