"""The process that tells traces: `python -m goflow.teller`, started by a worker (goflow/telemetry.py).

It reads one line of JSON from stdin: the configuration, and where to listen. From then on every byte on stdin
says that a run may have ended, and the end of stdin that the worker drains, or is gone: it tells what there is to
tell and ends. Two things come to it:

* rounds of runs that have ended, from the store: each is this teller's for a lease, is exported in batches, and
  is taken off the store's list when the collector has answered. A collector that is away loses nothing;
* spans of user code, from the worker's children, a datagram each, as soon as they are finished. A child that
  is killed takes none of these with it. They are kept while the collector is away, up to a bound.

It is a process of its own because an exporter needs threads, which a worker that forks must not have, and time,
which a worker has better use for.
"""

from __future__ import annotations

import os
import select
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import msgspec

from goflow.config import Config
from goflow.errors import BackendError, GoflowError, UnknownRun
from goflow.exporting import Exporter, exporter
from goflow.message import UNREADABLE
from goflow.spans import Span, spans_of
from goflow.untold import Ended, Tellable

if TYPE_CHECKING:
    from goflow.backend import Backend

#: seconds between looks at the store when nobody says that a run has ended
LOOK: Final = 1.0
#: seconds a run is this teller's; renewed with every batch
LEASE: Final = 60.0
#: rounds taken from the store at a time; spans in one export, and bytes of those that user code sent
ROUNDS: Final = 64
BATCH: Final = 512
BYTES: Final = 1 << 20
#: spans of user code that are kept while the collector is away; the oldest go first
KEPT: Final = 20_000
#: seconds a draining teller goes on at most
LAST: Final = 5.0
#: seconds between the tries of a draining teller whose collector is away
LAST_PAUSES: Final = (0.3, 0.7)
#: seconds between tries at most while the collector is away
LONGEST: Final = 30.0
#: seconds between two lines about a collector that is away
SILENCE: Final = 60.0


class Orders(msgspec.Struct, frozen=True):
    """What a teller is started with. Without `store` the worker itself sends its runs' spans; `socket` is the
    descriptor of the one to listen at."""

    config: Config
    store: bool
    socket: int


class Teller:
    """Exports what was `sent` to it, and what the store has to tell."""

    def __init__(self, exporter: Exporter, backend: Backend | None, sent: deque[bytes]) -> None:
        self._exporter = exporter
        self._backend = backend
        self._sent = sent
        #: how many spans of a round that this teller could not finish were told already
        self._progress: dict[str, int] = {}
        self._quiet_until = 0.0
        self._failing = False

    def turn(self) -> bool:
        """Tell what there is to tell now. False where the collector, or the store, is away."""
        try:
            return self._tell_sent() and self._tell_runs()
        except BackendError as error:
            self._complain(str(error))
        except Exception as error:  # noqa: BLE001 - it is tried again, and no error ends the telling
            self._complain(f"telling failed, and is tried again: {_described(error)}")
        return False

    def _tell_sent(self) -> bool:
        while self._sent:
            packed: list[bytes] = []
            size = 0
            while self._sent and len(packed) < BATCH and size < BYTES:
                packed.append(self._sent.popleft())
                size += len(packed[-1])
            if not self._export(list(self._decoded(packed))):
                self._sent.extendleft(reversed(packed))
                return False
        return True

    def _decoded(self, packed: Iterable[bytes]) -> Iterator[Span]:
        for each in packed:
            try:
                yield _span.decode(each)
            except UNREADABLE as error:  # user code can write to the socket, too
                self._complain(f"what was sent is no span: {error}")

    def _tell_runs(self) -> bool:
        backend = self._backend
        if not isinstance(backend, Tellable):
            return True
        while ended := backend.untold(ROUNDS, LEASE):
            try:
                fine = self._tell_rounds(backend, ended)
            except BackendError:
                raise
            except Exception:
                backend.telling(ended, 0.0)
                raise
            if not fine:
                backend.telling(ended, 0.0)
                return False
        return True

    def _tell_rounds(self, backend: Any, ended: Sequence[Ended]) -> bool:
        """Small rounds share a batch; those that were told in full go off the store's list together."""
        batch: list[Span] = []
        full: list[Ended] = []
        for each in ended:
            spans = self._spans(each)
            for part in _parts(spans, BATCH):
                batch += part
                if len(batch) >= BATCH:
                    if not self._export(batch):
                        return False
                    self._done(backend, full)
                    batch, full = [], []
                    self._progress[each.key] = self._progress.get(each.key, 0) + len(part)
                    backend.telling([one for one in ended if one not in full], LEASE)
            full.append(each)
        if batch and not self._export(batch):
            return False
        self._done(backend, full)
        return True

    def _spans(self, ended: Ended) -> Iterator[Span]:
        assert self._backend is not None
        try:
            yield from islice(
                spans_of(self._backend, ended), self._progress.get(ended.key, 0), None
            )
        except UnknownRun:
            return  # it is past its retention
        except BackendError:
            raise
        except Exception as error:  # noqa: BLE001 - it would be the same next time, and hold up all others
            self._complain(f"run {ended.run_id} is not told in full: {_described(error)}")

    def _done(self, backend: Tellable, ended: Sequence[Ended]) -> None:
        if ended:
            backend.told(ended)
        for each in ended:
            self._progress.pop(each.key, None)

    def _export(self, spans: Sequence[Span]) -> bool:
        trouble = self._exporter.export(spans, self._refused)
        if not trouble:
            if self._failing:
                self._failing = False
                _say("traces: the collector is back")
            return True
        self._complain(
            f"the collector takes no spans ({trouble}); runs wait in the store until it does"
        )
        self._failing = True
        return False

    def _refused(self, span: Span, error: Exception) -> None:
        self._complain(f"span {span.name!r} is not told: {_described(error)}")

    def _complain(self, text: str) -> None:
        if time.monotonic() >= self._quiet_until:
            self._quiet_until = time.monotonic() + SILENCE
            _say(f"traces: {text}")


