"""Doing at once what many callers want: a server's submits, and the ends of the runs it answers with; or what
one wants of many nodes.

A backend may have the methods of `Wholesale`, of `Bulk`, of `OneLook` and of `Ordered`; one that lacks them is asked for one
run, one node after the other, or for all at once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final, Protocol, runtime_checkable

from goflow.abilities import Paged
from goflow.backend import Attempt, Backend, NodeRun, Run, Waker
from goflow.blobs.words import is_reference
from goflow.errors import Conflict, GoflowError, RunEnded, UnknownRun
from goflow.message import Request
from goflow.payload import Payload

#: node instances of a list that are in memory at a time
PIECE: Final = 1000

#: a run as it is now, and what it made where it has succeeded
Look = tuple[Run, Payload | None]

#: what came to a node over its edges, each with its source
Arrived = list[tuple[str, Payload | None]]


class Ends(Waker, Protocol):
    """Wakes when runs have ended, whichever they are, and tells which."""

    def ended(self, wanted: Collection[str]) -> Mapping[str, Look | None] | None:
        """Those of the wanted runs that ended before the last `clear` and were not told yet (a few may be
        told twice), by their ids. With each as it had just ended and what it made, or None where one has to
        look. None for all where it cannot tell: then all that one waits for must be looked at."""
        ...


@runtime_checkable
class Wholesale(Protocol):
    """A backend that does many at the price of few."""

    def submit_all(self, requests: Sequence[Request]) -> list[Run | GoflowError]:
        """Submit each as `submit` does. In place of a run stands what `submit` would have raised; the
        others are accepted all the same."""
        ...

    def results(self, run_ids: Sequence[str]) -> list[Look | GoflowError]:
        """Each run as it is now, with what it made. In place of one stands what kept it from being told
        (UnknownRun)."""
        ...

    def watch_ends(self) -> Ends:
        """Nothing that ends after this returns is missed."""
        ...


@runtime_checkable
class Bulk(Protocol):
    """A backend that reads what many nodes of a run have recorded at the price of few. All of it is in
    memory at once: whoever asks for many nodes asks for some at a time. Both raise UnknownRun."""

    def outputs(self, run_id: str, paths: Sequence[str]) -> list[Payload | None]:
        """What `output` answers for each path."""
        ...

    def all_arrivals(self, run_id: str, paths: Sequence[str]) -> list[Arrived]:
        """What `arrivals` answers for each path."""
        ...


@runtime_checkable
class OneLook(Protocol):
    """A backend that reads a run's nodes and what they tried in one look at its records."""

    def nodes_and_tries(self, run_id: str) -> tuple[list[NodeRun], list[Attempt]]:
        """What `nodes` answers, and what `attempts` does where `Attempt`s tell more: all of a run of several
        rounds; else those of nodes that were attempted more than once or did not succeed. Others may be
        among them. Raises UnknownRun."""
        ...


@runtime_checkable
class Ordered(Protocol):
    """A backend that tells the order of a run's nodes without what they are, so that a run of any width can be listed
    in pieces."""

    def order_and_tries(self, run_id: str) -> tuple[Sequence[str], list[Attempt]]:
        """The paths of what `nodes` answers, in its order, and the attempts that `nodes_and_tries` does. Raises
        UnknownRun."""
        ...


def submit_all(backend: Backend, requests: Sequence[Request]) -> list[Run | GoflowError]:
    """See Wholesale."""
    if isinstance(backend, Wholesale):
        return backend.submit_all(requests)
    return [_submit(backend, request) for request in requests]


def results(backend: Backend, run_ids: Sequence[str]) -> list[Look | GoflowError]:
    """See Wholesale."""
    if isinstance(backend, Wholesale):
        return backend.results(run_ids)
    return [_look(backend, run_id) for run_id in run_ids]


def heard(ends: Ends, wanted: Collection[str], *, doubt: bool) -> tuple[dict[str, Look], list[str]]:
    """What is told of the wanted runs that have ended, and those of them at which one has to look: in doubt
    all, and those whose result is kept apart."""
    ends.clear()
    ended = ends.ended(wanted)
    if doubt or ended is None:
        return {}, list(wanted)
    told = {
        run_id: look
        for run_id, look in ended.items()
        if look is not None and not (look[1] is not None and is_reference(look[1]))
    }
    return told, [run_id for run_id in ended if run_id not in told]


def outputs(backend: Backend, run_id: str, paths: Sequence[str]) -> list[Payload | None]:
    """See Bulk."""
    if isinstance(backend, Bulk):
        return backend.outputs(run_id, paths)
    return [backend.output(run_id, path) for path in paths]


def all_arrivals(backend: Backend, run_id: str, paths: Sequence[str]) -> list[Arrived]:
    """See Bulk."""
    if isinstance(backend, Bulk):
        return backend.all_arrivals(run_id, paths)
    return [backend.arrivals(run_id, path) for path in paths]


def nodes_and_tries(backend: Backend, run_id: str) -> tuple[list[NodeRun], list[Attempt]]:
    """See OneLook."""
    if isinstance(backend, OneLook):
        return backend.nodes_and_tries(run_id)
    return backend.nodes(run_id), backend.attempts(run_id)


class AllNodes:
    """The recorded node instances of a run, to be gone through as often as one likes."""

    def __init__(self, backend: Backend, run_id: str) -> None:
        self._backend = backend
        self._run_id = run_id

    def __iter__(self) -> Iterator[NodeRun]:
        if isinstance(self._backend, Paged):
            return (node for page in self._backend.node_pages(self._run_id) for node in page)
        return iter(self._backend.nodes(self._run_id))


class Listed:
    """The recorded node instances of a run in their order, to be gone through as often as one likes, and `tries`,
    the attempts that they do not tell themselves: one look at which there are, then a piece of them at a time."""

    def __init__(self, backend: Backend, run_id: str) -> None:
        self._backend = backend
        self._run_id = run_id
        self._all: Sequence[NodeRun] = ()
        self._order: Sequence[str] = ()
        if isinstance(backend, Ordered):
            self._order, self.tries = backend.order_and_tries(run_id)
        else:
            self._all, self.tries = nodes_and_tries(backend, run_id)

    def __iter__(self) -> Iterator[NodeRun]:
        yield from self._all
        for first in range(0, len(self._order), PIECE):
            yield from self._backend.nodes(self._run_id, self._order[first : first + PIECE])


def _submit(backend: Backend, request: Request) -> Run | GoflowError:
    try:
        return backend.submit(request)
    except GoflowError as error:
        return error


def _look(backend: Backend, run_id: str) -> Look | GoflowError:
    try:
        run = backend.run(run_id)
        if run.state != "succeeded":
            return run, None
        return run, backend.result(run_id)
    except (Conflict, RunEnded):  # it was retried in between
        return run, None
    except UnknownRun as error:
        return error
