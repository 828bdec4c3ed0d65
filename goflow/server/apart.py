"""The server as a process of its own, beside a program that has flows: `FlowService.start`.

`python -m goflow.server.apart` reads its configuration as one line of JSON from stdin, serves, and says so in one
line on stdout. It drains when stdin ends, which it does however the program ends, or at SIGTERM; the second of
these ends it at once. When it dies before that, `Apart` starts it again.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import msgspec

from goflow.config import Config
from goflow.errors import ConfigError, GoflowError
from goflow.own import command, reason

if TYPE_CHECKING:
    from goflow.server.serving import Server

#: seconds before a server that died is started again
_PAUSE: Final = 1.0

log = logging.getLogger("goflow")


class Apart:
    """A server process, for as long as the block lasts. Raises ConfigError where it cannot serve.

    One that dies is started again, at the same address, for as long as it takes: the worker beside it goes on
    meanwhile. What happened is told to the logger `goflow`.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._ending = threading.Event()
        #: held while a process is started, so that none is once the end has begun
        self._lock = threading.Lock()
        self._keeper = threading.Thread(target=self._keep, name="goflow-server", daemon=True)
        self.url = ""

    def __enter__(self) -> Apart:
        self.url = self._start()
        port = int(self.url.rpartition(":")[2])  # which a further one takes too, where any would do
        serve = msgspec.structs.replace(self._config.serve, port=port)
        self._config = msgspec.structs.replace(self._config, serve=serve)
        self._keeper.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        with self._lock:
            self._process.communicate()  # ends its stdin, and so drains it
        self._keeper.join()

    def _start(self) -> str:
        """Start one; answers its URL."""
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
        return told

    def _keep(self) -> None:
        """Look after it, on a thread."""
        while True:
            code = self._process.wait()
            if self._ending.is_set():
                return
            self._process.communicate()
            log.warning("the server ended (%s), starting it again", reason(code))
            self._again()

    def _again(self) -> None:
        """Start it anew, however often that takes; not at all once the end has begun."""
        said = ""
        while not self._ending.wait(_PAUSE):
            with self._lock:
                if self._ending.is_set():
                    return
                try:
                    self._start()
                except ConfigError as error:
                    if str(error) != said:
                        said = str(error)
                        log.warning("the server does not start, trying on: %s", said)
                else:
                    return


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
