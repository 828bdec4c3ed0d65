"""`goflow export RUN`: a run as one file."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

import click

from goflow.errors import GoflowError
from goflow_cli.arguments import run_argument
from goflow_cli.session import Asking, backend_option, note


@click.command()
@run_argument
@click.option("-o", "--output", metavar="FILE", help="Where to; without it to stdout.")
@backend_option
def export(run_id: str, output: str | None, backend: str | None) -> int:
    """Write RUN as one file: definition, request, payloads, attempts, logs, context.

    Everything the run's nodes got and made is in it, secrets too. `goflow replay` reads it.
    """
    from goflow.recorded import InStore
    from goflow.runfile import export as lines

    session = Asking(None, backend)
    recorded = InStore(session.backend, session.run(run_id))
    if output is None:
        for line in lines(recorded):
            sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()
        return 0
    part = f"{output}.part"
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.writelines(lines(recorded))
        Path(part).replace(output)
    except OSError as error:
        with suppress(OSError):  # nobody asked for a part
            Path(part).unlink(missing_ok=True)
        raise GoflowError(f"cannot write {output!r}: {error.strerror}") from None
    note(f"goflow: run {run_id} is in {output}")
    return 0
