"""`goflow graph`: a flow drawn, and a run painted on it."""

from __future__ import annotations

import sys

import click

from goflow.client import Client
from goflow.errors import Conflict, UnknownFlow
from goflow.overview import overview
from goflow.plan import Plan
from goflow_cli.arguments import FlowOrFile, RunId
from goflow_cli.session import Session, backend_option, is_path
from goflow_cli.views.drawing import FORMATS, draw, screen


@click.command()
@click.argument("flow_or_file", type=FlowOrFile())
@click.option("--flow", "name", metavar="NAME", help="Which flow, where the file has several.")
@click.option("--run", "run_id", metavar="RUN", type=RunId(), help="Paint this run on it.")
@click.option("--format", type=click.Choice(FORMATS), default="terminal", show_default=True)
@backend_option
def graph(
    flow_or_file: str, name: str | None, run_id: str | None, format: str, backend: str | None
) -> int:
    """Draw the flow in a file, or a flow by its name; with --run its states and times.

    \b
    goflow graph flow.py
    goflow graph kyc --run 01m85... --format svg > kyc.svg
    """
    is_file = is_path(flow_or_file)
    session = Session(flow_or_file if is_file else None, backend)
    if run_id is None:
        text = draw(
            _plan(session, flow_or_file, name, is_file), format=format, screen=screen(sys.stdout)
        )
    else:
        store = session.backend
        run = session.run(run_id)
        plan = Plan.from_json(store.definition(run.flow, run.fingerprint).plan)
        wanted = name or (None if is_file else flow_or_file)
        if wanted is not None and wanted != run.flow:
            raise Conflict(f"run {run.id} is one of the flow {run.flow!r}, not of {wanted!r}")
        painted = overview(plan, run, store.nodes(run_id))
        text = draw(plan, painted, format=format, screen=screen(sys.stdout))
    click.echo(text.rstrip("\n"), color=True)
    return 0


def _plan(session: Session, flow_or_file: str, name: str | None, is_file: bool) -> Plan:
    """The plan of a file's flow; of goflow.toml's flow of that name; or the one registered last."""
    if is_file:
        return session.flow(flow_or_file, name).plan
    local = session.flows()
    if flow_or_file in local:
        return local[flow_or_file].plan
    try:
        return Client(session.backend, config=session.config).plan(flow_or_file)
    except UnknownFlow:
        known = [d.flow for d in session.backend.definitions()]
        raise UnknownFlow(
            flow_or_file, [*local, *known], "`goflow flows` lists them; a file works too"
        ) from None
