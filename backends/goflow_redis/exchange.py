"""A task as COMMIT hands it out, and its outcome as COMMIT reads it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final
from zlib import crc32

import msgspec

from goflow.message import Arrival, Claim, Input, Item, Outcome, Step, Task, pack
from goflow.payload import Payload
from goflow_redis import journal
from goflow_redis.submission import read_head
from goflow_redis.words import (
    MAIL,
    SIBLING,
    Word,
    disclose,
    enclose,
    escape,
    hold_of,
    queued_at,
    read_failure,
    read_keys,
    scope_of,
    token,
    unescape,
)

#: where a head of an outcome counts the words after it
_WORDS: Final = 4
#: what is told of a task: all of its inputs, a failure, keys
_WHOLE: Final = 1
_FAILED: Final = 2
_KEYED: Final = 4
_task = msgspec.msgpack.Decoder(list[Any])


def read_claims(told: Sequence[bytes]) -> list[Claim]:
    """Held tasks as `describe` in `_take.lua` tells of them, one after the other."""
    claims, place = list[Claim](), 0
    while place < len(told):
        claim, place = _read_claim(told, place)
        claims.append(claim)
    return claims


def _read_claim(told: Sequence[bytes], place: int) -> tuple[Claim, int]:
    """The task that is told of from this place on, and where the next one begins."""
    (
        run_id,
        flow,
        fingerprint,
        path,
        hold,
        attempt,
        lost,
        round_,
        closing,
        width,
        outcome,
        holds,
        *sources,
    ) = _task.decode(told[place])
    query, headers = read_head(told[place + 1])
    place += 2
    failure = keys = b""
    if holds & _FAILED:
        failure, place = told[place], place + 1
    if holds & _KEYED:
        keys, place = told[place], place + 1
    following = place + len(sources)
    task = Task(
        run_id,
        flow,
        fingerprint,
        path,
        token(flow, fingerprint, hold),
        attempt,
        lost,
        round_,
        query,
        headers,
        read_failure(failure),
        closing,
        read_keys(keys),
        width if closing else 0,
        outcome,
        queued_at(hold),
    )
    inputs = tuple(
        Input(unescape(source), disclose(value) if value else None)
        for source, value in zip(sources, told[place:following], strict=True)
    )
    return Claim(task, inputs, bool(holds & _WHOLE)), following


def outcome_args(
    outcome: Outcome, staged: int, now: float, who: str, most: int = MAIL
) -> list[Word]:
    """One outcome as COMMIT reads it: a packed head, then what is not ours to pack. `staged` scopes, or pieces of what comes
    after the first `most` arrivals, were staged before (-1: unknown)."""
    task, step, failure = outcome.task, outcome.step, outcome.failure
    attempt = journal.followed(outcome, who)
    head: list[object] = [
        task.run_id,
        task.path,
        hold_of(task),
        _kind(outcome),
        0,
        round(outcome.started * 1000),
        round(outcome.finished * 1000),
        outcome.digest,
        bool(outcome.log),
        bool(attempt),
        outcome.touches,
    ]
    args: list[Word] = [b""]
    if outcome.log:
        args.append(journal.log_piece(task, outcome.finished, outcome.log))
    if attempt:
        args.append(attempt)
    if outcome.touches:
        args.append(journal.access(outcome))
    if step is not None and step.opened is not None:
        opened = step.opened
        head += (opened.expects, opened.window, opened.keys is not None, staged, len(opened.items))
        if opened.keys is not None:
            args.append(pack(opened.keys))
        _add_writes(head, args, step)
        args += map(scope, opened.items)
    elif step is not None:
        head += (step.output is not None, step.ends)
        if step.output is not None:
            args.append(enclose(step.output))
        _add_writes(head, args, step)
        arrivals = step.arrivals[:most]
        head.append(len(arrivals))
        for arrival in arrivals:
            _add_packed(args, arrival, task.path)
        if len(step.arrivals) > most:
            head.append(staged)
    elif failure is not None:
        if outcome.retry_at is not None:
            # at most the delay itself: the clock may have been set back since the attempt, or the store away
            left = min(outcome.retry_at - now, outcome.retry_at - outcome.finished)
            head.append(max(0, round(left * 1000)))
        args.append(pack(failure))
    head[_WORDS] = len(args) - 1
    args[0] = pack(head)
    return args


def _kind(outcome: Outcome) -> str:
    if outcome.step is not None:
        return "ok" if outcome.step.opened is None else "open"
    if outcome.released:
        return "release"
    if outcome.stopped:
        return "stop"
    if outcome.retry_at is not None:
        return "retry"
    return "rescue" if outcome.rescue else "fail"


def _add_writes(head: list[object], args: list[Word], step: Step) -> None:
    if not step.writes:
        head += (False, False)
        return
    head.append(list(step.writes))
    head.append([value is not None for value in step.writes.values()])
    args += [enclose(value) for value in step.writes.values() if value is not None]


def _add_packed(args: list[Word], arrival: Arrival, by: str) -> None:
    """One arrival as COMMIT reads it: a packed word, then its payload where it has one of its own."""
    *told, stored = _words_of(arrival, by)
    args.append(pack(told))
    if stored is not None:
        args.append(stored)


def piece(arrivals: Iterable[Arrival], by: str) -> bytes:
    """Arrivals as they are staged; see `open_mail`. Lua's msgpack knows texts alone, which a payload need not be."""
    packed = [pack(False)]
    for arrival in arrivals:
        *told, stored = _words_of(arrival, by)
        packed += map(pack, told)
        packed.append(
            b"\xdb" + len(stored).to_bytes(4, "big") + stored
            if isinstance(stored, bytes)
            else pack(False)
        )
    return b"\xdd" + len(packed).to_bytes(4, "big") + b"".join(packed)


def _words_of(arrival: Arrival, by: str) -> list[str | int | bytes | None]:
    source, ref, payload = _bring(arrival, by)
    stored = None if payload is None else enclose(payload)
    told = (arrival.target, arrival.closing, arrival.expects, crc32(source.encode()), source, ref)
    return [*told, stored is not None, stored]


def add_arrival(args: list[Word], arrival: Arrival, by: str) -> None:
    """One arrival as RETRY reads it; `by` is the node path that recorded what it brings."""
    source, ref, payload = _bring(arrival, by)
    args += (
        arrival.target,
        1 if arrival.closing else 0,
        arrival.expects,
        crc32(source.encode()),
        source,
        ref,
        0 if payload is None else 1,
        b"" if payload is None else enclose(payload),
    )


def _bring(arrival: Arrival, by: str) -> tuple[str, str, Payload | None]:
    """An arrival's source, the data field of what it brings ("" for nothing), and its own payload."""
    source = escape(arrival.source)
    if not arrival.carries:
        return source, "", None
    if arrival.payload is None:
        near = not arrival.closing and by == scope_of(arrival.target) + arrival.source
        return source, SIBLING if near and source == arrival.source else f"o:{by}", None
    mark = "c" if arrival.closing else ""
    return source, f"p:{arrival.target}\2{mark}\2{source}", arrival.payload


def scope(item: Item) -> bytes:
    """A scope as it is staged: prefix and starts, then what they get."""
    return "\0".join((item.prefix, *item.starts)).encode() + b"\1" + enclose(item.payload)
