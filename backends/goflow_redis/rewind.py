"""What a new round of a run changes of its records: what it forgets, what it starts with. Writes nothing."""

from __future__ import annotations

from collections.abc import Set

import msgspec

from goflow.message import FINALLY, ON_FAILURE, Rewind
from goflow_redis import words
from goflow_redis.nodes import Nodes
from goflow_redis.records import NodeRecord


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


def plan_round(runs: Nodes, run_id: str, rewind: Rewind | None, round_: int) -> Change:
    """What the round with this number changes; of a huge one, what is left after some was done before."""
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
        runs: Nodes,
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
