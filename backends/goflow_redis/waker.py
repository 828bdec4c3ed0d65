"""Waiting without polling: a plain `XREAD BLOCK` that was sent and not yet answered.

`XREAD` delivers nothing, so no task can be lost in a wake-up, and it starts from ids that were read before
the caller looks, so nothing added since is missed. Every few minutes it answers by itself: then the life of
the watched key is renewed. A waker is one file descriptor over any number of such connections; it stays the
same when a connection is cut and made again.

A worker would pay for a wake-up with every task of others, though it is busy. So the queues' connection is
listened on only between a claim that left nothing (whose answer brings the ids) and the next wake-up; until
its worker has looked again it is silent. News (a stop, a new queue) are listened for all the time.

What is listened to are bells, one a queue: the call that makes tasks rings it where it leaves some. What a commit takes
itself wakes nobody, so a chain is of no concern to workers that are idle.

A worker that says when it is about to sleep (`attend`) is listened for only then: its children have their tasks before.

A wake-up names the queues that rang. The worker then looks into those alone: of the others it is known up to
which id they hold nothing, and that is from where they are listened to next. Once a second it looks into all.
"""

from __future__ import annotations

import os
import select
import selectors
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Container, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from goflow.errors import BackendError, UnknownRun
from goflow_redis.keys import WATCH_LIFE
from goflow_redis.records import as_run, read_run
from goflow_redis.words import Word, disclose

if TYPE_CHECKING:
    from goflow.payload import Payload
    from goflow.wholesale import Look
    from goflow_redis.line import Line
    from goflow_redis.store import Store

#: ms a wait lasts before it is begun anew; well below WATCH_LIFE
_PATIENCE: Final = 600_000
#: entries that the stream of ended runs keeps at least: as in `_records.lua`
ENDS: Final = 1000
#: after which entry of its stream one reads of a run whose end SUBMIT had told
SUBMITTED: Final = b"0-1"
#: seconds for which that is relied on: while one listens it has to last as well
_END_TOLD: Final = (WATCH_LIFE - _PATIENCE) / 2000
#: seconds between two attempts to listen to a server that is away
_PAUSE: Final = 0.05
#: seconds after which a worker looks into every queue again, whichever rang
_ROUND: Final = 1.0


class _Ear:
    """One connection with one XREAD under way, to the server that has `key`."""

    def __init__(self, store: Store, key: str, *, lazy: bool = False) -> None:
        self._store = store
        self.key = key
        #: listens when it is told to, not by itself
        self.lazy = lazy
        #: what it listens for
        self.streams: dict[str, bytes] = {}
        self._line: Line | None = None
        self._socket = -1

    def listen(self, streams: dict[str, bytes], most: int) -> int:
        """Wait for what comes after these ids, and to hear at most so many entries; answers the socket to
        select on. Raises BackendError."""
        self.streams = streams
        link, wait = self._store.link, ("XREAD", "COUNT", most, "BLOCK", _PATIENCE, "STREAMS")
        command: tuple[Word, ...] = (*wait, *streams, *streams.values())
        if self._line is None:
            self._line = link.listener(self.key)
        try:
            self._socket = self._line.say(command)
            return self._socket
        except (
            OSError
        ):  # it was kept, and cut meanwhile; then the others that are kept may be as well
            self.close()
            link.drop_spares()
        self._line = link.listener(self.key)
        try:
            self._socket = self._line.say(command)
        except OSError as error:
            self.close()
            raise BackendError(f"{link.name}: the connection was cut") from error
        return self._socket

    def answered(self) -> bool:
        """Whether there is an answer to hear."""
        waiting = select.poll()
        waiting.register(self._socket, select.POLLIN)
        return bool(waiting.poll(0))

    def hear(self) -> Any:
        """The answer, whatever it is. A cut connection or a demoted master is begun anew: then an
        exception is the answer."""
        assert self._line is not None
        try:
            answer = self._line.hear()
        except Exception as error:  # noqa: BLE001 - there is one cure for all of them
            answer = error
        if isinstance(answer, Exception):
            self.close()
        return answer

    def close(self) -> None:
        """Let go of the connection."""
        if self._line is not None:
            self._line.close()
            self._line = None

    def hand_on(self) -> None:
        """Let go of a connection on which nothing is under way; the next waker finds it made."""
        if self._line is not None and self._store.link.hand_on(self._line):
            self._line = None
        self.close()


