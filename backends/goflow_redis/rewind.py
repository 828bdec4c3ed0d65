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
from goflow.message import FINALLY, ON_FAILURE, Rewind
from goflow.state import RunState
from goflow_redis import exchange, journal, records, words
from goflow_redis.records import NodeRecord
from goflow_redis.words import Word

if TYPE_CHECKING:
    from goflow_redis.runs import Runs

#: inner nodes forgotten by one script call: some 1 ms of a Redis core
PIECE = 100
#: how often a run that changes meanwhile is read again
_ATTEMPTS = 10


class Change(msgspec.Struct, kw_only=True):
    """What RETRY is told to write."""

    #: nodes inside of what is repeated, with their data fields: forgotten before, in pieces, where they are many
    inner: dict[str, list[str]] = {}
    #: node paths and data fields that vanish, branches whose waiting scopes do
    removed: list[str] = []
    fields: list[str] = []
    lists: list[str] = []
    #: attempts that the rewritten records told
    attempts: list[bytes] = []
    #: unfinished nodes, and those that start the round
    further: list[str] = []
    starts: list[str] = []
    #: by path: whether the node begins afresh, its inbox, and how many are in it
    inboxes: dict[str, tuple[bool, str, int]] = {}
    #: by path: whether the branch opens again, and how many of its scopes have arrived
    branches: dict[str, tuple[bool, int]] = {}
    #: rewritten chunks of wide inboxes, by field
    chunks: dict[str, str] = {}


def open_round(runs: Runs, run_id: str, retry: Retry) -> Run:
    """Open a new round. Raises Conflict for a run that cannot have one."""
    nonce, rewind = uuid4().hex, retry.rewind
    partition = runs.keys.partition(run_id)
    for _ in range(_ATTEMPTS):
        record, _failure = runs.read(run_id)
        if not record.now.state.terminal:
            raise _conflict(run_id, record.now.state)
        if record.now.state is RunState.SUCCEEDED and rewind is None:
            raise Conflict(
                f"run {run_id} has succeeded: name the node to repeat, `goflow retry {run_id}"
                " --from NODE`"
            )
        _check_begun(runs, run_id, rewind)
        change = _plan(runs, run_id, rewind)
        if len(change.inner) > PIECE and rewind is not None:
            _unmake(runs, run_id, rewind, change)
            continue  # and look again
        _take_in(change)
        arguments = _arguments(change, rewind)
        fingerprint = (rewind.fingerprint if rewind else None) or ""
        head: list[Word] = [runs.lives, run_id, nonce, record.now.rev, fingerprint]
        how, *told = runs.link.run("retry", partition, [*head, *arguments])
        if how == b"gone":
            raise UnknownRun(run_id)
        if how == b"live":
            raise _conflict(run_id, records.read_run(*told[:2]).now.state)
        if how == b"ok":
            return records.as_run(run_id, records.read_run(*told[:2]), None)
    raise Conflict(f"run {run_id} keeps changing; try again")


def _check_begun(runs: Runs, run_id: str, rewind: Rewind | None) -> None:
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


def _unmake(runs: Runs, run_id: str, rewind: Rewind, change: Change) -> None:
    """Forget nodes inside of what is repeated, so that no script holds up the server."""
    what = "\0".join(sorted({*rewind.removed, *rewind.ready}))
    partition, paths = runs.keys.partition(run_id), sorted(change.inner)
    branches = set(change.lists)
    for first in range(0, len(paths), PIECE):
        piece = paths[first : first + PIECE]
        kept = {
            attempt.path: journal.write_attempt(act, attempt)
            for act, attempt in runs.last_attempts(run_id, piece)
        }
        args: list[Word] = [runs.lives, run_id, what, len(piece)]
        for path in piece:
            fields = change.inner[path]
            args += (path, kept.get(path, b""), int(path in branches), len(fields), *fields)
        if runs.link.run("unmake", partition, args) != b"ok":
            return


def _take_in(change: Change) -> None:
    """Few inner nodes go with the round's own script."""
    for path, fields in change.inner.items():
        change.removed.append(path)
        change.fields += fields


def _conflict(run_id: str, state: RunState) -> Conflict:
    return Conflict(
        f"run {run_id} is still on its way ({state}); stop it first, or wait for its end"
    )


def _plan(runs: Runs, run_id: str, rewind: Rewind | None) -> Change:
    change, lines = Change(), runs.node_lines(run_id)
    handlers = {path for path in lines if path in (ON_FAILURE, FINALLY)}
    change.removed += handlers
    change.fields += ["f:", *(f"{letter}:{path}" for path in handlers for letter in "of")]
    touched = set(handlers)
    if rewind is not None:
        touched |= _Rewinding(change, runs, run_id, lines, rewind).plan()
    further = [path for path in lines if lines[path].state in "QKRTFC" and path not in touched]
    change.further = sorted(further, key=lambda path: lines[path].seq)
    change.attempts = _last_attempts(runs, run_id, touched | set(further))
    return change


