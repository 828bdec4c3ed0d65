"""Prometheus' text form: https://prometheus.io/docs/instrumenting/exposition_formats/."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from math import inf

#: label names and values
Labels = Mapping[str, str]


def family(name: str, kind: str, text: str) -> Iterator[str]:
    """What comes before the samples of a name."""
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} {kind}"


def sample(name: str, labels: Labels, value: float) -> str:
    """One line."""
    inner = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
    return f"{name}{{{inner}}} {value}" if inner else f"{name} {value}"


def histogram(
    name: str, labels: Labels, counts: Iterable[tuple[float, int]], total: float
) -> Iterator[str]:
    """The lines of one histogram: `counts` by upper bound in seconds, the last infinite; `total` is the sum of all
    that was observed."""
    so_far = 0
    for bound, count in counts:
        so_far += count
        edge = "+Inf" if bound == inf else f"{bound:g}"
        yield sample(f"{name}_bucket", {**labels, "le": edge}, so_far)
    yield sample(f"{name}_sum", labels, total)
    yield sample(f"{name}_count", labels, so_far)


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
