"""A run's spans, made from what its store has recorded.

They are made when a round of the run has ended, from the store alone: a worker that was killed in the middle
takes none with it, and nothing has to be kept while the run is on its way. A root span `flow NAME` holds:

* `submit`, from the caller's first word until the store had accepted the run;
* a span for every attempt, named by its node path, with the vanished workers' among them;
* a span for every branch and sub-DAG that covers its opening, its scopes and its closing; what ran in its
  scopes is below it;
* before an attempt, beside it, `queue wait` (ready, but no worker had taken it) and `retry wait`.

Attributes are ids, sizes and durations; those of the run are at its root alone, since every one costs. No payload, no message of an exception and nothing a node printed is
ever in one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec

from goflow.backend import Attempt, Backend, Run
from goflow.blobs.words import bare
from goflow.errors import UnknownFlow, UnknownNode
from goflow.message import WORKER_LOST, Request
from goflow.nodepath import around, is_planned, owners
from goflow.plan import Plan
from goflow.state import RunState
from goflow.tracing import Trace, attempt_span, branch_span, number, trace_of
from goflow.untold import Ended

#: seconds between a submit's first word and its run that are believed; more is two clocks that differ
_BELIEVED: Final = 600.0


class Span(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A finished span. Times are ns since the epoch; `error` is the type of what went wrong, "" where nothing
    did. The rest is for spans of user code: `kind` and `status` as OpenTelemetry numbers them, `scope` is
    (name, version), `events` are (name, time, attributes), `links` (trace, span, attributes)."""

    name: str
    trace: bytes
    id: bytes
    parent: bytes
    start: int
    end: int
    attributes: dict[str, Any] = {}
    error: str = ""
    kind: int = 0
    status: int = 0
    description: str | None = None
    scope: tuple[str, str] = ("goflow", "")
    state: str = ""
    events: tuple[tuple[str, int, dict[str, Any]], ...] = ()
    links: tuple[tuple[bytes, bytes, dict[str, Any]], ...] = ()


def spans_of(backend: Backend, ended: Ended) -> Iterator[Span]:
    """The spans of one round; none where its trace is not sampled. Raises UnknownRun, BackendError."""
    request = bare(backend).request(ended.run_id)  # its payload is not looked at
    trace = trace_of(ended.run_id, request.headers)
    if trace.sampled:
        yield from _Round(backend, ended, request, trace).spans()