def main() -> int:
    """Tell traces until stdin ends, and what is left then."""
    os.nice(5)  # telling gives way to the work it tells of
    orders = msgspec.json.decode(_first_line(), type=Orders)
    _Work(orders).listen(socket.socket(fileno=orders.socket))
    return 0


class _Work:
    """One thread listens, so that nobody who has a span to send ever waits for a collector; the other
    tells."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._sent: deque[bytes] = deque(maxlen=KEPT)
        self._news = threading.Event()
        self._ending = threading.Event()

    def listen(self, listening: socket.socket) -> None:
        """Until stdin ends, and then until everything is told, or it takes too long."""
        listening.setblocking(False)
        telling = threading.Thread(target=self._tell, daemon=True)
        telling.start()
        while not self._ending.is_set():
            readable, _, _ = select.select([0, listening.fileno()], [], [])
            self._receive(listening)
            if 0 in readable:
                if not os.read(0, 4096):
                    self._ending.set()
                self._news.set()
        self._receive(listening)
        telling.join(LAST)

    def _receive(self, listening: socket.socket) -> None:
        with suppress(BlockingIOError):
            while True:
                self._sent.append(listening.recv(1 << 20))

    def _tell(self) -> None:
        try:
            teller = self._teller()
        except GoflowError as error:
            return _say(f"traces: {error}")
        except Exception as error:  # noqa: BLE001 - an exporter's settings are its own
            return _say(f"traces are not told: {_described(error)}")
        pause = LOOK
        while not self._ending.is_set():
            self._news.wait(pause)
            self._news.clear()
            pause = LOOK if teller.turn() else min(2 * pause, LONGEST)
        for pause in LAST_PAUSES:
            if teller.turn():
                return
            time.sleep(pause)
        teller.turn()

    def _teller(self) -> Teller:
        backend = None
        if self._orders.store:
            from goflow.backend import load_backend

            backend = load_backend(self._orders.config.backend, self._orders.config)
        return Teller(exporter(self._orders.config), backend, self._sent)


def _first_line() -> bytes:
    """Without a buffer, which might swallow what comes after it."""
    line = b""
    while not line.endswith(b"\n"):
        read = os.read(0, 1)
        if not read:
            break
        line += read
    return line


def _parts(spans: Iterable[Span], size: int) -> Iterator[list[Span]]:
    spans = iter(spans)
    while part := list(islice(spans, size)):
        yield part


def _described(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if not isinstance(error, GoflowError) else str(error)


def _say(text: str) -> None:
    sys.stderr.write(f"goflow: {text}\n")
    sys.stderr.flush()


_span: Final = msgspec.msgpack.Decoder(Span)


if __name__ == "__main__":
    sys.exit(main())
