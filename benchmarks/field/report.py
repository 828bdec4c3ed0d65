"""The field as lines on a terminal, and kept as JSON, as a Markdown table and as pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from benchmarks.field.figures import UNITS, Effort, Figure
from benchmarks.field.peers import PEERS, SHAPES, WATCHED, Peer
from benchmarks.field.plot import pictures
from benchmarks.machine import machine

Measured = Mapping[str, Mapping[str, Figure]]

#: shapes whose figure is the better the lower it is
LOWER = ("idle", *WATCHED)


def line(peer: Peer, figures: Mapping[str, Figure]) -> str:
    """One peer's figures, one a line."""
    lines = [f"{title(peer)}: {peer.fleet}"]
    for shape, figure in figures.items():
        unit = UNITS.get(shape, "nodes/s") if figure.value is not None else ""
        lines.append(f"  {shape:12} {text(figure):>16} {unit}{_costs(peer, figure)}")
    return "\n".join(lines)


def title(peer: Peer) -> str:
    """Its name with its version."""
    if not peer.packages:
        return (
            f"{peer.name} {version('goflow-cli')}" if peer.name.startswith("goflow") else peer.name
        )
    return f"{peer.name} {peer.packages[0].rpartition('@')[2].rpartition('=')[2]}"


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


def table(measured: Measured) -> str:
    """All of them as Markdown, shapes in columns. Bold is the best of those that keep their work in Redis."""
    shapes = [shape for shape in SHAPES if any(shape in each for each in measured.values())]
    heads = [f"{shape}, {UNITS[shape]}" if shape in UNITS else shape for shape in shapes]
    lines = ["| peer | " + " | ".join(heads) + " |", "| --- |" + " ---: |" * len(shapes)]
    best = {shape: _best(measured, shape) for shape in shapes}
    for peer in (peer for peer in PEERS if peer.name in measured):
        figures = measured[peer.name]
        cells = [
            f"**{text(figures[shape])}**" if best[shape] == peer.name else text(figures.get(shape))
            for shape in shapes
        ]
        lines.append(f"| {title(peer)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _best(measured: Measured, shape: str) -> str:
    values: dict[str, float] = {}
    for peer in PEERS:
        figure = measured.get(peer.name, {}).get(shape)
        if peer.redis and figure is not None and figure.value is not None:
            values[peer.name] = figure.value if shape not in LOWER else -figure.value
    return max(values, key=lambda name: values[name], default="")


def page(measured: Measured, effort: Effort) -> str:
    """What belongs into docs/performance.md."""
    fleets = "\n".join(f"* {title(peer)}: {peer.fleet}" for peer in PEERS if peer.name in measured)
    counts = "" if effort.share == 1 else f" of {effort.share:g} of the counts"
    return (
        f"{machine()}; medians of {effort.rounds} rounds at most{counts}. Rates are nodes a second.\n\n"
        f"{table(measured)}\n\n{fleets}\n"
    )


def keep(folder: Path, measured: Measured, effort: Effort) -> None:
    """Write everything into a folder; called again whenever a peer is done."""
    folder.mkdir(parents=True, exist_ok=True)
    record = {
        "machine": machine(),
        "packages": {peer.name: peer.packages for peer in PEERS if peer.name in measured},
        "figures": {
            name: {shape: figure._asdict() for shape, figure in figures.items()}
            for name, figures in measured.items()
        },
    }
    (folder / "field.json").write_text(json.dumps(record, indent=2))
    (folder / "field.md").write_text(page(measured, effort))
    for name, picture in pictures(measured).items():
        (folder / name).write_text(picture)


def _number(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _costs(peer: Peer, figure: Figure) -> str:
    if not peer.redis or figure.redis_us is None or figure.worker_us is None:
        return ""
    return f"   (Redis {figure.redis_us:.0f} us, workers {figure.worker_us:.0f} us a node)"