class _Rewinding:
    """Turns a Rewind into changes of records."""

    def __init__(
        self,
        change: Change,
        runs: Runs,
        run_id: str,
        lines: dict[str, NodeRecord],
        rewind: Rewind,
    ) -> None:
        self._change, self._runs, self._run_id = change, runs, run_id
        self._lines, self._rewind = lines, rewind
        self._dropped: dict[tuple[str, bool], set[str]] = {}
        for target, source, closing in rewind.dropped:
            self._dropped.setdefault((target, closing), set()).add(source)

    def plan(self) -> set[str]:
        """Fill in the change; the paths whose records it rewrites."""
        change, lines, rewind = self._change, self._lines, self._rewind
        gone = {path for path in lines if _within(path, rewind.removed)}
        gone |= {path for path in rewind.ready if path in lines}
        for path in gone:
            self._forget(path)
        reopened = {path for path in rewind.reopened if path in lines} - gone
        for path in reopened:
            change.fields += [f"o:{path}", f"f:{path}"]
            change.branches[path] = (True, self._close_less(path))
        for path, closing in self._dropped:
            if path not in lines or path in gone:
                continue
            if not closing:
                self._keep_inbox(path, afresh=False)
            elif path not in reopened:
                change.branches[path] = (False, self._close_less(path))
        change.starts = [path for path in rewind.ready if path in change.inboxes]
        if self._end() in gone | reopened:
            change.fields.append("e")
        return gone | reopened

    def _end(self) -> str:
        key = f"{self._runs.keys.run(self._run_id)}:d"
        return (self._runs.link.ask(key, "HGET", key, "e") or b"").decode()

    def _forget(self, path: str) -> None:
        """A node's result and what is inside it vanish; what has arrived stays, at a removed one."""
        change, record = self._change, self._lines[path]
        fields = [f"o:{path}", f"f:{path}", f"k:{path}"]
        if record.width is not None:
            change.lists.append(path)
            fields += self._chunk_fields("c", path, record.closings)
        if path in self._rewind.removed or path in self._rewind.ready:
            change.fields += fields
            self._keep_inbox(path, afresh=True)
            return
        fields += self._chunk_fields("i", path, record.expects)
        fields += [ref for _, ref in words.read_inbox(record.inbox) if ref.startswith("p:")]
        change.inner[path] = fields

    def _keep_inbox(self, path: str, *, afresh: bool) -> None:
        """A node keeps what has arrived, without what is dropped; with nothing left it vanishes."""
        change, record = self._change, self._lines[path]
        dropped = self._dropped.get((path, False), set())
        inline, have = _without(record.inbox, dropped)
        for field, text in self._runs.chunks(self._run_id, path, record, closing=False):
            change.chunks[field], left = _without(text, dropped)
            have += left
        if have or (afresh and path in self._rewind.ready):
            change.inboxes[path] = (afresh, inline, have)
        else:
            change.removed.append(path)
            change.fields += self._chunk_fields("i", path, record.expects)

    def _close_less(self, path: str) -> int:
        """A branch loses what dropped scopes brought; how many are left."""
        closed, dropped = 0, self._dropped.get((path, True), set())
        record = self._lines[path]
        for field, text in self._runs.chunks(self._run_id, path, record, closing=True):
            self._change.chunks[field], left = _without(text, dropped)
            closed += left
        return closed

    def _chunk_fields(self, letter: str, path: str, expects: int) -> list[str]:
        if letter == "i" and expects <= words.INLINE:
            return []
        return [f"{letter}:{number}:{path}" for number in range(-(-expects // words.INLINE))]


def _without(inbox: str, dropped: set[str]) -> tuple[str, int]:
    """An inbox, or a chunk of one, without some sources; and how many arrivals it then holds."""
    kept = [pair for pair in words.read_inbox(inbox) if words.unescape(pair[0]) not in dropped]
    return words.write_inbox(kept), len(kept)


def _within(path: str, removed: Iterable[str]) -> bool:
    """Whether a path is one of these or inside one; a scope's join (`each[a]`) holds nothing."""
    return any(
        path == each
        or path.startswith(f"{each}[")
        or (not each.endswith("]") and path.startswith(f"{each}/"))
        for each in removed
    )


def _last_attempts(runs: Runs, run_id: str, paths: set[str]) -> list[bytes]:
    """What the records about to be rewritten tell of their last attempts."""
    return [journal.write_attempt(*each) for each in runs.last_attempts(run_id, sorted(paths))]


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
