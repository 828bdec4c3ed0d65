"""Traces, as a worker sees them: a process beside it that tells them, and a nudge when a run may have ended.

The store remembers which runs are to be told (goflow/untold.py), the teller makes their spans from what is
recorded and exports them (goflow/teller.py, goflow/spans.py), and the worker's children send the spans of user
code to the teller (goflow/userspans.py). The worker itself makes no span and loads no SDK: while a run is on its
way, tracing costs it nothing. With `traces = "off"` none of this is imported.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, cast

from goflow.errors import BackendError, ConfigError
from goflow.message import Outcome, Task
from goflow.observer import Observer, Quiet

if TYPE_CHECKING:
    import subprocess

    from goflow.backend import Backend
    from goflow.config import Config
    from goflow.untold import TracedBackend

#: where this process's children send the spans of user code
SOCKET: Final = "GOFLOW_SPANS"
#: seconds the end of a worker waits for its teller
PATIENCE: Final = 6.0


@contextmanager
def traced(config: Config, backend: Backend, observer: Observer | None) -> Iterator[Observer]:
    """The observer, with traces where the configuration wants them; they are flushed at the end.

    Raises ConfigError where OTEL_TRACES_SAMPLER names no sampler, and for a backend that does not remember
    which runs are to be told.
    """
    if not config.telemetry.on:
        yield observer or Quiet()
        return
    tracing = Tracing(config, _tellable(config, backend), observer or Quiet())
    try:
        yield tracing
    finally:
        tracing.close()


class Tracing:
    """Passes everything on to another observer, and nudges the teller when a run may have ended."""

    def __init__(self, config: Config, backend: TracedBackend, inner: Observer) -> None:
        import tempfile

        import opentelemetry.trace  # noqa: F401 - for the children: once here, not in each of them

        self._backend = backend
        self._inner = inner
        elsewhere = backend.elsewhere(config)
        self._here = elsewhere is None
        self._folder = tempfile.mkdtemp(prefix="goflow-")  # nobody else may send anything here
        self._socket = os.path.join(self._folder, "spans")  # noqa: PTH118
        self._teller = _start(elsewhere or config, self._socket, store=not self._here)
        os.environ[SOCKET] = self._socket
        self._news = False
        self._complained = False

    def started(self, task: Task) -> None:
        """Pass it on."""
        self._inner.started(task)

    def printed(self, task: Task, data: bytes) -> None:
        """Pass it on."""
        self._inner.printed(task, data)

    def troubled(self, error: BackendError) -> None:
        """Pass it on."""
        self._inner.troubled(error)

    def draining(self, running: int, grace: float) -> None:
        """Pass it on."""
        self._inner.draining(running, grace)

    def finished(self, outcome: Outcome, accepted: bool) -> None:
        """Pass it on. After anything but a node's plain success, or at the end node, a run may be over."""
        self._inner.finished(outcome, accepted)
        step = outcome.step
        if step is None or step.ends or outcome.task.path.startswith("~"):
            self._news = True

    def pulse(self) -> float | None:
        """Nudge the teller."""
        if self._news:
            self._news = False
            self._tell()
        return self._inner.pulse()

    def close(self) -> None:
        """Have told what is left; a collector that is away is given up after five seconds."""
        import shutil
        import subprocess

        os.environ.pop(SOCKET, None)
        self._tell()
        assert self._teller.stdin is not None
        with suppress(OSError):
            self._teller.stdin.close()
        try:
            self._teller.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._teller.kill()
            self._teller.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _tell(self) -> None:
        assert self._teller.stdin is not None
        try:
            if self._here:
                self._send()
            os.write(self._teller.stdin.fileno(), b".")
        except OSError:
            if not self._complained:
                self._complained = True
                text = "the process that tells traces has ended; runs wait in the store to be told"
                self._inner.troubled(BackendError(text))

    def _send(self) -> None:
        """Tell what the teller cannot read for itself: runs of a store in this process's memory."""
        from goflow.spans import spans_of
        from goflow.userspans import Sender

        with Sender(self._socket) as sender:
            while ended := self._backend.untold(1, 60.0):
                for span in spans_of(self._backend, ended[0]):
                    sender.send(span)
                self._backend.told(ended)


def _tellable(config: Config, backend: Backend) -> TracedBackend:
    from goflow.tracing import check_sampler
    from goflow.untold import Tellable

    if not isinstance(backend, Tellable):
        raise ConfigError(
            f"{backend.name} does not remember which runs are to be told: traces need a backend with"
            ' `untold`, or telemetry.traces = "off"'
        )
    check_sampler()
    backend.traced = True
    return cast("TracedBackend", backend)


def _start(config: Config, path: str, *, store: bool) -> subprocess.Popen[bytes]:
    """The teller, which ends with this process, however that ends. What is sent to it before it listens
    waits in the socket."""
    import socket
    import subprocess

    import msgspec

    from goflow.own import command
    from goflow.teller import Orders

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(path)
        number = listening.fileno()
        process = subprocess.Popen(
            command("goflow.teller"),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            pass_fds=[number],
            start_new_session=True,  # Ctrl-C reaches the worker alone, and the teller after it
        )
    assert process.stdin is not None
    with suppress(OSError):
        process.stdin.write(msgspec.json.encode(Orders(config, store, number)) + b"\n")
        process.stdin.flush()
    return process
