"""How long a run took: one definition for `runs`, `show`, `trace`, `top`, the dashboard and `goflow_run_seconds`."""

from __future__ import annotations

from collections.abc import Sequence

from goflow.backend import Run


def took(run: Run, now: float, gaps: Sequence[tuple[float, float]] | None = None) -> float:
    """Seconds from when a run was accepted until it ended, or until `now`; what it waited is part of it.

    Between the rounds of a retried run it lies idle. Who has its attempts gives these `gaps` (`pieces.gaps_of`),
    and they are left out; else only the present round is told, from its first task.
    """
    end = run.finished if run.finished is not None else now
    begin = run.created
    if gaps is None:
        gaps = ()
        if run.round > 1:
            begin = run.started if run.started is not None else end
    return max(0.0, end - begin - sum(stop - start for start, stop in gaps))
