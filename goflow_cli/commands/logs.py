"""`goflow logs RUN [NODE]`: what nodes printed."""

from __future__ import annotations

import select
import sys

import click

from goflow.backend import Backend, LogLine, Run
from goflow.client import Client
from goflow.drawing.text import clean
from goflow.patience import Outlast
from goflow.rewind import find
from goflow_cli.arguments import NodePath, run_argument
from goflow_cli.session import Asking, backend_option, json_option, note
from goflow_cli.told import print_json
from goflow_cli.views.drawing import screen
from goflow_cli.views.output import harmless
from goflow_cli.waiting import patience


@click.command()
@run_argument
@click.argument("node", type=NodePath(), required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on until the run ends.")
@click.option("--raw", is_flag=True, help="The bytes as they were printed, for a file or a pipe.")
@backend_option
@json_option
def logs(
    run_id: str, node: str | None, follow: bool, raw: bool, backend: str | None, as_json: bool
) -> int:
    """Print what the nodes of RUN printed, or one NODE (a path, or a plain name).

    Escape sequences are left out, wherever it goes: a pipe may end at a terminal. --raw has them.
    """
    if raw and sys.stdout.isatty():
        raise click.UsageError(
            "--raw is for a file or a pipe: what nodes print could steer this terminal"
        )
    session = Asking(None, backend)
    store = session.backend
    run = session.run(run_id)
    path = None
    if node is not None:
        plan = Client(store, config=session.config).plan(run.flow, run.fingerprint)
        path = find(plan, store.nodes(run_id), node)
    printer = _Printer(as_json, raw)
    try:
        after = printer.show(store.logs(run_id, path), 0)
        if follow:
            _follow(store, run_id, path, printer, after)
    finally:
        printer.close()
    return 0


def _follow(store: Backend, run_id: str, path: str | None, printer: _Printer, after: int) -> None:
    """Show what comes after that piece until the run ends, or has nobody who executes it."""
    waker = store.watch(run_id)
    outlast = Outlast(lambda text: note(f"goflow: {text}"))

    def look() -> tuple[Run, list[LogLine]]:
        waker.clear()
        return store.run(run_id), store.logs(run_id, path, after)

    try:
        while True:
            run, pieces = outlast(look)
            after = printer.show(pieces, after)
            if run.state.terminal:
                return
            if run.abandoned:
                note(f"goflow: its owner is gone; `goflow retry {run_id}` continues it")
                return
            select.select([waker], [], [], patience(run))
    finally:
        waker.close()


class _Printer:
    """Writes log pieces; names the node path whenever another one speaks."""

    def __init__(self, as_json: bool, raw: bool) -> None:
        self._as_json = as_json
        self._raw = raw
        self._speaker: tuple[str, int, int] | None = None
        #: whether the last line has not ended: the next piece may go on with it
        self._open = False
        self._unicode = screen(sys.stdout).unicode

    def show(self, lines: list[LogLine], after: int) -> int:
        """Write them and answer the last id."""
        for line in lines:
            after = line.id
            if self._as_json:
                _print_json(line)
            elif self._raw:
                sys.stdout.buffer.write(line.data)
            else:
                self._print(line)
        sys.stdout.flush()
        return after

    def close(self) -> None:
        """End the last line."""
        if self._open:
            self._open = False
            print(flush=True)

    def _print(self, line: LogLine) -> None:
        speaker = (line.path, line.round, line.attempt)
        *whole, rest = line.data.split(b"\n")
        if speaker != self._speaker or b"\r" in (whole or [rest])[0]:
            self.close()  # what a carriage return overwrites is on the screen already
        if speaker != self._speaker:
            attempt = f" (attempt {line.attempt})" if line.attempt > 1 else ""
            round_ = f" (round {line.round})" if line.round > 1 else ""
            print(f"== {clean(line.path, self._unicode)}{round_}{attempt}")
            self._speaker = speaker
        for each in whole:
            print(harmless(each, self._unicode))
        print(harmless(rest, self._unicode), end="")
        self._open = bool(rest)


def _print_json(line: LogLine) -> None:
    print_json(
        {
            "path": line.path,
            "round": line.round,
            "attempt": line.attempt,
            "time": line.time,
            "text": line.data.decode(errors="replace"),
        }
    )
