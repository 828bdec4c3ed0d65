"""`goflow retry RUN`: a new round, from where the last one ended."""

from __future__ import annotations

import click

from goflow.backend import Definition, Retry, Run
from goflow.client import Client
from goflow.errors import GoflowError
from goflow.workflow import Flow
from goflow_cli.arguments import Name, run_argument
from goflow_cli.ending import print_end
from goflow_cli.session import Session, backend_option, json_option, note
from goflow_cli.told import print_json, run_json


@click.command()
@run_argument
@click.option(
    "--from", "from_node", metavar="NODE", type=Name(), help="Repeat this node and all after it."
)
@click.option("--adopt", is_flag=True, help="Move the run to the flow's present definition.")
@backend_option
@json_option
def retry(
    run_id: str, from_node: str | None, adopt: bool, backend: str | None, as_json: bool
) -> int:
    """Continue RUN (failed, stopped, or left by a process that is gone) from its unfinished nodes.

    On the local backend it is executed here and its result printed; on others workers do it.
    """
    session = Session(None, backend)
    store = session.backend
    client = Client(store, config=session.config)
    run = session.run(run_id)
    flow = _flow(session, run) if store.exclusive or adopt else None
    if flow is not None and not adopt and flow.plan.fingerprint != run.fingerprint:
        raise GoflowError(
            f"run {run.id} belongs to another definition of {run.flow!r} ({run.fingerprint}) than"
            f" {flow.file} ({flow.plan.fingerprint}); `--adopt` moves the run to it"
        )
    rewind = client.rewind(run_id, from_node, flow.plan if flow and adopt else None)
    if not store.exclusive:
        begun = store.retry(run_id, Retry(rewind=rewind))
        if as_json:
            print_json(run_json(begun))
        else:
            print(begun.id)
        return 0
    assert flow is not None
    return _here(session, flow, run_id, Retry(rewind=rewind), as_json)


def _here(session: Session, flow: Flow, run_id: str, wanted: Retry, as_json: bool) -> int:
    from goflow.host import own_run
    from goflow_cli.watching import watcher

    store = session.backend

    def begin(me: int) -> Run:
        begun = store.retry(run_id, Retry(rewind=wanted.rewind, owner=me))
        note(f"goflow: run {begun.id}, round {begun.round}")
        return begun

    with watcher(store, flow.plan, run_id) as observer:
        run, interrupted = own_run(store, flow, session.config, begin, observer=observer)
    return print_end(store, run, interrupted, as_json=as_json)


def _flow(session: Session, run: Run) -> Flow:
    """The run's flow, from goflow.toml's files or the file it was registered from."""
    found = session.flows().get(run.flow) if session.config.flows else None
    if found is not None:
        return found
    known: Definition = session.backend.definition(run.flow)
    if not known.file:
        raise GoflowError(
            f"flow {run.flow!r} was registered by a program, not from a file; let that program's"
            " worker continue the run"
        )
    return session.flow(known.file, run.flow)
