"""`goflow submit FLOW`: a run for the backend's workers."""

from __future__ import annotations

import click

from goflow.client import Client
from goflow.errors import UnknownFlow
from goflow.plan import Plan
from goflow_cli.arguments import FlowName
from goflow_cli.data import read_data, read_query
from goflow_cli.session import Session, backend_option, json_option, note
from goflow_cli.told import print_json, run_json
from goflow_cli.waiting import Seconds, WaitCommand, tell_worker, wait_watching

HINT = (
    "A flow is known once goflow.toml names its file under `flows`, or `goflow worker FILE` or"
    " `goflow run FILE` has run"
)


@click.command(cls=WaitCommand)
@click.argument("flow", type=FlowName())
@click.option("--data", metavar="D", help="Text, - for stdin, @FILE for a file (@@x is @x).")
@click.option("--query", metavar="K=V", multiple=True, help="A query parameter; may be repeated.")
@click.option("--request-id", metavar="ID", help="The run id; the same id again is the same run.")
@click.option("--wait", type=Seconds(), metavar="[SECONDS]", help="Wait and print the result.")
@click.option("--server", metavar="URL", help="A goflow server, instead of a backend.")
@backend_option
@json_option
def submit(
    flow: str,
    data: str | None,
    query: tuple[str, ...],
    request_id: str | None,
    wait: float | None,
    server: str | None,
    backend: str | None,
    as_json: bool,
) -> int:
    """Hand a run of FLOW to the backend's workers and print its run id.

    With --wait the result goes to stdout and the run id to stderr.

    With --server it is handed to `goflow serve` over HTTP, signed where GOFLOW_SERVE_SECRET (or
    serve.secret) is that server's secret.
    """
    payload, options = read_data(data), read_query(query)
    session = Session(None, backend)
    if server is not None:
        from goflow_cli.afar import submit_afar

        if backend is not None:
            raise click.UsageError("--server and --backend: expected one of them")
        return submit_afar(
            server,
            session.config,
            flow,
            payload,
            query=options,
            run_id=request_id,
            wait=wait,
            as_json=as_json,
        )
    client = Client(session.backend, config=session.config)
    run = client.submit(
        flow, payload, run_id=request_id, query=options, plan=_plan(session, client, flow)
    )
    if wait is not None:
        note(run.id)
        return wait_watching(session, run, wait, as_json=as_json)
    if as_json:
        print_json(run_json(run))
    else:
        print(run.id)
    tell_worker(session.backend, run)
    return 0


def _plan(session: Session, client: Client, flow: str) -> Plan:
    """The local file's definition where goflow.toml names one, else the one registered last."""
    named = session.flows() if session.config.flows else {}
    local = named.get(flow)
    if local is None:
        try:
            return client.plan(flow)
        except UnknownFlow:
            known = [definition.flow for definition in session.backend.definitions()]
            raise UnknownFlow(flow, [*named, *known], HINT) from None
    from goflow.host import register

    register(session.backend, local)
    return local.plan
