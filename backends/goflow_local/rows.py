"""How words become columns and come back: node states, payloads, runs."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import msgspec

from goflow.backend import Run
from goflow.message import FINALLY, ON_FAILURE, Failure, Request
from goflow.payload import JSON, OCTETS, TEXT, Payload
from goflow.state import RunState
from goflow_local.sql import Connection

# node.state; the partial indexes of schema.py name these numbers
WAITING: Final = 0
READY: Final = 1
HELD: Final = 2
OPEN: Final = 3
RETRYING: Final = 4
SUCCEEDED: Final = 5
FAILED: Final = 6
STOPPED: Final = 7

HANDLERS: Final = (ON_FAILURE, FINALLY)

#: topics no run has: those of listeners for anything claimable, and for runs that end
WORK: Final = 0
ENDS: Final = -1

_MEDIA: Final = (OCTETS, TEXT, JSON)
_CODES: Final[dict[str, int]] = {media: code for code, media in enumerate(_MEDIA)}

unpack_failure: Final = msgspec.msgpack.Decoder(Failure).decode
unpack_request: Final = msgspec.msgpack.Decoder(Request).decode
unpack_keys: Final = msgspec.msgpack.Decoder(tuple[str, ...]).decode
unpack_flows: Final = msgspec.msgpack.Decoder(tuple[tuple[str, str], ...]).decode


def code_of(media_type: str) -> int | str:
    """A media type as a column: the three known ones as a digit."""
    return _CODES.get(media_type, media_type)


def payload_of(media: int | str, data: bytes) -> Payload:
    """The payload of two columns."""
    return Payload(data, _MEDIA[media] if isinstance(media, int) else media)


def fence(token: str) -> tuple[int, int]:
    """Node id and claim number of a token; of one that we never gave out, ones that match nothing."""
    node, _, number = token.partition(".")
    try:
        return int(node), int(number)
    except ValueError:
        return -1, -1


class RunRow(msgspec.Struct, gc=False):
    """A row of `run`, changed in memory and written back once at the end of a transaction."""

    key: int
    id: str
    flow: str
    fingerprint: str
    definition: int
    digest: str
    handlers: int
    timeout: float | None
    created: float
    state: str
    ending: str | None
    started: float | None
    finished: float | None
    deadline: float | None
    round: int
    owner: int
    revision: int
    result: int | None
    failure: bytes | None
    #: whether more than the revision has changed
    altered: bool = False

    def next(self) -> int:
        """A number that this run has never used: for ids, tokens, and to tell that it has changed."""
        self.revision += 1
        return self.revision

    def new_id(self) -> int:
        """An id for something that belongs to this run."""
        return self.key << 32 | self.next()

    @property
    def lane(self) -> int:
        """Where its ready tasks queue: with those of the same definition, or alone if it is owned."""
        return -2 * self.key if self.owner else self.definition

    @property
    def parked(self) -> int:
        """Where its ready tasks wait while nobody may claim them."""
        return -2 * self.key - 1

    def lane_for(self, path: str) -> int:
        """Where a node of it queues that has just become ready."""
        if self.state == RunState.PAUSED or (self.ending is not None and path not in HANDLERS):
            return self.parked
        return self.lane

    @property
    def ids(self) -> tuple[int, int]:
        """The first id that could be its, and the last."""
        return self.ids_of(self.key)

    @staticmethod
    def ids_of(key: int) -> tuple[int, int]:
        """The same by the run's key."""
        return key << 32, (key + 1 << 32) - 1


class Held(NamedTuple):
    """A node row as a commit finds it."""

    id: int
    run: int
    path: str
    state: int
    token: int
    attempt: int
    lost: int
    worker: int
    staged: int | None
    items: int | None
    queued: float | None


#: what a query that wants the flows of all runs begins with
FLOWS: Final = (
    "WITH RECURSIVE step (flow) AS (SELECT min(flow) FROM run UNION ALL"
    " SELECT (SELECT min(flow) FROM run WHERE flow > step.flow) FROM step WHERE flow IS NOT NULL),"
    " flows AS (SELECT flow FROM step WHERE flow IS NOT NULL)"
)

RUN_COLUMNS: Final = (
    "id, name, flow, fingerprint, definition, digest, handlers, timeout, created, state, ending,"
    " started, finished, deadline, round, owner, revision, result, failure"
)


def flows(connection: Connection) -> list[str]:
    """The flows there are runs of: a step in the index for each, and not a look at every run."""
    return [flow for (flow,) in connection.execute(f"{FLOWS} SELECT flow FROM flows")]


def run_of(row: RunRow, abandoned: bool) -> Run:
    """The run as people and commands see it."""
    state = RunState(row.state)
    failure = unpack_failure(row.failure) if row.failure is not None else None
    return Run(
        id=row.id,
        flow=row.flow,
        state=state,
        created=row.created,
        started=row.started,
        finished=row.finished,
        error=None if failure is None else error_text(failure),
        fingerprint=row.fingerprint,
        round=row.round,
        owner=row.owner,
        abandoned=abandoned,
        revision=row.revision,
        ending=None if row.ending is None or state.terminal else RunState(row.ending),
        failure=failure,
    )


def error_text(failure: Failure) -> str:
    """A failure in one line: which node, what happened."""
    return f"{failure.node}: {failure}" if failure.node else str(failure)


def row_of(columns: tuple[Any, ...]) -> RunRow:
    """The RunRow of the columns in RUN_COLUMNS."""
    return RunRow(*columns)
