"""What wakes those who wait for runs: whoever watches or waits for one, and a server that waits for the ends of many.

A small result comes with the news, so that it need not be asked for. While somebody listens the life of what is
listened to is renewed with each answer, every few minutes at least.
"""

from __future__ import annotations

import time
from collections.abc import Container, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from goflow.errors import UnknownRun
from goflow_redis.ear import PATIENCE, Ear
from goflow_redis.keys import NEWS_LIFE, WATCH_LIFE
from goflow_redis.records import as_run, read_run
from goflow_redis.waker import Waker
from goflow_redis.words import Word, disclose

if TYPE_CHECKING:
    from goflow.payload import Payload
    from goflow.wholesale import Look
    from goflow_redis.store import Store

#: entries that the stream of ended runs keeps at least: as in `_records.lua`
_ENDS: Final = 1000
#: after which entry of its stream one reads of a run whose end SUBMIT had told
_SUBMITTED: Final = b"0-1"
#: seconds for which that is relied on: the run may have ended at once, and a process may stand still before it listens
_END_TOLD: Final = NEWS_LIFE / 6000


class RunWaker(Waker):
    """Wakes when a run or a node of it may have changed; or (`ends`) when the run has ended, be it before."""

    def __init__(self, store: Store, run_id: str, *, ends: bool = False) -> None:
        self._run_id = run_id
        self._ends = int(ends)
        self._made: Payload | None = None
        super().__init__(store, [Ear(store, f"{store.keys.run(run_id)}:ev")])
        if self._ears[0].streams[self._ears[0].key] == b"0-0":
            self.close()
            raise UnknownRun(run_id)

    def made(self) -> Payload | None:
        """What the run has made, where the news brought that. Then it listens no more, before it is cleared."""
        self._hear_all()
        return self._made

    def _heard(self, ear: Ear, answer: Any) -> None:
        if isinstance(answer, Exception) or not answer:
            return
        for _, fields in answer[0][1]:
            told = dict(zip(fields[::2], fields[1::2], strict=True))
            if b"o" in told:
                self._made = disclose(told[b"o"])

    def _streams(self, ear: Ear) -> dict[str, bytes]:
        store = self._store
        if self._ends and store.end_told == self._run_id:  # SUBMIT has seen to it
            store.end_told = ""
            if 0 <= time.time() - store.end_told_at < _END_TOLD:
                return {ear.key: _SUBMITTED}
        partition = self._store.keys.partition(self._run_id)
        args: list[Word] = [0, self._run_id, WATCH_LIFE, self._ends, NEWS_LIFE]
        last: bytes = self._store.link.run("watch", partition, args)
        return {ear.key: last}


class EndsWaker(Waker):
    """Wakes when runs have ended, and tells which. It goes on from the last entry that it has heard."""

    most = _ENDS

    def __init__(self, store: Store) -> None:
        self._last: dict[str, bytes] = {}
        self._renew: dict[str, float] = {}
        self._entries: list[list[bytes]] = []
        self._sure = True
        super().__init__(store, [Ear(store, key) for key in store.keys.partitions])

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

    def _streams(self, ear: Ear) -> dict[str, bytes]:
        key = ear.key
        now = time.monotonic()
        if key not in self._last or now > self._renew[key]:
            found: bytes = self._store.link.run("listen", key, [0, WATCH_LIFE])
            self._last.setdefault(key, found)
            self._renew[key] = now + PATIENCE / 1000
        return {f"{key}:ends": self._last[key]}

    def _heard(self, ear: Ear, answer: Any) -> None:
        if isinstance(answer, Exception):  # the stream may have been lost too, and begin anew
            self._last.pop(ear.key, None)
            self._sure = False
            return
        entries = answer[0][1] if answer else ()
        if len(entries) == _ENDS:  # there were so many that the stream was trimmed, perhaps
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
