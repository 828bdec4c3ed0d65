"""How a run's end is told: the common part of `run`, `submit --wait`, `result` and `retry`."""

from __future__ import annotations

from goflow.backend import Backend, Run
from goflow.errors import Conflict
from goflow_cli import exit_codes
from goflow_cli.session import note, put_result


def print_end(backend: Backend, run: Run, interrupted: bool = False) -> int:
    """The result to stdout, or why there is none to stderr; the exit code of the run's end."""
    if run.state == "succeeded":
        put_result(backend.result(run.id).data)
        return exit_codes.DONE
    if run.state == "failed":
        note(f"goflow: run {run.id} failed: {run.error}")
        note(f"  see `goflow show {run.id}`; `goflow retry {run.id}` continues from there")
        return exit_codes.FAILED
    if run.state == "stopped":
        note(f"goflow: run {run.id} was stopped; `goflow retry {run.id}` continues from there")
        return exit_codes.INTERRUPTED if interrupted else exit_codes.STOPPED
    if run.abandoned:
        raise Conflict(
            f"run {run.id} was left unfinished by a process that is gone;"
            f" `goflow retry {run.id}` continues it"
        )
    note(f"goflow: run {run.id} is {run.state}")
    return exit_codes.TIMED_OUT
