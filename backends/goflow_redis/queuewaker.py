"""What wakes a worker: bells, one a queue, and news.

A worker would pay for a wake-up with every task of others, though it is busy. So the queues' connection is
listened on only between a claim that left nothing (whose answer brings the ids) and the next wake-up; until
its worker has looked again it is silent. News (a stop, a new queue) are listened for all the time.

The call that makes tasks rings a queue's bell where it leaves some. What a commit takes itself wakes nobody, so a chain
is of no concern to workers that are idle.

A worker that says when it is about to sleep (`attend`) is listened for only then: its children have their tasks before.

A wake-up names the queues that rang. The worker then looks into those alone: of the others it is known up to
which id they hold nothing, and that is from where they are listened to next. Once a second it looks into all.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, Final

from goflow.errors import BackendError
from goflow_redis.ear import Ear
from goflow_redis.waker import PAUSE, Waker

if TYPE_CHECKING:
    from goflow_redis.store import Store

#: seconds after which a worker looks into every queue again, whichever rang
_ROUND: Final = 1.0


class QueueWaker(Waker):
    """Wakes when a task may have become ready, or a run is to be killed."""

    def __init__(self, store: Store) -> None:
        self._queues = {key: Ear(store, key) for key in store.keys.partitions}
        news = [Ear(store, key) for key in store.keys.partitions]
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
            self._begin({partition: streams})
        else:
            self._due[partition] = streams

    @property
    def due(self) -> bool:
        """Whether there is something to listen to with `attend`, or that was never called."""
        return self._due is None or bool(self._due)

    def attend(self) -> None:
        """Listen where that is due. Nothing that came since is missed: it is after the ids that the claim brought."""
        due, self._due = self._due, {}
        self._begin(due or {})

    def _begin(self, due: dict[str, dict[str, bytes]]) -> None:
        heard = [self._hears(partition, streams) for partition, streams in due.items()]
        if all(heard):
            return
        # its worker looks again, which fails too and is told there; a server that takes calls and no further
        # connection is asked in its stead, some twenty times a second
        time.sleep(PAUSE)
        self._ring()

    def _hears(self, partition: str, streams: dict[str, bytes]) -> bool:
        """Listen to a partition's queues. False where that is to be tried again soon; nobody tries a silent server."""
        try:
            self._listen(self._queues[partition], streams)
        except BackendError:
            self._rung[partition] = None
            return self._store.link.servers.silent(partition)
        return True

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

    def _heard(self, ear: Ear, answer: Any) -> None:
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

    def _streams(self, ear: Ear) -> dict[str, bytes]:
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