class _Waker(ABC):
    """What all wakers share: ears, and one descriptor over them that never changes."""

    #: entries of a stream that one wake-up hears
    most = 1

    def __init__(self, store: Store, ears: Sequence[_Ear]) -> None:
        self._store = store
        self._selector = selectors.DefaultSelector()
        self._ears = ears
        self._sockets: dict[_Ear, int] = {}
        self._alarm: tuple[int, int] | None = None
        try:
            self._attend_all()
        except BaseException:
            self.close()
            raise

    def fileno(self) -> int:
        """The descriptor to select on."""
        descriptor: int = self._selector.fileno()
        return descriptor

    def clear(self) -> None:
        """Forget the wake-ups so far; call it before looking, never after."""
        self._hear_all()
        self._silence()
        try:
            self._attend_all()
        except BackendError:
            time.sleep(_PAUSE)
            self._ring()

    def _hear_all(self) -> None:
        """Hear what has been said. Who has spoken listens no more."""
        for key, _ in self._selector.select(0):
            if key.data in self._sockets:  # what another ear heard may have silenced it
                self._forget(key.data)
                self._heard(key.data, key.data.hear())

    def close(self) -> None:
        """Stop listening."""
        rung = {key.data for key, _ in self._selector.select(0)}
        for ear in self._ears:
            listening = ear in self._sockets
            self._forget(ear)
            if ear in rung:
                ear.hear()
            if ear in rung or not listening:
                ear.hand_on()
            else:  # an answer is still to come
                ear.close()
        self._silence()
        self._selector.close()

    def _attend_all(self) -> None:
        """Listen with every ear. Raises BackendError, once the others do, where one cannot and is missed."""
        missed = None
        for ear in self._missing():
            try:
                self._listen(ear, self._streams(ear))
            except BackendError as error:
                missed = error
        if missed is not None and not self._does_without():
            raise missed

    def _missing(self) -> list[_Ear]:
        """Those that should listen and do not."""
        return [ear for ear in self._ears if ear not in self._sockets and not ear.lazy]

    def _does_without(self) -> bool:
        """Whether it is as well that some do not listen."""
        return False

    def _listen(self, ear: _Ear, streams: dict[str, bytes]) -> None:
        socket = ear.listen(streams, self.most)
        self._sockets[ear] = socket
        self._selector.register(socket, selectors.EVENT_READ, ear)

    def _forget(self, ear: _Ear) -> None:
        socket = self._sockets.pop(ear, None)
        if socket is not None:
            self._selector.unregister(socket)

    def _ring(self) -> None:
        """Stay readable: nobody may sleep on a connection that is not there."""
        if self._alarm is not None:
            return
        self._alarm = os.pipe()
        os.write(self._alarm[1], b".")
        self._selector.register(self._alarm[0], selectors.EVENT_READ)

    def _silence(self) -> None:
        if self._alarm is not None:
            self._selector.unregister(self._alarm[0])
            for end in self._alarm:
                os.close(end)
            self._alarm = None

    def _heard(self, ear: _Ear, answer: Any) -> None:  # noqa: B027 - usually there is nothing to do
        """What follows from what an ear heard: usually that there is something says it all."""

    @abstractmethod
    def _streams(self, ear: _Ear) -> dict[str, bytes]:
        """The streams to wait on, and the ids of what is in them already."""


