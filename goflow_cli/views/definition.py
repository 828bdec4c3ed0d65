"""A flow's definition as JSON, with the states of a run in it where there is one."""

from __future__ import annotations

from typing import Any

import msgspec

from goflow.nodepath import encode_key
from goflow.overview import Overview
from goflow.plan import Plan

#: what a run adds to each node of the definition
PAINTED = (
    "state",
    "attempt",
    "started",
    "finished",
    "error",
    "instances",
    "counts",
    "width",
    "done",
)


def render(plan: Plan, overview: Overview | None = None) -> str:
    """`Plan.definition()`; with a run also `run`, and on every node how it stands there."""
    told = plan.definition()
    if overview is not None:
        run = overview.run
        told["run"] = {
            "run_id": run.id,
            "state": run.state.value,
            "created": run.created,
            "started": run.started,
            "finished": run.finished,
            "error": run.error,
            "round": run.round,
        }
        _paint(told, "", overview)
        for path, inner in told.get("deeper", {}).items():
            _paint(inner, f"{path}/", overview)
    return msgspec.json.format(msgspec.json.encode(told), indent=2).decode() + "\n"


def _paint(graph: dict[str, Any], prefix: str, overview: Overview) -> None:
    """On every node of a graph and of those told inside it: some hundred levels at most."""
    for node in graph.get("nodes", ()):
        path = prefix + node["name"]
        summary = overview.nodes[path]
        node |= {field: msgspec.to_builtins(getattr(summary, field)) for field in PAINTED}
        for key, inner in node.get("conditions", {}).items():
            _paint(inner, f"{path}[{encode_key(key)}]/", overview)
        if "dag" in node:
            _paint(node["dag"], f"{path}{'[]' if node['kind'] == 'foreach' else ''}/", overview)
