"""A new round of a run that has ended: what it forgets, what it starts with.

The caller reads the run, decides here, and one script writes it all, provided the run's revision is still the
one that was read; else it is read again. What would hold up the server is done in pieces before, while the run has
ended (`prepare.lua`): a caller who dies in between leaves it ended, and the next one goes on from there.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence, Set
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

#: nodes forgotten or parked by one script call, and data fields forgotten: some 1 ms of a Redis core
PIECE = 100
FIELDS = 500
#: how often a run that changes meanwhile is read again
_ATTEMPTS = 10


class Change(msgspec.Struct, kw_only=True):
    """What RETRY is told to write."""

    #: nodes inside of what is repeated, with their data fields: forgotten before, in pieces, where they are many
    inner: dict[str, list[str]] = {}
    #: data fields of other nodes that may go before, too
    loose: list[str] = []
    #: paths whose records are rewritten
    touched: set[str] = set()
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

    @property
    def is_huge(self) -> bool:
        """Whether one script would hold up the server."""
        many = len(self.inner) > PIECE or len(self.further) > PIECE
        return many or len(self.loose) + sum(map(len, self.inner.values())) > FIELDS


def open_round(runs: Runs, run_id: str, retry: Retry) -> Run:
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
        _check_begun(runs, run_id, rewind)
        change = _plan(runs, run_id, rewind, record.now.round + 1)
        if last_round != record.now.round:
            last_round, forgotten = record.now.round, set()
        change.loose = [field for field in change.loose if field not in forgotten]
        if change.is_huge:
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


def _prepare(runs: Runs, run_id: str, rewind: Rewind | None, change: Change, round_: int) -> None:
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


def _take_in(runs: Runs, run_id: str, change: Change) -> None:
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


def _plan(runs: Runs, run_id: str, rewind: Rewind | None, round_: int) -> Change:
    change, lines = Change(), runs.node_lines(run_id)
    handlers = {path for path in lines if path in (ON_FAILURE, FINALLY)}
    change.removed += handlers
    change.fields += ["f:", *(f"{letter}:{path}" for path in handlers for letter in "of")]
    change.touched |= handlers
    if rewind is not None:
        change.touched |= _Rewinding(change, runs, run_id, lines, rewind).plan()
    further = [
        path
        for path, record in lines.items()
        if record.state in "QKRTFC"
        and path not in change.touched
        and (record.state, record.due) != ("K", round_)  # parked for this round already
    ]
    change.further = sorted(further, key=lambda path: lines[path].seq)
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
        removed = frozenset(rewind.removed)
        gone = {path for path in lines if _within(path, removed)}
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
        arrived: list[str] = []
        if record.width is not None:
            change.lists.append(path)
            arrived = self._chunk_fields("c", path, record.closings)
        if path in self._rewind.removed or path in self._rewind.ready:
            change.fields += fields
            change.loose += arrived
            self._keep_inbox(path, afresh=True)
            return
        fields += arrived
        fields += self._chunk_fields("i", path, record.expects)
        fields += [ref for _, ref in words.read_inbox(record.inbox) if ref.startswith("p:")]
        change.inner[path] = fields

    def _keep_inbox(self, path: str, *, afresh: bool) -> None:
        """A node keeps what has arrived, without what is dropped; with nothing left it vanishes."""
        change, record = self._change, self._lines[path]
        dropped = self._dropped.get((path, False), set())
        inline, have = _without(record.inbox, dropped)
        for field, text in self._runs.chunks(self._run_id, path, record, closing=False):
            have += self._keep_chunk(field, text, dropped)
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
            closed += self._keep_chunk(field, text, dropped)
        return closed

    def _keep_chunk(self, field: str, text: str, dropped: set[str]) -> int:
        """A chunk without what is dropped, rewritten where that changes it; how many are left."""
        kept, left = _without(text, dropped)
        if kept != text:
            self._change.chunks[field] = kept
        return left

    def _chunk_fields(self, letter: str, path: str, expects: int) -> list[str]:
        if letter == "i" and expects <= words.INLINE:
            return []
        return [f"{letter}:{number}:{path}" for number in range(-(-expects // words.INLINE))]


def _without(inbox: str, dropped: set[str]) -> tuple[str, int]:
    """An inbox, or a chunk of one, without some sources; and how many arrivals it then holds."""
    kept = [pair for pair in words.read_inbox(inbox) if words.unescape(pair[0]) not in dropped]
    return words.write_inbox(kept), len(kept)


def _within(path: str, removed: Set[str]) -> bool:
    """Whether a path is one of these or inside one; a scope's join (`each[a]`) holds nothing."""
    if path in removed:
        return True
    ends = (place for place, sign in enumerate(path) if sign in "[/" and path[place - 1] != "]")
    return any(path[:place] in removed for place in ends)


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
