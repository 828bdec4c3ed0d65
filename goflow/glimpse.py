"""What a page has room for: the beginnings of payloads, the end of a log, the attempts of one node.

A backend may have the methods of `Glimpsing`; of one that lacks them the whole is read, and cut here.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import NamedTuple, Protocol, runtime_checkable

from msgspec.structs import replace

from goflow.backend import Attempt, Backend, LogLine
from goflow.message import Request
from goflow.payload import Payload


class Glimpse(NamedTuple):
    """The first bytes of a payload, and how many it has in all."""

    payload: Payload
    size: int

    @property
    def whole(self) -> bool:
        """Whether that is all of it."""
        return len(self.payload.data) == self.size


#: what came to a node over its edges, each with its source, as far as it is told; and how many there are
Glimpses = tuple[list[tuple[str, Glimpse | None]], int]


@runtime_checkable
class Glimpsing(Protocol):
    """A backend that reads parts of what a run has recorded: of payloads at most `most` bytes each. All raise
    UnknownRun."""

    def glimpse_request(self, run_id: str, most: int) -> tuple[Request, int]:
        """What was submitted, its payload cut; and the bytes that payload has."""
        ...

    def glimpse_output(self, run_id: str, path: str | None, most: int) -> Glimpse | None:
        """What a node instance recorded, or (no path) the run's result; None where nothing is."""
        ...

    def glimpse_arrivals(self, run_id: str, path: str, most: int, count: int) -> Glimpses:
        """The first arrivals at a node instance, `count` of them at most, in the order of `arrivals`."""
        ...

    def last_logs(self, run_id: str, path: str | None, most: int) -> list[LogLine]:
        """The last pieces that `logs` answers: so few that they have `most` bytes together, or all."""
        ...

    def attempts_at(self, run_id: str, path: str) -> list[Attempt]:
        """Those of `attempts` that were made at one node instance."""
        ...


def cut(payload: Payload, most: int) -> Glimpse:
    """The beginning of a payload that is at hand."""
    return Glimpse(Payload(payload.data[:most], payload.media_type), len(payload.data))


def of_request(backend: Backend, run_id: str, most: int) -> tuple[Request, int]:
    """See Glimpsing."""
    if isinstance(backend, Glimpsing):
        return backend.glimpse_request(run_id, most)
    request = backend.request(run_id)
    seen = cut(request.payload, most)
    return replace(request, payload=seen.payload), seen.size


def of_output(backend: Backend, run_id: str, path: str | None, most: int) -> Glimpse | None:
    """See Glimpsing. Without a path the run must have succeeded."""
    if isinstance(backend, Glimpsing):
        return backend.glimpse_output(run_id, path, most)
    made = backend.result(run_id) if path is None else backend.output(run_id, path)
    return None if made is None else cut(made, most)


def of_arrivals(backend: Backend, run_id: str, path: str, most: int, count: int) -> Glimpses:
    """See Glimpsing."""
    if isinstance(backend, Glimpsing):
        return backend.glimpse_arrivals(run_id, path, most, count)
    found = backend.arrivals(run_id, path)
    told = [
        (source, None if each is None else cut(each, most)) for source, each in islice(found, count)
    ]
    return told, len(found)


def last_logs(backend: Backend, run_id: str, path: str | None, most: int) -> list[LogLine]:
    """See Glimpsing."""
    if isinstance(backend, Glimpsing):
        return backend.last_logs(run_id, path, most)
    return ending(reversed(backend.logs(run_id, path)), most)


def attempts_at(backend: Backend, run_id: str, path: str) -> list[Attempt]:
    """See Glimpsing."""
    if isinstance(backend, Glimpsing):
        return backend.attempts_at(run_id, path)
    return [each for each in backend.attempts(run_id) if each.path == path]


def ending(backwards: Iterable[LogLine], most: int) -> list[LogLine]:
    """Of pieces from the last to the first those that `last_logs` answers, in order."""
    found: list[LogLine] = []
    for line in backwards:
        found.append(line)
        most -= len(line.data)
        if most <= 0:
            break
    return found[::-1]
