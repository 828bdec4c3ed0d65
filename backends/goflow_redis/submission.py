"""A run as it is submitted, and what is kept of its request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from goflow.backend import Run
from goflow.message import TIMED_OUT, Failure, Request, pack
from goflow_redis import records
from goflow_redis.words import MAIL, Word, disclose, enclose, read_failure


class Head(msgspec.Struct, frozen=True, array_like=True):
    """What every task of a run is told: packed once, stored once."""

    query: dict[str, list[str]]
    headers: dict[str, str]
    starts: tuple[str, ...]
    made: float = 0.0


_head = msgspec.msgpack.Decoder(Head)


def submit_args(request: Request, watched: int = 0, most: int = MAIL) -> list[Word]:
    """A run's arguments of SUBMIT. Its end is told for `watched` ms, as if somebody had begun to wait for it. Of its starts
    `most` begin with it, the others as tasks are asked for, so many at a time."""
    late, starts = b"", request.starts
    pieces = [pack(("q", *starts[at : at + most])) for at in range(most, len(starts), most)]
    if request.timeout is not None:
        late = pack(Failure(TIMED_OUT, f"timed out after {request.timeout:g} s"))
    return [
        pack(
            (
                request.run_id,
                request.flow,
                request.fingerprint,
                request.digest,
                _timeout_of(request),
                _letters_of(request),
                starts[:most],
                watched,
                len(pieces),
            )
        ),
        pack(Head(request.query, request.headers, request.starts, request.made)),
        enclose(request.payload),
        late,
        *pieces,
    ]


def _timeout_of(request: Request) -> int:
    """In ms, 0 for none."""
    return 0 if request.timeout is None else max(1, int(request.timeout * 1000))


def _letters_of(request: Request) -> str:
    if not request.handlers:
        return "-"
    names = (name[1] for name in ("~on_failure", "~finally") if name in request.handlers)
    return "".join(names) or "-"


def submitted(request: Request, now: int, told: Any) -> Run | None:
    """What SUBMIT tells of one run, at that time (ms); None for a conflict."""
    if isinstance(told, bytes):
        return records.new_run(request.run_id, request.flow, request.fingerprint, now, told)
    how, state, identity, failure = told
    if how == b"conflict":
        return None
    return records.as_run(request.run_id, records.read_run(state, identity), read_failure(failure))


def read_request(run_id: str, lines: Sequence[bytes], payload: bytes) -> Request:
    """What was submitted, from `:s`, `:i`, `:h`, `:d` and the stored input."""
    record, head = records.read_run(lines[0], lines[1]), _head.decode(lines[2])
    names = {"o": "~on_failure", "f": "~finally"}
    return Request(
        run_id=run_id,
        flow=record.id.flow,
        fingerprint=record.id.fingerprint,
        payload=disclose(payload),
        query=head.query,
        digest=lines[3].decode(),
        starts=head.starts,
        handlers=tuple(names[letter] for letter in record.id.handlers if letter in names),
        headers=head.headers,
        timeout=record.id.timeout / 1000 if record.id.timeout else None,
        made=head.made,
    )


def read_head(stored: bytes) -> tuple[dict[str, list[str]], dict[str, str]]:
    """What every task of a run is told: its query and headers."""
    head = _head.decode(stored)
    return head.query, head.headers