class _Round:
    """What is recorded of one round, and the spans that makes."""

    def __init__(self, backend: Backend, ended: Ended, request: Request, trace: Trace) -> None:
        self._ended = ended
        self._request = request
        self._trace = trace
        self._run = backend.run(ended.run_id)
        attempts = backend.attempts(ended.run_id)
        self._attempts = [each for each in attempts if each.round == ended.round]
        plan = _plan(backend, self._run)
        mine = _branches(plan, self._attempts)
        earlier = _branches(plan, (each for each in attempts if each.round < ended.round))
        self._nodes = {node.path: node for node in backend.nodes(ended.run_id, sorted(mine))}
        self._branches = {path for path in mine if self._began_here(path, earlier)}
        self._mine = mine
        self._root = self._root_id()
        self._from = self._until = 0

    def spans(self) -> Iterator[Span]:
        """All of them, the root last: it covers the others, by whosever clock they were measured."""
        began = self._began()
        self._from, self._until = _ns(began), _ns(self._ended.finished)
        if self._ended.round == 1:
            yield self._span(
                "submit", number(f"submit {self._run.id}", 8), began, self._run.created
            )
        failed: dict[str, Attempt] = {}
        own: dict[str, list[Attempt]] = {}
        for attempt in self._attempts:
            if attempt.path in self._mine:
                own.setdefault(attempt.path, []).append(attempt)
            else:
                yield from self._attempt(attempt, failed.get(attempt.path))
                failed[attempt.path] = attempt
        times = self._times()
        for path in sorted(self._branches):
            yield from self._branch(path, own.get(path, []), *times[path])
        yield self._whole()

    def _times(self) -> dict[str, tuple[float, float]]:
        """When the first attempt in each branch started and the last one ended, from the inmost outwards: each
        path passes its own to the one around it."""
        times: dict[str, tuple[float, float]] = {}

        def widen(path: str, started: float, finished: float) -> None:
            first, last = times.get(path, (started, finished))
            times[path] = min(first, started), max(last, finished)

        for attempt in self._attempts:
            path = attempt.path
            within = path if path in self._mine else next(owners(path), "")
            widen(within, attempt.started, attempt.finished)
        for path in sorted(self._mine, key=len, reverse=True):
            widen(next(owners(path), ""), *times[path])
        return times

    # -- the kinds of spans -----------------------------------------------------------------------

    def _attempt(self, attempt: Attempt, former: Attempt | None) -> Iterator[Span]:
        id = attempt_span(self._run.id, attempt.path, attempt.token)
        parent = self._parent(attempt.path)
        about = {"goflow.node": attempt.path, "goflow.attempt": attempt.attempt}
        if attempt.ready is not None:
            yield self._wait("queue wait", id, parent, attempt.ready, attempt.started, about)
            if former is not None and former.attempt < attempt.attempt:
                yield self._wait("retry wait", id, parent, former.finished, attempt.ready, about)
        told = {**about, "goflow.state": attempt.state, "goflow.worker": attempt.worker}
        yield self._span(
            attempt.path, id, attempt.started, attempt.finished, parent, told, _error(attempt)
        )

    def _branch(
        self, path: str, own: list[Attempt], started: float, finished: float
    ) -> Iterator[Span]:
        node = self._nodes.get(path)
        id, parent = self._branch_id(path), self._parent(path)
        about: dict[str, Any] = {"goflow.node": path}
        ready = [each.ready for each in own if each.ready and each.ready <= each.started]
        if node is not None and node.ready and node.started and node.ready <= node.started:
            ready.append(node.ready)
            started = min(started, node.started)
        if ready:
            yield self._wait("queue wait", id, parent, min(ready), started, about)
        if node is not None and node.width is not None:
            about["goflow.scopes"] = node.width
        error = _error(own[-1]) if own else ""
        yield self._span(path, id, started, finished, parent, about, error)

    def _whole(self) -> Span:
        run, ended = self._run, self._ended
        began = ended.started if ended.started is not None else ended.finished
        about = {
            "goflow.run_id": run.id,
            "goflow.flow": run.flow,
            "goflow.state": str(ended.state),
            "goflow.round": ended.round,
            "goflow.input_bytes": len(self._request.payload.data),
            "goflow.queue_seconds": max(0.0, began - run.created) if ended.round == 1 else 0.0,
        }
        error = ""
        if ended.state is RunState.FAILED:
            same = run.failure is not None and run.round == ended.round
            error = run.failure.type if same and run.failure is not None else "RunFailed"
        return Span(
            name=f"flow {run.flow}",
            trace=self._trace.id.to_bytes(16, "big"),
            id=self._root.to_bytes(8, "big"),
            parent=self._trace.parent.to_bytes(8, "big") if self._trace.parent else b"",
            start=self._from,
            end=self._until,
            attributes=about,
            error=error,
        )

    def _wait(
        self, name: str, of: int, parent: int, start: float, end: float, about: dict[str, Any]
    ) -> Span:
        """A wait before the span `of`, and beside it."""
        return self._span(name, number(f"{name} {of}", 8), min(start, end), end, parent, about)

    def _span(
        self,
        name: str,
        id: int,
        start: float,
        end: float,
        parent: int = 0,
        about: dict[str, Any] | None = None,
        error: str = "",
    ) -> Span:
        first, last = _ns(start), _ns(max(start, end))
        self._from, self._until = min(self._from, first), max(self._until, last)
        return Span(
            name=name,
            trace=self._trace.id.to_bytes(16, "big"),
            id=id.to_bytes(8, "big"),
            parent=(parent or self._root).to_bytes(8, "big"),
            start=first,
            end=last,
            attributes=about or {},
            error=error,
        )

    # -- who is below whom ------------------------------------------------------------------------

    def _parent(self, path: str) -> int:
        owner = next(owners(path), "")
        return self._branch_id(owner) if owner else self._root

    def _branch_id(self, path: str) -> int:
        return branch_span(self._run.id, path, self._round_of(path))

    def _round_of(self, path: str) -> int:
        node = self._nodes.get(path)
        return self._ended.round if node is None else min(node.round, self._ended.round)

    def _began_here(self, path: str, earlier: set[str]) -> bool:
        """Whether a branch's span is this round's to tell: an earlier round may have opened it."""
        return path not in earlier or self._round_of(path) == self._ended.round

    def _root_id(self) -> int:
        if self._ended.round == 1:
            return self._trace.root
        return number(f"root {self._run.id} {self._ended.round}", 8)

    def _began(self) -> float:
        """When the round began: the first one with its submit."""
        run, made = self._run, self._request.made
        if self._ended.round > 1:
            ready = [each.ready for each in self._attempts if each.ready is not None]
            return min([*ready, self._ended.started or self._ended.finished])
        return made if run.created - _BELIEVED < made < run.created else run.created


def _plan(backend: Backend, run: Run) -> Plan | None:
    try:
        return Plan.from_json(backend.definition(run.flow, run.fingerprint).plan)
    except UnknownFlow:
        return None


def _branches(plan: Plan | None, attempts: Iterable[Attempt]) -> set[str]:
    """The paths of branches and sub-DAGs among these attempts, and around them."""
    paths = {attempt.path for attempt in attempts}
    return around(paths) | {path for path in paths if is_branch(plan, path)}


def is_branch(plan: Plan | None, path: str) -> bool:
    """Whether a path is that of a branch or sub-DAG of this definition."""
    if plan is None or not is_planned(path):
        return False
    try:
        return plan.locate(path).node.kind != "node"
    except UnknownNode:
        return False


def _error(attempt: Attempt) -> str:
    """The type of what went wrong; never its message."""
    if attempt.state == "lost":
        return WORKER_LOST
    if attempt.state != "failed":
        return ""
    return (attempt.error or "Error").partition(":")[0]


def _ns(seconds: float) -> int:
    return int(seconds * 1e9)
