"""Spans that user code makes in a node which runs here: told below the span of the attempt that is run again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING

from goflow.config import Config
from goflow_cli.session import note

if TYPE_CHECKING:
    from goflow.message import Task
    from goflow.plan import Plan
    from goflow.spans import Span

Within = Callable[["Plan", "Task"], AbstractContextManager[None]]


@contextmanager
def telling(config: Config) -> Iterator[Within]:
    """What a task is executed within. The spans are exported at the block's end, as `telemetry.traces` says; a
    collector that does not take them is told of, and they are gone. Raises ConfigError."""
    if not config.telemetry.on:
        yield lambda plan, task: nullcontext()
        return
    from goflow.exporting import exporter
    from goflow.tracing import check_sampler
    from goflow.userspans import UserSpans

    check_sampler()
    there = exporter(config)
    made: list[Span] = []
    try:
        yield UserSpans(made.append).within
    finally:
        trouble = there.export(made, _refused) if made else ""
        if trouble:
            note(f"goflow: spans of this node were not told: {trouble}")


def _refused(span: Span, error: Exception) -> None:
    note(f"goflow: the span {span.name!r} cannot be told: {error}")
