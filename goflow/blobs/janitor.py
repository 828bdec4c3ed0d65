"""A process beside a worker that sweeps: a slow place holds up no lease.

`python -m goflow.blobs.janitor` reads the configuration as one line of JSON from stdin, sweeps until stdin
ends, which happens however its worker ends. What it cannot do now, it does later; it says so in its worker's
log where that is neither the store's nor the place's fault.
"""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

import msgspec

from goflow.backend import Backend, load_backend
from goflow.blobs.backend import WithBlobs
from goflow.blobs.sweep import PAUSE, sweep
from goflow.config import Config
from goflow.errors import GoflowError
from goflow.own import command

#: seconds that a janitor has to end
_PATIENCE: Final = 2.0


@contextmanager
def sweeping(backend: Backend, config: Config) -> Iterator[None]:
    """A janitor for as long as the block lasts, where there is something to sweep."""
    if not isinstance(backend, WithBlobs):
        yield
        return
    import subprocess

    process = subprocess.Popen(
        command("goflow.blobs.janitor"),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is the worker's
    )
    assert process.stdin is not None
    try:
        with suppress(BrokenPipeError):
            process.stdin.write(msgspec.json.encode(config) + b"\n")
            process.stdin.flush()
        yield
    finally:
        process.terminate()
        with suppress(BrokenPipeError):
            process.stdin.close()
        try:
            process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:  # a place that hangs holds up no worker's end
            process.kill()
            process.wait()


def main() -> None:
    """Sweep every now and then."""
    os.nice(10)
    line = sys.stdin.buffer.readline()
    if not line:
        return  # its worker has gone already
    config = msgspec.json.decode(line, type=Config)
    while True:
        _sweep(config)
        if select.select([0], [], [], PAUSE)[0]:
            return


def _sweep(config: Config) -> None:
    try:
        with load_backend(config.backend, config) as store:
            if isinstance(store, WithBlobs):
                sweep(store.bare, store.place)
    except GoflowError:
        pass  # away: its worker says so
    except Exception as error:  # noqa: BLE001 - it is tried again
        told = f"sweeping payload.blobs failed, and is tried again: {type(error).__name__}: {error}"
        sys.stderr.write(f"goflow: {told}\n")
        sys.stderr.flush()


if __name__ == "__main__":
    main()
