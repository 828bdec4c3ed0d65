"""The run's store as one recorded attempt saw it, for `goflow debug` and `goflow replay --node`.

What the attempt read is given again exactly, each time the version it was given that time. For a key it did not
read (its code is another now, or somebody asks under the debugger) the value is the one the store had when the
attempt began.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from goflow.backend import Access, Attempt
from goflow.errors import Conflict, VersionGone
from goflow.payload import Payload
from goflow.recorded import Again, Recorded
from goflow.state import NodeState

#: times of the same moment may differ by this much (s): Redis keeps milliseconds, and whoever executes rounds
_GRAIN: Final = 0.002
#: node states in which the attempt that counts is not recorded yet
_UNFINISHED: Final = (NodeState.WAITING, NodeState.READY, NodeState.RUNNING, NodeState.RETRYING)


class Then(NamedTuple):
    """Which recorded attempt a task repeats. `attempt` and `access` are None where it did not get to be
    recorded, or has read and written nothing; `began` is when it began, None for not yet."""

    attempt: Attempt | None
    access: Access | None
    began: float | None


def then(recorded: Recorded, each: Again, number: int | None = None) -> Then:
    """What a task made again stands for: the last attempt at its node, or the one of that number.

    Raises Conflict where a number is given and no attempt has it.
    """
    path = each.task.path
    if each.role == "open":
        return _opening(recorded, path)
    attempts = [attempt for attempt in recorded.attempts if attempt.path == path]
    last = [attempt for attempt in attempts if number in (None, attempt.attempt)]
    node = recorded.nodes.get(path)
    if not last:
        if number is not None:
            known = ", ".join(dict.fromkeys(str(each.attempt) for each in attempts)) or "none"
            raise Conflict(f"{path} has no attempt {number} (recorded: {known})")
        return Then(None, None, None)
    if number is None and node is not None and node.state in _UNFINISHED:
        return Then(None, None, None)  # what is recorded is earlier than the one that counts
    round_, count = last[-1].round, last[-1].attempt
    of_it = [attempt for attempt in last if (attempt.round, attempt.attempt) == (round_, count)]
    own = each.task.failure is not None and not path.startswith("~")
    attempt = of_it[-1] if own or each.role == "close" else of_it[0]
    wanted = (path, round_, count, each.role == "close", own)
    found = [
        access
        for access in recorded.accesses
        if (access.path, access.round, access.attempt, access.closing, access.handler) == wanted
    ]
    began = max(attempt.ready or 0.0, 0.0 if each.role == "close" else attempt.started)
    return Then(attempt, found[-1] if found else None, began or attempt.started)


def _opening(recorded: Recorded, path: str) -> Then:
    """What opened a branch: its last attempt that closed nothing, and none that failed before it began."""
    node = recorded.nodes.get(path)
    if node is None or node.started is None or node.width is None:
        return Then(None, None, None)
    found = [
        access
        for access in recorded.accesses
        if access.path == path and not access.closing and access.at >= node.started - _GRAIN
    ]
    return Then(None, found[-1] if found else None, node.started)


class AsOf:
    """Reads of a run's store as an attempt made them. `tell` hears, once for a key, what is not exactly so."""

    def __init__(self, recorded: Recorded, then: Then, tell: Callable[[str], None]) -> None:
        self._recorded = recorded
        self._then = then
        self._tell = tell
        self._told: set[str] = set()
        seen = {} if then.access is None else then.access.reads.seen
        self._left = {key: [list(span) for span in spans] for key, spans in seen.items()}

    def read(self, key: str) -> Payload | None:
        """The value under a key as the attempt was given it now."""
        spans = self._left.get(key)
        if spans is None:
            return self._unread(key)
        number, times = spans[0]
        if times > 1:
            spans[0][1] -= 1
        elif len(spans) > 1:
            spans.pop(0)  # of the last one there are as many as are asked for
        try:
            return self._recorded.version(key, number)
        except VersionGone:
            self._say(
                key,
                f"the attempt read version {number}, which is not kept (of a key's earlier values a run"
                " keeps 16 MB); it is given as it is now",
            )
            return self._recorded.context(key)

    def _unread(self, key: str) -> Payload | None:
        """A value of which the attempt has not recorded that it read it."""
        if self._then.began is None:
            self._say(key, "this attempt is not recorded (yet); it is given as it is now")
            return self._recorded.context(key)
        number = self._number(key, self._then.began)
        access = self._then.access
        whole = access is None or access.reads.whole
        try:
            found = self._recorded.version(key, number)
        except VersionGone:
            self._say(key, f"version {number} is not kept; it is given as it is now")
            return self._recorded.context(key)
        if number == 0 and found is not None:
            self._say(key, "nothing tells when it was written; it is given as it is now")
        elif whole:
            self._say(key, "this attempt did not read it; it is given as it was when that began")
        else:
            self._say(
                key,
                "this attempt read more than is recorded; it is given as it was when that began",
            )
        return found

    def _number(self, key: str, moment: float) -> int:
        """The version a key had at a moment."""
        past = (a for a in self._recorded.accesses if key in a.writes and a.at <= moment + _GRAIN)
        return max((access.writes[key] for access in past), default=0)

    def _say(self, key: str, text: str) -> None:
        if key not in self._told:
            self._told.add(key)
            self._tell(f"context {key!r}: {text}")
