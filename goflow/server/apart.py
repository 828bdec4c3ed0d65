"""The server as a process of its own, beside a program that has flows: `FlowService.start`.

`python -m goflow.server.apart` reads its configuration as one line of JSON from stdin, serves, and says so in one
line on stdout. It drains when stdin ends, which it does however the program ends, or at SIGTERM; the second of
these ends it at once.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from goflow.config import Config
from goflow.errors import ConfigError, GoflowError
from goflow.own import command

if TYPE_CHECKING:
    from goflow.server.serving import Server


class Apart:
    """A server process, for as long as the block lasts. Raises ConfigError where it cannot serve."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self.url = ""

    def __enter__(self) -> Apart:
        self._process = process = subprocess.Popen(
            command("goflow.server.apart"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C reaches the worker alone, and the server after it
        )
        assert process.stdin is not None
        assert process.stdout is not None
        with suppress(BrokenPipeError):
            process.stdin.write(msgspec.json.encode(self._config) + b"\n")
            process.stdin.flush()
        told = process.stdout.readline().decode().strip()
        if not told.startswith("http"):
            process.communicate()
            raise ConfigError(told or "the server ended before it served")
        self.url = told
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()  # ends its stdin, and so drains it


def main() -> int:
    """Serve as the configuration says."""
    from goflow.server.serving import serve

    config = msgspec.json.decode(sys.stdin.buffer.readline(), type=Config)
    threading.Thread(target=_end_with_program, daemon=True).start()

    def started(server: Server, url: str) -> None:
        _say(url)

    try:
        serve(config, started=started)
    except GoflowError as error:
        _say(str(error).replace("\n", " "))
        return error.exit_code
    return 0


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _end_with_program() -> None:
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
