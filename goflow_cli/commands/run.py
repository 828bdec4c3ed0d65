"""`goflow run FILE`: a flow to its end, here or on the backend's workers."""

from __future__ import annotations

import os
import sys

import click

from goflow.engine import request
from goflow.errors import Conflict
from goflow.runid import checked, new_run_id
from goflow_cli.data import read_data, read_query
from goflow_cli.session import Session, backend_option, json_option


@click.command()
@click.argument("file")
@click.option("--flow", "name", metavar="NAME", help="Which flow, where the file has several.")
@click.option("--data", metavar="D", help="Text, - for stdin, @FILE for a file (@@x is @x).")
@click.option("--query", metavar="K=V", multiple=True, help="A query parameter; may be repeated.")
@click.option("--request-id", metavar="ID", help="The run id; the same id again is the same run.")
@backend_option
@click.option("--detach", is_flag=True, help="Leave a background process with the run.")
@click.option("--ephemeral", is_flag=True, help="Keep nothing of the run.")
@json_option
def run(
    file: str,
    name: str | None,
    data: str | None,
    query: tuple[str, ...],
    request_id: str | None,
    backend: str | None,
    detach: bool,
    ephemeral: bool,
    as_json: bool,
) -> int:
    """Run the flow in FILE to its end and print its result.

    \b
    goflow run flow.py --data hallo
    goflow run flow.py --data @order.json --query dry=1
    """
    payload = read_data(data)
    options = read_query(query)
    run_id = new_run_id() if request_id is None else checked(request_id)
    if detach and ephemeral:
        raise click.UsageError("--detach and --ephemeral exclude each other: nothing would be left")
    session = Session(file, backend, ephemeral=ephemeral)
    if detach:
        from goflow_cli.detach import detached

        return detached(
            lambda accepted: _here(session, file, name, payload, options, run_id, accepted)
        )
    return _here(session, file, name, payload, options, run_id, None, as_json)
