"""`goflow replay FILE`: an exported run again, here, and what differs."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

import click
import msgspec

from goflow.backend import Backend, Run
from goflow.comparison import Difference, differences
from goflow.errors import GoflowError
from goflow.recorded import InStore, Recorded
from goflow.runfile import InFile
from goflow.workflow import Flow
from goflow_cli.arguments import RunFile
from goflow_cli.exit_codes import DONE, FAILED, INTERRUPTED
from goflow_cli.session import Session, json_option, note
from goflow_cli.table import clean
from goflow_cli.told import print_json, run_json

#: differences that a person is shown
SHOWN = 20


@click.command()
@click.argument("file", type=RunFile())
@click.option("--flow-file", metavar="FLOW.py", help="What defines the flow here.")
@click.option("--node", metavar="NODE", help="Only this node, on its recorded input.")
@click.option(
    "--attempt",
    type=int,
    metavar="N",
    help="With --node: an earlier attempt, by its number, in its last round.",
)
@click.option("--pdb", is_flag=True, help="With --node: under the debugger.")
@json_option
def replay(
    file: str,
    flow_file: str | None,
    node: str | None,
    attempt: int | None,
    pdb: bool,
    as_json: bool,
) -> int:
    """Run what is in FILE (of `goflow export`, - for stdin) again, and say what comes out differently.

    The whole flow runs here, on the recorded request, in a store that is gone afterwards; with --node
    that node alone. Its effects outside goflow happen again. Ends with 1 where something differs.

    \b
    goflow replay run.jsonl
    goflow replay run.jsonl --flow-file fixed.py --node resize --pdb
    """
    if pdb and node is None:
        raise click.UsageError("--pdb needs --node NODE: a whole flow runs in several processes")
    if attempt is not None and node is None:
        raise click.UsageError("--attempt needs --node NODE: a whole flow makes its own attempts")
    recorded = _read(file)
    if node is not None:
        from goflow_cli.again import execute
        from goflow_cli.spans import telling

        session = Session(flow_file)
        flow = _flow(session, recorded, flow_file)
        with telling(session.config) as within:
            return execute(
                recorded, flow, node, pdb=pdb, as_json=as_json, number=attempt, within=within
            )
    session = Session(flow_file, "local", ephemeral=True)
    store = session.backend  # opened before user code changes sys.path
    run, interrupted = _run(session, store, recorded, _flow(session, recorded, flow_file))
    if interrupted:
        note("goflow: interrupted, nothing is compared")
        return INTERRUPTED
    found = differences(recorded, InStore(store, run))
    if as_json:
        print_json({"recorded": run_json(recorded.run), "here": run_json(run), **_json(found)})
    else:
        _tell(recorded, run, found)
    return FAILED if found else DONE


def _flow(session: Session, recorded: Recorded, flow_file: str | None) -> Flow:
    from goflow_cli.again import flow_of

    return flow_of(session, recorded, flow_file, trusted=False)


def _read(file: str) -> InFile:
    if file == "-":
        return InFile(sys.stdin.buffer, "stdin")
    try:
        with Path(file).open("rb") as lines:
            return InFile(lines, file)
    except OSError as error:
        raise GoflowError(f"cannot read {file}: {error.strerror}") from None


def _run(session: Session, store: Backend, recorded: Recorded, flow: Flow) -> tuple[Run, bool]:
    """The recorded request again, under its own run id, to its end."""
    from goflow.engine import request
    from goflow.host import own_run
    from goflow_cli.watching import watcher

    asked = recorded.request

    def begin(me: int) -> Run:
        return store.submit(
            request(
                flow.plan,
                recorded.run.id,
                asked.payload,
                asked.query,
                headers=asked.headers,
                owner=me,
            )
        )

    with watcher(store, flow.plan, recorded.run.id) as observer:
        return own_run(store, flow, session.config, begin, observer=observer)


def _tell(recorded: Recorded, run: Run, found: list[Difference]) -> None:
    then, now = _end(recorded.run), _end(run)
    print(f"run {run.id} of {run.flow}: {then} when it was recorded, {now} here")
    if not found:
        print("every node came to the same")
        return
    origins = [each for each in found if each.origin]
    rest = [each for each in found if not each.origin]
    _tell_some("differs on the same input:", origins)
    _tell_some("differs since something before it does:", rest)


def _tell_some(head: str, found: Iterable[Difference]) -> None:
    listed = list(found)
    if not listed:
        return
    print(head)
    for each in listed[:SHOWN]:
        print(f"  {clean(each.path)}" + ("  (its code has changed)" if each.code else ""))
        print(f"    recorded  {clean(each.recorded)}")
        print(f"    here      {clean(each.here)}")
    if len(listed) > SHOWN:
        print(f"  ... {len(listed) - SHOWN} more (`--json` lists all)")


def _end(run: Run) -> str:
    return f"{run.state}" + (f" ({clean(run.error)})" if run.error else "")


def _json(found: list[Difference]) -> dict[str, object]:
    return {"same": not found, "differences": msgspec.to_builtins(found)}
