"""`goflow logs RUN [NODE]`: what nodes printed."""

from __future__ import annotations

import select
import sys

import click

from goflow.backend import LogLine
from goflow.client import Client
from goflow.rewind import find
from goflow_cli.arguments import run_argument
from goflow_cli.session import Session, backend_option, json_option, note
from goflow_cli.told import print_json
from goflow_cli.waiting import patience


@click.command()
@run_argument
@click.argument("node", required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on until the run ends.")
@backend_option
@json_option
def logs(run_id: str, node: str | None, follow: bool, backend: str | None, as_json: bool) -> int:
    """Print what the nodes of RUN printed, or one NODE (a path, or a plain name)."""
    session = Session(None, backend)
    store = session.backend
    run = session.run(run_id)
    path = None
    if node is not None:
        plan = Client(store, config=session.config).plan(run.flow, run.fingerprint)
        path = find(plan, store.nodes(run_id), node)
    printer = _Printer(as_json)
    after = printer.show(store.logs(run_id, path), 0)
    if not follow:
        return 0
    waker = store.watch(run_id)
    try:
        while True:
            waker.clear()
            run = store.run(run_id)
            after = printer.show(store.logs(run_id, path, after), after)
            if run.state.terminal:
                return 0
            if run.abandoned:
                note(f"goflow: its owner is gone; `goflow retry {run_id}` continues it")
                return 0
            select.select([waker], [], [], patience(run))
    finally:
        waker.close()


class _Printer:
    """Writes log pieces; names the node path whenever another one speaks."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self._speaker: tuple[str, int, int] | None = None

    def show(self, lines: list[LogLine], after: int) -> int:
        """Write them and answer the last id."""
        for line in lines:
            after = line.id
            if self._as_json:
                print_json(
                    {
                        "path": line.path,
                        "round": line.round,
                        "attempt": line.attempt,
                        "time": line.time,
                        "text": line.data.decode(errors="replace"),
                    }
                )
                continue
            speaker = (line.path, line.round, line.attempt)
            if speaker != self._speaker:
                attempt = f" (attempt {line.attempt})" if line.attempt > 1 else ""
                print(f"== {line.path}{attempt}")
                self._speaker = speaker
            text = line.data.decode(errors="replace")
            print(_harmless(text) if sys.stdout.isatty() else text, end="")
            if not text.endswith("\n"):
                print()
        sys.stdout.flush()
        return after


def _harmless(text: str) -> str:
    """Without control characters: what a node printed must not drive the terminal."""
    return "".join(
        c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text
    )