class QueueWaker(_Waker):
    """Wakes when a task may have become ready, or a run is to be killed."""

    def __init__(self, store: Store) -> None:
        self._queues = {key: _Ear(store, key) for key in store.keys.partitions}
        news = [_Ear(store, key) for key in store.keys.partitions]
        self._thread = threading.get_ident()
        #: by partition the queues that rang since all were found empty; None where that is not known
        self._rung: dict[str, set[str] | None] = {}
        #: by partition when all of its queues are to be looked into again
        self._round_at: dict[str, float] = {}
        #: what is to be listened to once its worker is about to sleep; None where that never says so
        self._due: dict[str, dict[str, bytes]] | None = None
        super().__init__(store, [*self._queues.values(), *news])
        store.wakers = (*store.wakers, self)

    def close(self) -> None:
        """Stop listening."""
        self._store.wakers = tuple(waker for waker in self._store.wakers if waker is not self)
        super().close()

    def worthwhile(self, partition: str, queues: list[str], others: set[str]) -> list[str]:
        """Of these queues those that may hold something: those that rang, and `others`. All of them where it
        does not listen to all, and once a second."""
        if not self._sure(partition, queues):
            return queues
        rung = self._rung[partition] or ()
        return [queue for queue in queues if queue in rung or queue in others] or queues

    def quiet(self, partition: str, queues: list[str]) -> bool:
        """Whether a partition has been found empty, and nothing in it has rung since."""
        return self._sure(partition, queues) and not self._rung[partition]

    def rang(self) -> bool:
        """Whether something has rung that nobody has looked into since."""
        return any(self._rung.values())

    def _sure(self, partition: str, queues: list[str]) -> bool:
        """Whether it listens to all of these queues, and need not look into them all the same."""
        return (
            self._rung.get(partition) is not None
            and threading.get_ident() == self._thread
            and self._queues[partition].streams.keys() >= set(queues)
            and time.monotonic() < self._round_at.get(partition, 0.0)
        )

    def rest(self, partition: str, streams: dict[str, bytes], *, every: bool) -> None:
        """A claim left nothing behind these ids: from now on listen for what comes after them. `every`: it
        looked into every queue that it was asked for, not only into those that rang."""
        if threading.get_ident() != self._thread:
            return  # somebody else's claim
        ear = self._queues[partition]
        ear.lazy = True
        self._rung[partition] = set()
        if every:
            self._round_at[partition] = time.monotonic() + _ROUND
        else:
            streams = ear.streams | streams
        if ear in self._sockets:
            if ear.answered():  # by what this very claim took, as a rule
                self._forget(ear)
                answer = ear.hear()
                if _later(answer, streams):
                    self._heard(ear, answer)
                    self._ring()  # nothing listens now, and a claim that left nothing is not repeated
                    return
            elif ear.streams.keys() >= streams.keys():
                return
            else:
                self._forget(ear)
                ear.close()
        ear.streams = streams
        if self._due is None:
            self._begin(partition, streams)
        else:
            self._due[partition] = streams

    @property
    def due(self) -> bool:
        """Whether there is something to listen to with `attend`, or that was never called."""
        return self._due is None or bool(self._due)

    def attend(self) -> None:
        """Listen where that is due. Nothing that came since is missed: it is after the ids that the claim brought."""
        due, self._due = self._due, {}
        for partition, streams in (due or {}).items():
            self._begin(partition, streams)

    def _begin(self, partition: str, streams: dict[str, bytes]) -> None:
        try:
            self._listen(self._queues[partition], streams)
        except BackendError:  # what comes next fails too, and is told there
            self._rung[partition] = None

    def resume(self) -> None:
        """Have its worker look where a server was away: it may be there again. Called now and then."""
        silent = self._store.link.servers.silent
        if threading.get_ident() == self._thread and not all(
            silent(ear.key) for ear in self._missing()
        ):
            self._ring()

    def _does_without(self) -> bool:
        """A worker goes on with the servers that are there."""
        return not self._store.link.servers.gone

    def full(self, partition: str) -> None:
        """A claim may have left something: the next looks into every queue."""
        if threading.get_ident() == self._thread:
            self._rung[partition] = None

    def _heard(self, ear: _Ear, answer: Any) -> None:
        queues = self._queues[ear.key]
        if ear is queues:
            rung = self._rung.get(ear.key)
            if isinstance(answer, Exception) or not answer:
                self._rung[ear.key] = None
            elif rung is not None:
                rung.update(stream.decode() for stream, _ in answer)
        elif not queues.lazy:  # there may be a new one
            self._forget(queues)
            queues.close()

    def _streams(self, ear: _Ear) -> dict[str, bytes]:
        link, asked, key = self._store.link, self._store.asked, ear.key
        if ear is not self._queues[key]:
            news = f"{key}:news"
            last = link.ask(key, "XREVRANGE", news, "+", "-", "COUNT", 1)
            return {news: last[0][0] if last else b"0-0"}
        if asked:
            classes = [f"{flow}:{fingerprint}" for flow, fingerprint in sorted(asked)]
        else:
            known = link.ask(key, "SMEMBERS", f"{key}:classes")
            classes = sorted(each.decode() for each in known)
        names = [f"{key}:b:{each}" for each in classes]
        ids = link.run("positions", key, [0, *names]) if names else []
        return dict(zip(names, ids, strict=True)) or {f"{key}:news": b"$"}


