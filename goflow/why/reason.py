"""A reason, and the words several kinds of them share."""

from __future__ import annotations

import time

import msgspec

from goflow.backend import NodeRun
from goflow.drawing.text import duration

#: how many node instances a sentence names
NAMED = 5


class Reason(msgspec.Struct, frozen=True):
    """Why something is where it is. `kind` is stable, for scripts; `text` is a sentence without a full stop;
    `todo` what to do about it, "" where nothing needs to be done."""

    kind: str
    text: str
    todo: str = ""


def some(paths: list[str]) -> str:
    """Some of these by name."""
    more = len(paths) - NAMED
    return ", ".join(paths[:NAMED]) + (f" and {more} more" if more > 0 else "")


def moment(seconds: float) -> str:
    """A time of day, with the date where it is another day's."""
    then = time.localtime(seconds)
    same = then[:3] == time.localtime()[:3]
    return time.strftime("%H:%M:%S" if same else "%Y-%m-%d %H:%M:%S", then)


def ago(seconds: float | None) -> str:
    """How long since then."""
    return duration(max(0.0, time.time() - seconds)) if seconds is not None else "a moment"


def retrying(nodes: list[NodeRun]) -> list[Reason]:
    """Nodes whose attempt failed and that come again."""
    reasons = []
    for node in sorted(nodes, key=lambda node: node.due or 0.0)[:NAMED]:
        late = node.due is None or node.due <= time.time()
        when = "now" if late or node.due is None else f"at {moment(node.due)}"
        text = f"{node.path} failed ({node.error}) and is tried again {when}"
        reasons.append(Reason("retrying", text))
    if len(nodes) > NAMED:
        reasons.append(Reason("retrying", f"{len(nodes) - NAMED} more nodes wait for a retry"))
    return reasons
