"""A new round of a run that has ended: what it forgets, what it starts with.

The caller reads the run, decides here, and one script writes it all, provided the run's revision is still the
one that was read; else it is read again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING
from uuid import uuid4

import msgspec

from goflow.backend import Retry, Run
from goflow.errors import Conflict, UnknownRun
from goflow.message import Rewind, pack
from goflow.state import RunState
from goflow_redis import words
from goflow_redis.words import NodeRecord, Word

if TYPE_CHECKING:
    from goflow_redis.runs import Runs

#: how often a run that changes meanwhile is read again
_ATTEMPTS = 10


class Change(msgspec.Struct, kw_only=True):
    """What RETRY is told to write, by node path unless said otherwise."""

    removed: list[str] = []
    fields: list[str] = []
    lists: list[str] = []
    attempts: list[bytes] = []
    fresh: list[str] = []
    further: list[str] = []
    #: open branches: changed chunks of their closing inbox, and how many arrivals are left
    reopened: dict[str, tuple[dict[str, bytes], int]] = {}
    #: other nodes: their inbox and how many arrivals are left
    emptied: dict[str, tuple[bytes, int]] = {}


def open_round(runs: Runs, run_id: str, retry: Retry) -> Run:
    """Open a new round. Raises Conflict for a run that cannot have one."""
    nonce, rewind = uuid4().hex, retry.rewind
    partition = runs.keys.partition(run_id)
    for _ in range(_ATTEMPTS):
        record, _failure = runs.read(run_id)
        if not record.state.terminal:
            raise _conflict(run_id, record.state)
        if record.state is RunState.SUCCEEDED and rewind is None:
            raise Conflict(f"run {run_id} has succeeded: say from which node to repeat it (--from)")
        change = _plan(runs, run_id, record.round, rewind)
        arguments = _arguments(change, rewind)
        fingerprint = (rewind.fingerprint if rewind else None) or ""
        head = [runs.retention, run_id, nonce, record.revision, fingerprint]
        how, *lines = runs.link.run("retry", partition, [*head, *arguments])
        if how == b"gone":
            raise UnknownRun(run_id)
        if how == b"live":
            raise _conflict(run_id, words.read_run(*lines).state)
        if how == b"ok":
            return words.as_run(run_id, words.read_run(*lines), None)
    raise Conflict(f"run {run_id} keeps changing; try again")


def _conflict(run_id: str, state: RunState) -> Conflict:
    return Conflict(f"run {run_id} is still on its way ({state}); stop it first, or wait for its end")


def _plan(runs: Runs, run_id: str, round_: int, rewind: Rewind | None) -> Change:
    change = Change()
    records = runs.node_lines(run_id)
    kept = set(rewind.ready) if rewind else set()
    gone = {path for path in records if rewind and _within(path, rewind.removed)}
    gone |= {path for path in records if path.startswith("~") and path != "~result"}
    forgotten = {path for path in gone if path not in kept}
    for path in sorted(gone | kept):
        if path in records:
            _forget(change, path, records[path], keep_inbox=path in kept)
    change.removed += sorted(forgotten)
    change.fields += ["f:", "e"] if rewind else ["f:"]
    change.attempts = _last_attempts(runs, run_id, gone | kept | _unfinished(records), round_)
    change.fresh = [path for path in rewind.ready] if rewind else []
    if rewind:
        _drop(change, runs, run_id, records, rewind, gone)
    further = _unfinished(records) - gone - kept - set(change.reopened) - set(change.emptied)
    change.further = sorted(further, key=lambda path: records[path].seq)
    return change


def _within(path: str, removed: Iterable[str]) -> bool:
    """Whether a path is one of these or inside one."""
    return any(
        path == each or path.startswith((f"{each}/", f"{each}[")) for each in removed
    )


def _unfinished(records: dict[str, NodeRecord]) -> set[str]:
    """Nodes that have all they need and no result."""
    return {path for path, record in records.items() if record.state in "QKRTFC"}


def _forget(change: Change, path: str, record: NodeRecord, *, keep_inbox: bool) -> None:
    change.fields += [f"o:{path}", f"f:{path}", f"k:{path}"]
    if record.width is not None:
        chunks = -(-record.expects // words.INLINE)
        change.fields += [f"c:{number}:{path}" for number in range(chunks)]
        change.lists.append(path)
    elif record.expects > words.INLINE and not keep_inbox:
        chunks = -(-record.expects // words.INLINE)
        change.fields += [f"i:{number}:{path}" for number in range(chunks)]
    if not keep_inbox:
        refs = [ref for _, ref in words.read_inbox(record.inbox)]
        change.fields += [ref for ref in refs if ref.startswith("p:")]


def _last_attempts(runs: Runs, run_id: str, paths: set[str], round_: int) -> list[bytes]:
    """What the records about to be overwritten tell of their last attempts."""
    ended = ("succeeded", "failed", "stopped")
    attempts = []
    for node in runs.nodes(run_id, sorted(paths)):
        if node.state.value in ended and node.started is not None and node.finished is not None:
            told = words.last_attempt(node, round_)
            attempts.append(
                pack(
                    (told.path, told.attempt, told.state, told.started, told.finished)
                    + (told.error, told.worker, told.digest)
                )
            )
    return attempts


def _drop(
    change: Change,
    runs: Runs,
    run_id: str,
    records: dict[str, NodeRecord],
    rewind: Rewind,
    gone: set[str],
) -> None:
    """Arrivals to forget at nodes that stay, and branches that wait again."""
    dropped: dict[tuple[str, bool], set[str]] = {}
    for target, source, closing in rewind.dropped:
        dropped.setdefault((target, closing), set()).add(source)
    for path in rewind.reopened:
        if path in records and path not in gone:
            sources = dropped.pop((path, True), set())
            change.fields += [f"o:{path}", f"f:{path}"]
            change.reopened[path] = _reopen(runs, run_id, path, records[path], sources)
    for (path, closing), sources in dropped.items():
        record = records.get(path)
        if record is None or path in gone or closing:
            continue
        arrivals = list(runs.read_arrivals(run_id, path, closing=False))
        left = [pair for pair in arrivals if words.unescape(pair[0]) not in sources]
        change.emptied[path] = (words.write_inbox(left), len(left))


def _reopen(
    runs: Runs, run_id: str, path: str, record: NodeRecord, sources: set[str]
) -> tuple[dict[str, bytes], int]:
    """The closing inbox of a branch without what these sources brought."""
    chunks, left = {}, 0
    for field, text in runs.chunks(run_id, path, record):
        arrivals = list(words.read_inbox(text))
        kept = [pair for pair in arrivals if words.unescape(pair[0]) not in sources]
        left += len(kept)
        if len(kept) != len(arrivals):
            chunks[field] = words.write_inbox(kept)
    return chunks, left


def _arguments(change: Change, rewind: Rewind | None) -> list[Word]:
    args: list[Word] = []
    listed: tuple[list[str] | list[bytes], ...] = (
        change.removed,
        change.fields,
        change.lists,
        change.attempts,
        change.fresh,
        change.further,
    )
    for each in listed:
        args += (len(each), *each)
    args.append(len(change.reopened))
    for path, (chunks, have) in change.reopened.items():
        args += (path, len(chunks))
        for field, text in chunks.items():
            args += (field, text)
        args.append(have)
    args.append(len(change.emptied))
    for path, (inbox, have) in change.emptied.items():
        args += (path, inbox, have)
    arrivals = rewind.arrivals if rewind else ()
    args.append(len(arrivals))
    for by, arrival in arrivals:
        words.add_arrival(args, arrival, by)
    return args
