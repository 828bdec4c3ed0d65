"""What a node instance did when: waiting, running, failing, lost with its worker; and when a run of several
rounds lay idle."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

import msgspec

from goflow.backend import Attempt, NodeRun
from goflow.tries import SAME

#: from when to when a run lay idle, in seconds since the epoch
Gap = tuple[float, float]

Kind = Literal["waited", "ran", "failed", "lost", "open"]


class Piece(msgspec.Struct, frozen=True, omit_defaults=True):
    """A part of a bar, in seconds since the epoch: ready and waiting for a worker, running, an attempt that
    failed, one whose `worker` vanished (until that was found out), or (of a branch) open, while its inner
    nodes are on their way."""

    kind: Kind
    begin: float
    end: float
    worker: str = ""


def pieces_of(node: NodeRun, tries: Sequence[Attempt], now: float) -> list[Piece]:
    """What a started node did, in order: its earlier attempts, then what its own record tells."""
    started = node.started if node.started is not None else now
    finished = max(node.finished if node.finished is not None else now, started)
    if node.width is not None:
        return [*waited(node.ready, started), Piece("open", started, finished)]
    earlier = [each for each in tries if each.started < started - SAME]
    pieces: list[Piece] = []
    for each in earlier:
        pieces += [*waited(each.ready, each.started), _tried(each)]
    present = next((t for t in tries if abs(t.started - started) <= SAME), None)
    ready = node.ready if present is None or present.ready is None else present.ready
    if pieces and ready is not None:
        ready = max(ready, pieces[-1].end)
    over = node.finished is not None or node.state.value == "running"
    if not over and tries:  # it waits for its retry: its last attempt is the last that is known
        last = max(tries, key=lambda each: each.finished)
        return pieces if last in earlier else [*pieces, _tried(last)]
    kind: Kind = "failed" if node.state.value == "failed" else "ran"
    return [*pieces, *waited(ready, started), Piece(kind, started, finished)]


def _tried(attempt: Attempt) -> Piece:
    """A recorded attempt."""
    if attempt.state == "lost":
        return Piece("lost", attempt.started, attempt.finished, attempt.worker)
    kind: Kind = "ran" if attempt.state == "succeeded" else "failed"
    return Piece(kind, attempt.started, attempt.finished)


def waited(ready: float | None, started: float) -> list[Piece]:
    """The wait before a start, if it is known and there was one."""
    return [Piece("waited", ready, started)] if ready is not None and ready < started else []


def gaps_of(nodes: Iterable[NodeRun], attempts: Sequence[Attempt]) -> list[Gap]:
    """When a run lay idle between two rounds: from the last end of one to the first start of the next."""
    # a branch that closes in a round counts from its opening, which may be an earlier round's
    branches = {node.path for node in nodes if node.width is not None}
    plain = [each for each in attempts if each.path not in branches]
    gaps = []
    for round_ in range(2, max((each.round for each in attempts), default=1) + 1):
        over = max((each.finished for each in attempts if each.round < round_), default=None)
        if over is None:
            continue
        begun = [each.started for each in plain if each.round == round_ and each.started > over]
        if begun:
            gaps.append((over, min(begun)))
    return gaps


def without(pieces: Iterable[Piece], gaps: Sequence[Gap]) -> Iterator[Piece]:
    """The pieces, of which those that waited for a worker did not wait while nothing was asked for."""
    for piece in pieces:
        begin = piece.begin
        if piece.kind == "waited":
            begin = max(
                [
                    begin,
                    *(
                        stop
                        for start, stop in gaps
                        if begin <= stop <= piece.end and begin >= start
                    ),
                ]
            )
        if begin < piece.end or piece.kind != "waited":
            yield msgspec.structs.replace(piece, begin=begin)


def length(piece: Piece, gaps: Sequence[Gap]) -> float:
    """Its seconds, those in gaps left out."""
    idle = (min(piece.end, stop) - max(piece.begin, start) for start, stop in gaps)
    return piece.end - piece.begin - sum(max(0.0, each) for each in idle)
