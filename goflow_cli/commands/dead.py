"""`goflow dead`: dead letters, which are runs that failed. The run is all there is of one."""

from __future__ import annotations

import click

from goflow.backend import Backend, Run
from goflow.errors import Conflict
from goflow.state import RunState
from goflow_cli.arguments import FailedRunId, FlowName, limit_option, run_argument
from goflow_cli.commands.retry import retry as retry_command
from goflow_cli.commands.show import MOST_ROWS, details, failures, tell
from goflow_cli.session import Asking, backend_option, json_option, note
from goflow_cli.table import moment, print_table
from goflow_cli.told import print_json, run_json


@click.group()
def dead() -> None:
    """Runs that were given up: a node failed for good, or they took too long.

    They are kept for `retention.dead`, longer than others.
    """


@dead.command("list")
@click.option("--flow", metavar="F", type=FlowName(), help="Only runs of this flow.")
@limit_option
@backend_option
@json_option
def list_(flow: str | None, limit: int, backend: str | None, as_json: bool) -> int:
    """List failed runs, the newest first: where, when and why."""
    found = Asking(None, backend).backend.runs(flow, RunState.FAILED, limit)
    if as_json:
        print_json([_told(run) for run in found])
        return 0
    if not found:
        note("goflow: no run has failed" + (f" of flow {flow!r}" if flow else ""))
        return 0
    rows = [
        [run.id, run.flow, _node(run), moment(run.finished), str(run.round), run.error or ""]
        for run in found
    ]
    print_table(["RUN", "FLOW", "NODE", "FAILED", "ROUND", "ERROR"], rows)
    return 0


@dead.command()
@run_argument
@backend_option
@json_option
def show(run_id: str, backend: str | None, as_json: bool) -> int:
    """Show what happened in RUN, with the traceback of every node that failed."""
    session = Asking(None, backend)
    run = _failed(session, run_id)
    if as_json:
        lists = details(session.backend, run)
        print_json(run_json(run), **lists, failures=lambda: _failures(session.backend, run))
    else:
        tell(session.backend, run, tracebacks=MOST_ROWS)
    return 0


@dead.command()
@click.argument("run_ids", metavar="RUN...", type=FailedRunId(), nargs=-1, required=True)
@backend_option
@json_option
@click.pass_context
def retry(ctx: click.Context, run_ids: tuple[str, ...], backend: str | None, as_json: bool) -> int:
    """Continue each RUN from its unfinished nodes, as `goflow retry` does.

    All are looked at first: where one is no failed run, none is retried.
    """
    session = Asking(None, backend)
    for run_id in run_ids:
        _failed(session, run_id)
    code = 0
    for run_id in dict.fromkeys(run_ids):
        ended = ctx.invoke(retry_command, run_id=run_id, backend=backend, as_json=as_json)
        code = code or ended
    return code


@dead.command()
@click.argument("run_ids", metavar="RUN...", type=FailedRunId(), nargs=-1, required=True)
@backend_option
@json_option
def drop(run_ids: tuple[str, ...], backend: str | None, as_json: bool) -> int:
    """Forget each RUN at once: what it got, did and printed is gone for good.

    All are looked at first: where one is no failed run, none is dropped.
    """
    session = Asking(None, backend)
    for run_id in run_ids:
        _failed(session, run_id)
    dropped = list(dict.fromkeys(run_ids))
    for run_id in dropped:
        session.backend.forget(run_id)
    if as_json:
        print_json({"dropped": dropped})
    else:
        note(f"goflow: dropped {', '.join(dropped)}")
    return 0


def _failed(session: Asking, run_id: str) -> Run:
    """The run, which must be a failed one. Raises UnknownRun, Conflict."""
    run = session.run(run_id)
    if run.state is not RunState.FAILED:
        raise Conflict(
            f"run {run_id} has not failed: it is {run.state} (`goflow dead list` tells those that have)"
        )
    return run


def _told(run: Run) -> dict[str, object]:
    return run_json(run) | {"node": _node(run) or None}


def _node(run: Run) -> str:
    return run.failure.node if run.failure is not None else ""


def _failures(store: Backend, run: Run) -> list[dict[str, str | int]]:
    """Why the run failed, then why each of its nodes did."""
    found = list(failures(store.nodes(run.id)))
    if run.failure is not None and not any(path == run.failure.node for path, _ in found):
        found.insert(0, (run.failure.node, run.failure))
    return [
        {
            "path": path,
            "type": failure.type,
            "message": failure.message,
            "detail": failure.detail,
            "attempt": failure.attempt,
        }
        for path, failure in found
    ]
