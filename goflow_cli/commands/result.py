"""`goflow result RUN`: what came out."""

from __future__ import annotations

import click

from goflow_cli.arguments import run_argument
from goflow_cli.ending import print_end
from goflow_cli.session import Session, backend_option, json_option
from goflow_cli.waiting import Seconds, WaitCommand, wait_watching


@click.command(cls=WaitCommand)
@run_argument
@click.option("--wait", type=Seconds(), metavar="[SECONDS]", help="Wait for the end.")
@backend_option
@json_option
def result(run_id: str, wait: float | None, backend: str | None, as_json: bool) -> int:
    """Print the result of RUN: its bytes exactly."""
    session = Session(None, backend)
    run = session.run(run_id)
    if wait is not None:
        return wait_watching(session, run, wait, as_json=as_json)
    return print_end(session.backend, run, as_json=as_json)
