"""Rows of figures as Markdown."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.plot import short

Row = dict[str, float]


def table(rows: Mapping[str, Row], head: str) -> str:
    """One line a row, under the keys of all rows; `-` where a row lacks one."""
    keys = list(dict.fromkeys(key for row in rows.values() for key in row))
    lines = [f"| {head} | " + " | ".join(keys) + " |", "| --- |" + " ---: |" * len(keys)]
    for name, row in rows.items():
        cells = [short(row[key]) if key in row else "-" for key in keys]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
