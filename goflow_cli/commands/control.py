"""`goflow pause`, `resume` and `stop`."""

from __future__ import annotations

import click

from goflow.backend import Action, Run
from goflow_cli.arguments import run_argument
from goflow_cli.session import Asking, backend_option, json_option, note
from goflow_cli.told import print_json, run_json
from goflow_cli.waiting import tell_worker


def _control(run_id: str, action: Action, backend: str | None, as_json: bool) -> Run:
    session = Asking(None, backend)
    session.run(run_id)
    run = session.backend.control(run_id, action)
    if as_json:
        print_json(run_json(run))
    else:
        note(f"goflow: run {run.id} is {run.state}")
    if action != "pause" and not run.state.terminal:
        tell_worker(session.backend, run)
    return run


@click.command()
@run_argument
@backend_option
@json_option
def pause(run_id: str, backend: str | None, as_json: bool) -> int:
    """Let the running nodes of RUN finish and start nothing more."""
    _control(run_id, "pause", backend, as_json)
    return 0


@click.command()
@run_argument
@backend_option
@json_option
def resume(run_id: str, backend: str | None, as_json: bool) -> int:
    """Go on with a paused RUN; harmless when it is not paused."""
    _control(run_id, "resume", backend, as_json)
    return 0


@click.command()
@run_argument
@backend_option
@json_option
def stop(run_id: str, backend: str | None, as_json: bool) -> int:
    """Start no further node of RUN and kill the running ones; its `finally_` still runs."""
    _control(run_id, "stop", backend, as_json)
    return 0
