"""`goflow export RUN`: a run as one file."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import click

from goflow.errors import Conflict, GoflowError
from goflow_cli.arguments import run_argument
from goflow_cli.session import Asking, backend_option, force_option, note


@click.command()
@run_argument
@click.option("-o", "--output", metavar="FILE", help="Where to; without it, or `-`, to stdout.")
@force_option
@backend_option
def export(run_id: str, output: str | None, force: bool, backend: str | None) -> int:
    """Write RUN as one file: definition, request, payloads, attempts, logs, context.

    Everything the run's nodes got and made is in it, secrets too. `goflow replay` reads it.
    """
    from goflow.recorded import InStore
    from goflow.runfile import export as lines

    session = Asking(None, backend)
    recorded = InStore(session.backend, session.run(run_id))
    if output is None or output == "-":
        sys.stdout.buffer.writelines(lines(recorded))
        sys.stdout.buffer.flush()
        return 0
    write_export(output, lines(recorded), force=force)
    note(f"goflow: run {run_id} is in {output}")
    return 0


def write_export(where: str, lines: Iterable[bytes], *, force: bool) -> None:
    """Write the file, whole or not at all; what is no file but takes bytes (a pipe, a device) gets them as they come."""
    file = Path(where)
    try:
        if file.exists() and not file.is_file() and not file.is_dir():
            with file.open("wb") as stream:
                stream.writelines(lines)
            return
        if file.is_file() and not force:
            raise Conflict(
                f"{where!r} exists already; nothing was written (--force writes over it)"
            )
        part = Path(f"{where}.part")
        try:
            with os.fdopen(
                os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb"
            ) as new:
                new.writelines(lines)
            part.replace(file)
        except BaseException:  # the lines are read from the store as they are written; or Ctrl-C
            with suppress(OSError):  # nobody asked for a part
                part.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise GoflowError(f"cannot write {where!r}: {error.strerror}") from None
