"""`goflow debug RUN NODE`: a node again, here, on its recorded input."""

from __future__ import annotations

import click

from goflow_cli.arguments import NodePath, run_argument
from goflow_cli.session import Session, backend_option, json_option


@click.command()
@run_argument
@click.argument("node", type=NodePath())
@click.option("--pdb", is_flag=True, help="Stop where its function begins, and where it raises.")
@click.option(
    "--attempt", type=int, metavar="N", help="An earlier attempt, by its number, in its last round."
)
@click.option("--flow-file", metavar="FLOW.py", help="Where its code is now, if not where it was.")
@backend_option
@json_option
def debug(
    run_id: str,
    node: str,
    pdb: bool,
    attempt: int | None,
    flow_file: str | None,
    backend: str | None,
    as_json: bool,
) -> int:
    """Run NODE of RUN again in this process, with the input and context that its attempt had.

    Of the run's store it is given what that attempt read, whatever was written since.
    Nothing is recorded, and nothing follows: the run stays as it is. Retries and timeouts do not apply.

    \b
    goflow debug 01m85... resize
    goflow debug 01m85... 'each[alice]/verify' --pdb
    """
    from goflow.recorded import InStore
    from goflow_cli.again import execute, flow_of
    from goflow_cli.spans import telling

    session = Session(flow_file, backend)
    recorded = InStore(session.backend, session.run(run_id))
    flow = flow_of(session, recorded, flow_file)
    with telling(session.config) as within:
        return execute(
            recorded, flow, node, pdb=pdb, as_json=as_json, number=attempt, within=within
        )
