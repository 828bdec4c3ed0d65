"""`goflow result RUN`: what came out."""

from __future__ import annotations

import click

from goflow.backend import Backend, Run
from goflow.errors import Conflict
from goflow.payload import Payload
from goflow.plan import Plan
from goflow.rewind import find
from goflow.told import value
from goflow_cli.arguments import NodePath, run_argument
from goflow_cli.ending import print_end
from goflow_cli.session import Asking, backend_option, json_option, put_result
from goflow_cli.told import print_json
from goflow_cli.waiting import Seconds, WaitCommand, wait_watching


@click.command(cls=WaitCommand)
@run_argument
@click.argument("node", type=NodePath(), required=False)
@click.option("--wait", type=Seconds(), metavar="[SECONDS]", help="Wait for the end.")
@backend_option
@json_option
def result(
    run_id: str, node: str | None, wait: float | None, backend: str | None, as_json: bool
) -> int:
    """Print the result of RUN, or what its node NODE recorded: the bytes exactly.

    NODE is a path, as `goflow show RUN` lists it, or a name that a single instance has.
    """
    if node is not None and wait is not None:
        raise click.UsageError(
            "--wait waits for a run's end; with NODE the result is what is there"
        )
    session = Asking(None, backend)
    run = session.run(run_id)
    if wait is not None:
        return wait_watching(session, run, wait, as_json=as_json)
    if node is not None:
        _tell(run, *_recorded(session.backend, run, node), as_json=as_json)
        return 0
    return print_end(session.backend, run, as_json=as_json)


def _recorded(store: Backend, run: Run, name: str) -> tuple[str, Payload]:
    """The path of a node instance and what it recorded. Raises UnknownNode, Conflict for a name that several share and where
    there is nothing."""
    plan = Plan.from_json(store.definition(run.flow, run.fingerprint).plan)
    nodes = {node.path: node for node in store.nodes(run.id)}
    path = find(plan, list(nodes.values()), name)
    payload = store.output(run.id, path)
    if payload is None:
        raise Conflict(
            f"node {path} of run {run.id} has recorded nothing: it is {nodes[path].state.value};"
            f" `goflow explain {run.id} {path}` says why"
        )
    return path, payload


def _tell(run: Run, path: str, payload: Payload, *, as_json: bool) -> None:
    if as_json:
        told = {"run_id": run.id, "node": path, "media_type": payload.media_type}
        print_json(told | {"result": value(payload)})
    else:
        put_result(payload.data)
