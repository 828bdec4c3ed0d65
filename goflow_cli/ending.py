"""How a run's end is told: the common part of `run`, `submit --wait`, `result` and `retry`."""

from __future__ import annotations

from goflow.backend import Run
from goflow.errors import Conflict
from goflow.told import Results
from goflow_cli import exit_codes
from goflow_cli.session import note, put_result


def print_end(
    backend: Results,
    run: Run,
    interrupted: bool = False,
    *,
    as_json: bool = False,
    kept: bool = True,
) -> int:
    """The result to stdout, or why there is none to stderr; the exit code of the run's end.

    With `as_json` stdout gets one JSON object instead: the run, and its result where there is one.
    What to do next is said only where the run is `kept`.
    """
    then = f"`goflow retry {run.id}` continues from there"
    if run.abandoned and not run.state.terminal:
        raise Conflict(
            f"run {run.id} was left unfinished by a process that is gone;"
            f" `goflow retry {run.id}` continues it"
        )
    if as_json:
        from goflow_cli.told import print_json, run_with_result

        print_json(run_with_result(backend, run))
    elif run.state == "succeeded":
        put_result(backend.result(run.id).data)
    elif run.state == "failed":
        note(f"goflow: run {run.id} failed: {run.error}")
        if kept:
            note(f"  `goflow show {run.id}` tells what happened\n  {then}")
    elif run.state == "stopped":
        note(f"goflow: run {run.id} was stopped" + (f"; {then}" if kept else ""))
    elif interrupted:
        note(f"goflow: run {run.id} was let go while it is {run.state}; {then}")
    else:
        note(f"goflow: run {run.id} is {run.state}")
    return exit_code(run, interrupted)


def exit_code(run: Run, interrupted: bool = False) -> int:
    """SPEC 4's code for where a run is."""
    if interrupted and run.state not in ("succeeded", "failed"):
        return exit_codes.INTERRUPTED
    return {
        "succeeded": exit_codes.DONE,
        "failed": exit_codes.FAILED,
        "stopped": exit_codes.STOPPED,
    }.get(run.state, exit_codes.TIMED_OUT)