def _later(answer: Any, streams: dict[str, bytes]) -> bool:
    """Whether an ear heard of something that came after these ids, or of nothing that one could tell."""
    if isinstance(answer, Exception) or not answer:
        return True
    return any(
        _at(number) > _at(streams.get(stream.decode(), b"0-0"))
        for stream, entries in answer
        for number, _ in entries
    )


def _at(number: bytes) -> tuple[int, int]:
    """A stream id, to be compared."""
    milliseconds, _, sequence = number.partition(b"-")
    return int(milliseconds), int(sequence)


class RunWaker(_Waker):
    """Wakes when a run or a node of it may have changed; or (`ends`) when the run has ended, be it before."""

    def __init__(self, store: Store, run_id: str, *, ends: bool = False) -> None:
        self._run_id = run_id
        self._ends = int(ends)
        self._made: Payload | None = None
        super().__init__(store, [_Ear(store, f"{store.keys.run(run_id)}:ev")])
        if self._ears[0].streams[self._ears[0].key] == b"0-0":
            self.close()
            raise UnknownRun(run_id)

    def made(self) -> Payload | None:
        """What the run has made, where the news brought that. Then it listens no more, before it is cleared."""
        self._hear_all()
        return self._made

    def _heard(self, ear: _Ear, answer: Any) -> None:
        if isinstance(answer, Exception) or not answer:
            return
        for _, fields in answer[0][1]:
            told = dict(zip(fields[::2], fields[1::2], strict=True))
            if b"o" in told:
                self._made = disclose(told[b"o"])

    def _streams(self, ear: _Ear) -> dict[str, bytes]:
        store = self._store
        if self._ends and store.end_told == self._run_id:  # SUBMIT has seen to it
            store.end_told = ""
            if 0 <= time.time() - store.end_told_at < _END_TOLD:
                return {ear.key: SUBMITTED}
        partition = self._store.keys.partition(self._run_id)
        args: list[Word] = [0, self._run_id, WATCH_LIFE, self._ends]
        last: bytes = self._store.link.run("watch", partition, args)
        return {ear.key: last}


class EndsWaker(_Waker):
    """Wakes when runs have ended, and tells which. It goes on from the last entry that it has heard."""

    most = ENDS

    def __init__(self, store: Store) -> None:
        self._last: dict[str, bytes] = {}
        self._renew: dict[str, float] = {}
        self._entries: list[list[bytes]] = []
        self._sure = True
        super().__init__(store, [_Ear(store, key) for key in store.keys.partitions])

    def ended(self, wanted: Container[str]) -> dict[str, Look | None] | None:
        """Those of the wanted runs that ended, with what was told of them; None where some may have been
        missed."""
        entries, sure = self._entries, self._sure
        self._entries, self._sure = [], True
        if not sure:
            return None
        return {
            run_id: _look(run_id, told)
            for fields in entries
            for run_id, told in _runs(fields)
            if run_id in wanted
        }

    def _streams(self, ear: _Ear) -> dict[str, bytes]:
        key = ear.key
        now = time.monotonic()
        if key not in self._last or now > self._renew[key]:
            found: bytes = self._store.link.run("listen", key, [0, WATCH_LIFE])
            self._last.setdefault(key, found)
            self._renew[key] = now + _PATIENCE / 1000
        return {f"{key}:ends": self._last[key]}

    def _heard(self, ear: _Ear, answer: Any) -> None:
        if isinstance(answer, Exception):  # the stream may have been lost too, and begin anew
            self._last.pop(ear.key, None)
            self._sure = False
            return
        entries = answer[0][1] if answer else ()
        if len(entries) == ENDS:  # there were so many that the stream was trimmed, perhaps
            self._sure = False
        for number, fields in entries:
            self._last[ear.key] = number
            self._entries.append(fields)


def _runs(fields: Sequence[bytes]) -> Iterator[tuple[str, dict[bytes, bytes]]]:
    """The runs that an entry of the stream names, each with what else is told of it."""
    told: dict[bytes, bytes] = {}
    run_id = b""
    for field, value in zip(fields[::2], fields[1::2], strict=True):
        if field != b"r":
            told[field] = value
            continue
        if run_id:
            yield run_id.decode(), told
        run_id, told = value, {}
    if run_id:
        yield run_id.decode(), told


def _look(run_id: str, told: dict[bytes, bytes]) -> Look | None:
    if not told:
        return None
    return as_run(run_id, read_run(told[b"s"], told[b"i"]), None), disclose(told[b"o"])
