"""What a run's nodes printed, read in pieces from either end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from goflow.backend import LogLine
from goflow.errors import UnknownRun
from goflow.glimpse import ending
from goflow_redis import journal
from goflow_redis.store import Store

#: pieces read at a time
PIECES: Final = 256


class Logs(Store):
    """Reading logs. All raise UnknownRun for an id the store does not hold."""

    def logs(
        self, run_id: str, path: str | None = None, after: int = 0, limit: int | None = None
    ) -> list[LogLine]:
        """What its nodes printed, from the piece after `after`, at most `limit` pieces."""
        key = self.keys.run(run_id)
        if not self.link.ask(key, "EXISTS", key):
            raise UnknownRun(run_id)
        found: list[LogLine] = []
        step = PIECES if limit is None or path is not None else min(limit, PIECES)
        while limit is None or len(found) < limit:
            stored = self.link.ask(key, "LRANGE", f"{key}:l", after, after + step - 1)
            lines = (journal.read_log(after + n, each) for n, each in enumerate(stored, start=1))
            found += [line for line in lines if path in (None, line.path)]
            after += len(stored)
            if len(stored) < step:
                break
        return found[:limit]

    def last_logs(self, run_id: str, path: str | None, most: int) -> list[LogLine]:
        """The last pieces of what its nodes printed."""
        key = self.keys.run(run_id)
        there, count = self.link.ask_all(key, [("EXISTS", key), ("LLEN", f"{key}:l")])
        if not there:
            raise UnknownRun(run_id)
        return ending(self._backwards(f"{key}:l", count, path), most)

    def _backwards(self, key: str, count: int, path: str | None) -> Iterator[LogLine]:
        """Pieces of a log from the last to the first."""
        for end in range(count, 0, -PIECES):
            first = max(0, end - PIECES)
            stored = self.link.ask(key, "LRANGE", key, first, end - 1)
            for number, each in reversed(list(enumerate(stored, start=first + 1))):
                line = journal.read_log(number, each)
                if path in (None, line.path):
                    yield line
