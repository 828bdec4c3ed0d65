"""Reading a run's shared store, as it is and as it was."""

from __future__ import annotations

from typing import Final

from goflow.backend import Access
from goflow.errors import UnknownRun, VersionGone
from goflow.payload import Payload
from goflow_redis import journal, words
from goflow_redis.store import Store

#: accesses read at a time
PIECES: Final = 256


class Values(Store):
    """What nodes keep for one another. All raise UnknownRun for an id the store does not hold."""

    def context(self, run_id: str, key: str) -> Payload | None:
        """A value of the run's shared store, as committed."""
        return self.present(run_id, key)[1]

    def context_keys(self, run_id: str) -> list[str]:
        """The keys of the run's shared store, sorted."""
        self.read(run_id)
        fields = self.scan(f"{self.keys.run(run_id)}:d", match="v:*")
        return sorted(field.decode()[len("v:") :] for field, _ in fields)

    def present(self, run_id: str, key: str) -> tuple[int, Payload | None]:
        """The number of the present version of a key, and its value."""
        stored, told = self._context(run_id, f"v:{key}", f"u:{key}")
        return _numbers(told)[0], words.disclose(stored) if stored else None

    def version(self, run_id: str, key: str, number: int) -> Payload | None:
        """A value as it was. Raises VersionGone where that is not kept."""
        past, stored, told = self._context(run_id, f"w:{number}:{key}", f"v:{key}", f"u:{key}")
        last, first = _numbers(told)
        if number == last:
            past = stored
        elif past is None and not number == first == 0:  # 0 is kept where there was something
            raise VersionGone(key, number)
        return words.disclose(past) if past else None

    def accesses(self, run_id: str) -> list[Access]:
        """What attempts of every round read and wrote, in the order they were recorded."""
        key = self.keys.run(run_id)
        self.read(run_id)
        found: list[Access] = []
        while stored := self.link.ask(
            key, "LRANGE", f"{key}:c", len(found), len(found) + PIECES - 1
        ):
            found += map(journal.read_access, stored)
        return found

    def _context(self, run_id: str, *fields: str) -> list[bytes | None]:
        """Fields of a run's data."""
        name = self.keys.run(run_id)
        there, found = self.link.ask_all(name, [("EXISTS", name), ("HMGET", f"{name}:d", *fields)])
        if not there:
            raise UnknownRun(run_id)
        told: list[bytes | None] = found
        return told


def _numbers(told: bytes | None) -> tuple[int, int]:
    """The present version of a context key and the oldest that is kept, as `u:` tells them."""
    last, first, _ = (told or b"0:0:0").split(b":")
    return int(last), int(first)
