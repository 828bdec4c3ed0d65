"""A new round of a run that has ended: decided here (rewind.py), written by one script.

That script does so provided the run's revision is still the one that was read; else the run is read again. What would
hold up the server is done in pieces before, while the run has ended (`prepare.lua`): a caller who dies in between
leaves it ended, and the next one goes on from there.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Final
from uuid import uuid4

from goflow.backend import Retry, Run
from goflow.errors import Conflict, UnknownRun
from goflow.message import Rewind
from goflow.state import RunState
from goflow_redis import exchange, journal, records
from goflow_redis.nodes import Nodes
from goflow_redis.rewind import Change, plan_round
from goflow_redis.words import Word

#: nodes forgotten or parked by one script call, and data fields forgotten: some 1 ms of a Redis core
PIECE: Final = 100
FIELDS: Final = 500
#: how often a run that changes meanwhile is read again
_ATTEMPTS: Final = 10


def open_round(runs: Nodes, run_id: str, retry: Retry) -> Run:
    """Open a new round. Raises Conflict for a run that cannot have one."""
    nonce, rewind = uuid4().hex, retry.rewind
    partition = runs.keys.partition(run_id)
    #: data fields that were forgotten before the round that follows this one
    last_round, forgotten = 0, set[str]()
    for _ in range(_ATTEMPTS):
        record, _failure = runs.read(run_id)
        if not record.now.state.terminal:
            raise _conflict(run_id, record.now.state)
        if record.now.state is RunState.SUCCEEDED and rewind is None:
            raise Conflict(
                f"run {run_id} has succeeded: name the node to repeat, `goflow retry {run_id}"
                " --from NODE`"
            )
        if "m" in record.now.uses:  # what was sent on is delivered before, and that is looked at
            deliver_rest(runs, run_id)
            continue
        _check_begun(runs, run_id, rewind)
        change = plan_round(runs, run_id, rewind, record.now.round + 1)
        if last_round != record.now.round:
            last_round, forgotten = record.now.round, set()
        change.loose = [field for field in change.loose if field not in forgotten]
        if _is_huge(change):
            _prepare(runs, run_id, rewind, change, record.now.round + 1)
            forgotten.update(change.loose)
            continue  # and look again
        _take_in(runs, run_id, change)
        arguments = _arguments(change, rewind)
        fingerprint = (rewind.fingerprint if rewind else None) or ""
        head: list[Word] = [runs.lives, run_id, nonce, record.now.rev, fingerprint]
        how, *told = runs.link.run("retry", partition, [*head, *arguments])
        if how == b"gone":
            raise UnknownRun(run_id)
        if how == b"live":
            raise _conflict(run_id, records.read_run(*told[:2]).now.state)
        if how == b"wide":
            _go_through(runs, "keep", run_id)
        if how == b"ok":
            return records.as_run(run_id, records.read_run(*told[:2]), None)
    raise Conflict(f"run {run_id} keeps changing; try again")


def deliver_rest(runs: Nodes, run_id: str) -> None:
    """What nodes of a run that has ended had sent on, and nobody had asked for."""
    _go_through(runs, "deliver", run_id)


def _go_through(runs: Nodes, script: str, run_id: str) -> None:
    """Call a script piece by piece until nothing is left to do."""
    while runs.link.run(script, runs.keys.partition(run_id), [runs.lives, run_id]):
        continue


def _check_begun(runs: Nodes, run_id: str, rewind: Rewind | None) -> None:
    """Details of a run that somebody began to repeat have gone: it can only be repeated from there."""
    key = runs.keys.run(run_id)
    stored = runs.link.ask(key, "HGET", key, ":y")
    if stored is None:
        return
    begun = stored.decode().split("\0")
    repeated = {*rewind.removed, *rewind.ready} if rewind is not None else set()
    if not repeated.issuperset(begun):
        raise Conflict(
            f"a retry of run {run_id} was begun that repeats {', '.join(begun[:5])}: if it was interrupted,"
            f" `goflow retry {run_id} --from NODE` with the node it was about, or one before it"
        )


def _is_huge(change: Change) -> bool:
    """Whether one script would hold up the server."""
    many = len(change.inner) > PIECE or len(change.further) > PIECE
    return many or len(change.loose) + sum(map(len, change.inner.values())) > FIELDS


def _prepare(runs: Nodes, run_id: str, rewind: Rewind | None, change: Change, round_: int) -> None:
    """Forget nodes inside of what is repeated, and park unfinished ones, so that no script holds up the
    server. A node goes after its data: who goes on after an interruption finds what is left by its record."""
    what = "\0".join(sorted({*rewind.removed, *rewind.ready})) if rewind is not None else ""
    partition, branches = runs.keys.partition(run_id), set(change.lists)

    def some(fields: Sequence[str], nodes: Sequence[str], further: Sequence[str]) -> bool:
        kept = {
            attempt.path: journal.write_attempt(act, attempt)
            for act, attempt in runs.last_attempts(run_id, [*nodes, *further])
        }
        args: list[Word] = [runs.lives, run_id, round_, what, len(fields), *fields, len(nodes)]
        for path in nodes:
            args += (path, kept.get(path, b""), int(path in branches))
        args.append(len(further))
        for path in further:
            args += (path, kept.get(path, b""))
        return bool(runs.link.run("prepare", partition, args) == b"ok")

    fields = [*change.loose, *itertools.chain.from_iterable(change.inner.values())]
    _ = (
        all(some(part, (), ()) for part in _pieces(fields, FIELDS))
        and all(some((), part, ()) for part in _pieces(sorted(change.inner), PIECE))
        and all(some((), (), part) for part in _pieces(change.further, PIECE))
    )


def _pieces(words: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    return (words[first : first + size] for first in range(0, len(words), size))


def _take_in(runs: Nodes, run_id: str, change: Change) -> None:
    """What is little goes with the round's own script."""
    for path, fields in change.inner.items():
        change.removed.append(path)
        change.fields += fields
    change.fields += change.loose
    rewritten = {*change.touched, *change.further}
    change.attempts = [
        journal.write_attempt(*each) for each in runs.last_attempts(run_id, sorted(rewritten))
    ]


def _conflict(run_id: str, state: RunState) -> Conflict:
    return Conflict(
        f"run {run_id} is still on its way ({state}); stop it first, or wait for its end"
    )


def _arguments(change: Change, rewind: Rewind | None) -> list[Word]:
    args: list[Word] = []
    listed: tuple[list[str] | list[bytes], ...] = (
        change.removed,
        change.fields,
        change.lists,
        change.attempts,
        change.further,
        change.starts,
    )
    for each in listed:
        args += (len(each), *each)
    args.append(len(change.inboxes))
    for path, (afresh, inbox, have) in change.inboxes.items():
        args += (path, int(afresh), inbox, have)
    args.append(len(change.branches))
    for path, (reopened, closed) in change.branches.items():
        args += (path, int(reopened), closed)
    args.append(len(change.chunks))
    for field, text in change.chunks.items():
        args += (field, text)
    arrivals = rewind.arrivals if rewind else ()
    args.append(len(arrivals))
    for by, arrival in arrivals:
        exchange.add_arrival(args, arrival, by)
    return args
