"""`goflow run FILE` or `goflow run FLOW`: a flow to its end, here or on the backend's workers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import click

from goflow.backend import Run
from goflow.payload import Payload, within
from goflow.runid import checked, new_run_id
from goflow.workflow import Flow
from goflow_cli.arguments import FlowOrFile
from goflow_cli.data import read_data, read_query
from goflow_cli.ending import print_end
from goflow_cli.session import Session, backend_option, is_path, json_option, note

Accepted = Callable[[Run], None]


@click.command()
@click.argument("file", metavar="FILE|FLOW", type=FlowOrFile())
@click.option("--flow", "name", metavar="NAME", help="Which flow, where the file has several.")
@click.option("--data", metavar="D", help="Text, - for stdin, @FILE for a file (@@x is @x).")
@click.option("--query", metavar="K=V", multiple=True, help="A query parameter; may be repeated.")
@click.option("--request-id", metavar="ID", help="The run id; the same id again is the same run.")
@backend_option
@click.option("--detach", is_flag=True, help="Leave a background process with the run.")
@click.option("--ephemeral", is_flag=True, help="Run it here, in memory; keep nothing.")
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
    """Run the flow in FILE, or goflow.toml's FLOW, to its end and print its result.

    An existing file wins over a flow of that name.

    \b
    goflow run flow.py --data hallo
    goflow run flow.py --data @order.json --query dry=1
    goflow run kyc --data @anna.json
    """
    payload, options = read_data(data), read_query(query)
    run_id = new_run_id() if request_id is None else checked(request_id)
    if detach and ephemeral:
        raise click.UsageError("--detach and --ephemeral exclude each other: nothing would be left")
    session = Session(file if is_path(file) else None, backend, ephemeral=ephemeral)

    within(payload, session.config.payload.max_size, "the payload")

    def execute(accepted: Accepted) -> int:
        store = session.backend  # opened before user code changes sys.path
        flow = session.flow(file, name)
        if store.exclusive:
            return _here(session, flow, payload, options, run_id, accepted, as_json)
        return _elsewhere(session, flow, payload, options, run_id, accepted, as_json)

    if detach:
        from goflow_cli.detach import detached

        return detached(execute)
    return execute(lambda run: None)


def _here(
    session: Session,
    flow: Flow,
    payload: Payload,
    query: Mapping[str, Sequence[str]],
    run_id: str,
    accepted: Accepted,
    as_json: bool,
) -> int:
    from goflow.engine import request
    from goflow.host import own_run
    from goflow.tracing import caller
    from goflow_cli.watching import watcher

    backend = session.backend

    def begin(me: int) -> Run:
        asked = request(flow.plan, run_id, payload, query, headers=caller(), owner=me)
        run = backend.submit(asked)
        accepted(run)
        _tell_recorded(run)
        return run

    with watcher(backend, flow.plan, run_id) as observer:
        run, interrupted = own_run(backend, flow, session.config, begin, observer=observer)
    if not (run.state.terminal or run.abandoned or interrupted):
        return _wait(session, run, as_json)  # the id is another process's run
    kept = not session.ephemeral
    return print_end(backend, run, interrupted, as_json=as_json, kept=kept)


def _elsewhere(
    session: Session,
    flow: Flow,
    payload: Payload,
    query: Mapping[str, Sequence[str]],
    run_id: str,
    accepted: Accepted,
    as_json: bool,
) -> int:
    from goflow.client import Client
    from goflow.host import register

    register(session.backend, flow)
    client = Client(session.backend, config=session.config)
    run = client.submit(flow.name, payload, run_id=run_id, query=query, plan=flow.plan)
    accepted(run)
    _tell_recorded(run)
    return _wait(session, run, as_json)


def _tell_recorded(run: Run) -> None:
    """Say that nothing is executed, where the run of that id has ended before."""
    if run.state.terminal:
        note(
            f"goflow: run {run.id} was recorded earlier ({run.state}); nothing was executed again"
            f" (`goflow retry {run.id} --from NODE` repeats a part of it)"
        )


def _wait(session: Session, run: Run, as_json: bool) -> int:
    from goflow_cli.waiting import wait_watching

    return wait_watching(session, run, None, as_json=as_json, live=True)
