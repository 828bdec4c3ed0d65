"""Ended runs that are to be told as traces, and the store's figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from goflow.errors import BackendError
from goflow.state import RunState
from goflow_redis.store import MS
from goflow_redis.waiting import Waiting
from goflow_redis.words import Word

if TYPE_CHECKING:
    from goflow.figures import Figures, Name
    from goflow.untold import Ended

#: the group whose pending entries are the runs that somebody is telling
_GROUP: Final = ("t", "t")
#: ms for which something that was handed back is said to have been idle: longer than any lease
_HANDED_BACK: Final = 86_400_000


class Told(Waiting):
    """What is told of runs beside the runs themselves."""

    # -- traces -----------------------------------------------------------------------------------

    def untold(self, limit: int, lease: float) -> list[Ended]:
        """Up to `limit` rounds that nobody has told or is telling, the oldest first."""
        found: list[Ended] = []
        for partition in self.keys.partitions:
            if len(found) < limit:
                found += self._untold_of(partition, limit - len(found), lease)
        return found

    def telling(self, ended: Sequence[Ended], lease: float) -> None:
        """Nobody else gets these for a while."""
        idle = 0 if lease else _HANDED_BACK
        for key, entries in _by_stream(ended):
            claim: list[Word] = ["XCLAIM", key, *_GROUP, 0, *entries, "IDLE", idle, "JUSTID"]
            self.link.ask(key, *claim)

    def told(self, ended: Sequence[Ended]) -> None:
        """They need not be told again."""
        for key, entries in _by_stream(ended):
            self.link.ask_all(key, [("XACK", key, "t", *entries), ("XDEL", key, *entries)])

    def _untold_of(self, partition: str, limit: int, lease: float) -> list[Ended]:
        key = f"{partition}:untold"
        if not self.link.ask(key, "EXISTS", key):
            return []
        self._make_group(key)
        idle = int(lease * MS)
        left = self.link.ask(key, "XAUTOCLAIM", key, *_GROUP, idle, "0-0", "COUNT", limit)[1]
        entries = [entry for entry in left if entry and entry[1]]
        if len(entries) < limit:
            count = limit - len(entries)
            read = self.link.ask(
                key, "XREADGROUP", "GROUP", *_GROUP, "COUNT", count, "STREAMS", key, ">"
            )
            entries += read[0][1] if read else []
        return [_ended(key, entry.decode(), fields) for entry, fields in entries]

    def _make_group(self, key: str) -> None:
        groups = self.link.ask(key, "XINFO", "GROUPS", key)
        if not groups:
            try:
                self.link.ask(key, "XGROUP", "CREATE", key, "t", "0")
            except BackendError as error:
                if "BUSYGROUP" not in str(error):  # another teller was faster
                    raise

    # -- figures ----------------------------------------------------------------------------------

    def count(self, worker: int, numbers: Mapping[Name, int]) -> None:
        """Add what a worker has counted. A call that failed is repeated by the worker's next one."""
        call = self._counted.get(worker, 0) + 1
        args: list[Word] = [f"{worker}.{self._nonce}", call]
        for (flow, name), number in numbers.items():
            args += (f"{flow} {name}", number)
        self.link.run("count", self.keys.directory, args)
        self._counted[worker] = call

    def figures(self) -> Figures:
        """What was counted, over all partitions."""
        from goflow.figures import Figures

        numbers: dict[Name, int] = {}
        active: dict[str, int] = {}
        for top in (self.keys.directory, *self.keys.partitions):
            for field, value in self._hash(f"{top}:figures"):
                for figure, share in _names(field):
                    numbers[figure] = numbers.get(figure, 0) + share * value
        for (flow, name), value in list(numbers.items()):
            if name == "begun":
                del numbers[flow, name]
            ends = name.startswith("runs:")
            if ends or name == "begun":
                active[flow] = active.get(flow, 0) + (-value if ends else value)
        return Figures(numbers=numbers, active=active, oldest=self._oldest())

    def _hash(self, key: str) -> Iterator[tuple[str, int]]:
        words = iter(self.link.ask(key, "HGETALL", key))
        for field, value in zip(words, words, strict=True):
            yield field.decode(), int(value)

    def _oldest(self) -> dict[str, float]:
        found: dict[str, float] = {}
        for partition in self.keys.partitions:
            for name, (_, since) in self.waiting_in(partition).items():
                flow, when = name.partition(":")[0], since / MS
                if when:
                    found[flow] = min(found.get(flow, when), when)
        return found


def _names(field: str) -> Iterator[tuple[Name, int]]:
    """The figures that a field of a hash means; the end of a run counts in two."""
    flow, name, *at = field.split(" ")
    if at:
        yield (flow, f"runs:{name}"), 1
        yield (flow, f"run:{at[0]}"), 1
    else:
        yield (flow, name), 1


def _ended(key: str, entry: str, fields: Sequence[bytes]) -> Ended:
    from goflow.untold import Ended

    words = dict(zip(fields[::2], fields[1::2], strict=True))
    began = int(words[b"b"]) / MS
    return Ended(
        run_id=words[b"r"].decode(),
        round=int(words[b"n"]),
        state=RunState(words[b"s"].decode()),
        started=began or None,
        finished=int(words[b"f"]) / MS,
        key=f"{key} {entry}",
    )


def _by_stream(ended: Sequence[Ended]) -> Iterator[tuple[str, list[str]]]:
    streams: dict[str, list[str]] = {}
    for each in ended:
        key, _, entry = each.key.rpartition(" ")
        streams.setdefault(key, []).append(entry)
    yield from streams.items()
