"""How many tasks wait for a worker, and since when."""

from __future__ import annotations

import itertools
from typing import Final

from goflow.backend import FlowKey
from goflow_redis.store import Store
from goflow_redis.words import Word

#: how many ready tasks are looked at when they are counted, and by one script call
_EXACT: Final = 1000
_LOOK: Final = 100


class Waiting(Store):
    """Counting what is ready."""

    def waiting(self) -> dict[FlowKey, int]:
        """How many ready tasks wait, by the definition they need."""
        counts: dict[FlowKey, int] = {}
        for partition in self.keys.partitions:
            for name, (count, _) in self.waiting_in(partition).items():
                flow, _, fingerprint = name.partition(":")
                if count:
                    key = (flow, fingerprint)
                    counts[key] = counts.get(key, 0) + count
        return counts

    def waiting_in(self, partition: str) -> dict[str, tuple[int, int]]:
        """How many ready tasks wait there and since when (ms) the first of them does, by `flow:fingerprint`; exact where
        fewer than some wait."""
        found = dict.fromkeys(self.classes(partition), (0, 0))
        open_ = dict.fromkeys(found, "")
        looks = 0
        while open_:
            looks += _LOOK
            some = _LOOK if looks <= _EXACT else 0
            args: list[Word] = [self.lives, some, *itertools.chain.from_iterable(open_.items())]
            told = iter(self.link.run("waiting", partition, args))
            for name, count, since, last in zip(list(open_), *[told] * 3, strict=True):
                before, first = found[name]
                found[name] = (before + count if some else count, first or int(since))
                open_[name] = last.decode()
            open_ = {name: last for name, last in open_.items() if last}
        return found
