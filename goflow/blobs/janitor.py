"""A process beside a worker that sweeps: a slow place holds up no lease.

`python -m goflow.blobs.janitor` reads the configuration as one line of JSON from stdin, sweeps until stdin
ends, which happens however its worker ends, and says nothing: what it cannot do now, it does later.
"""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import msgspec

from goflow.backend import Backend, load_backend
from goflow.blobs.backend import WithBlobs
from goflow.blobs.sweep import PAUSE, sweep
from goflow.config import Config
from goflow.errors import GoflowError
from goflow.own import command


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
        stderr=subprocess.DEVNULL,
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
        process.wait()


def main() -> None:
    """Sweep every now and then."""
    os.nice(10)
    config = msgspec.json.decode(sys.stdin.buffer.readline(), type=Config)
    while True:
        with suppress(GoflowError), load_backend(config.backend, config) as store:
            if isinstance(store, WithBlobs):
                sweep(store.bare, store.place)
        if select.select([0], [], [], PAUSE)[0]:
            return


if __name__ == "__main__":
    main()
