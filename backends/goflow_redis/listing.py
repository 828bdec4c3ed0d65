"""Lists of runs: some of the newest, of any flow and state, whatever lies between them.

A flow's runs of one state are one range of its list (`P:runs:<flow>`), in order. So each such range is read from
its end, and all are merged: what a list costs does not depend on how many runs the store holds, nor on how far one
has gone in it. A run that changes its state meanwhile may be met twice or not at all; it is never told twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from heapq import heapify, heappop, heapreplace
from itertools import islice
from typing import Final

from goflow.backend import Run
from goflow.state import RunState
from goflow_redis import records, words
from goflow_redis.records import read_run
from goflow_redis.store import Store

#: places of states in a list, how far they are apart, and the date (us) from which dates are counted: as in `_records.lua`
PLACES: Final = {
    RunState.QUEUED: 0, RunState.RUNNING: 1, RunState.PAUSED: 2, RunState.STOPPING: 3,
    RunState.SUCCEEDED: 4, RunState.FAILED: 5, RunState.STOPPED: 6,
}  # fmt: skip
SPAN: Final = 1 << 50
SINCE: Final = 1_577_836_800_000_000
#: entries of one range that are read at a time at least
LEAST: Final = 8

#: where a run is among all, from the newest to the oldest: its date, and its id where dates are the same
_Place = tuple[int, str]


class _Range:
    """The runs of one flow in one state of one partition, from the newest or from a place on."""

    def __init__(self, partition: str, key: str, state: RunState, before: _Place | None) -> None:
        self.partition = partition
        self._key = key
        self._start = PLACES[state] * SPAN
        self._before = before
        self._step = 0
        #: read and not yet taken, the oldest first
        self.read: list[_Place] = []
        #: whether there is more behind it
        self.more = True

    def asked(self, step: int) -> tuple[str | int, ...]:
        """The command that reads on."""
        self._step = step
        # runs of one date may lie on both sides of the last one read: they are read again
        last = self._start + (SPAN - 1 if self._before is None else self._before[0])
        return ("ZREVRANGEBYSCORE", self._key, last, self._start, "WITHSCORES", "LIMIT", 0, step)

    def answered(self, flat: Sequence[bytes]) -> None:
        """What it answered."""
        pairs = zip(flat[1::2], flat[::2], strict=True)
        places = [(int(float(score)) - self._start, run_id.decode()) for score, run_id in pairs]
        self.more = len(places) == self._step
        self.read = [p for p in places if self._before is None or p < self._before][::-1]
        if self.read:
            self._before = self.read[0]


def newest(
    store: Store, flow: str | None, state: RunState | None, limit: int, before: str | None
) -> list[Run]:
    """At most so many runs, the newest first, or those older than one. Raises UnknownRun."""
    start = None if before is None else _place(store, before)
    ranges = [
        _Range(partition, store.keys.runs(partition, name), each, start)
        for partition in store.keys.partitions
        for name in ([flow] if flow is not None else store.flows(partition))
        for each in ([state] if state is not None else PLACES)
    ]
    found: list[Run] = []
    ids = _merged(store, ranges, limit)
    while len(found) < limit and (some := list(islice(ids, limit - len(found)))):
        found += (run for run in _read(store, some) if state in (None, run.state))
    return found


def _place(store: Store, run_id: str) -> _Place:
    """Where a run is among all. Raises UnknownRun."""
    run, _ = store.read(run_id)
    return max(0, run.id.date - SINCE), run_id


def _merged(store: Store, ranges: list[_Range], limit: int) -> Iterator[str]:
    """The ids of all ranges, the newest first."""
    if limit <= 0:
        return
    _fill(store, ranges, min(limit, max(LEAST, 4 * limit // max(1, len(ranges)))))
    heads = [(_newer(each.read[-1]), number) for number, each in enumerate(ranges) if each.read]
    heapify(heads)
    seen: set[str] = set()
    while heads:
        number = heads[0][1]
        each = ranges[number]
        _, run_id = each.read.pop()
        if run_id not in seen:
            seen.add(run_id)
            yield run_id
        if not each.read:
            _fill(store, [each], limit)
        if each.read:
            heapreplace(heads, (_newer(each.read[-1]), number))
        else:
            heappop(heads)


def _newer(place: _Place) -> tuple[int, tuple[int, ...]]:
    """A key by which the newest comes first."""
    return -place[0], tuple(-ord(letter) for letter in place[1])


def _fill(store: Store, ranges: Sequence[_Range], step: int) -> None:
    """Read on in ranges of which nothing is left, one call a partition."""
    for partition in dict.fromkeys(each.partition for each in ranges):
        dry = [each for each in ranges if each.partition == partition]
        while dry := [each for each in dry if each.more and not each.read]:
            answers = store.link.ask_all(partition, [each.asked(step) for each in dry])
            for each, answer in zip(dry, answers, strict=True):
                each.answered(answer)
            step *= 2


def _read(store: Store, ids: Sequence[str]) -> Iterator[Run]:
    """The runs as they are now; those past their retention are left out."""
    found: dict[int, Run] = {}
    for partition, places in store.grouped(ids):
        keys = [f"{partition}:r:{ids[place]}" for place in places]
        lines = store.link.ask_all(partition, [("HMGET", key, ":s", ":i") for key in keys])
        failures = store.link.ask_all(partition, [("HGET", f"{key}:d", "f:") for key in keys])
        for place, line, failure in zip(places, lines, failures, strict=True):
            if line[0] is not None:
                record, told = read_run(*line), words.read_failure(failure)
                found[place] = records.as_run(ids[place], record, told)
    return (found[place] for place in sorted(found))
