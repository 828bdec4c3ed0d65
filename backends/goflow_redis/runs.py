"""The runs: lists, states and results, steering, waiting; what is inside one is read by the modules it stands on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from goflow.backend import Action, Retry, Run
from goflow.errors import Conflict, GoflowError, RunFailed, RunStopped, UnknownRun
from goflow.message import Request
from goflow.payload import EMPTY, Payload
from goflow.state import RunState
from goflow_redis import records, submission, words
from goflow_redis.glimpse import Beginnings
from goflow_redis.listing import newest
from goflow_redis.logs import Logs
from goflow_redis.queuewaker import QueueWaker
from goflow_redis.retry import deliver_rest, open_round
from goflow_redis.runwaker import EndsWaker, RunWaker
from goflow_redis.values import Values

if TYPE_CHECKING:
    from goflow.wholesale import Look

#: results read by one script call
RESULTS: Final = 64


class Runs(Beginnings, Logs, Values):
    """Reading and steering runs. All raise UnknownRun for an id the store does not hold."""

    #: the end node of the run whose result was read last: likely that of the next, which then takes one
    #: round trip
    _end = ""

    def run(self, run_id: str) -> Run:
        """The run as it is now."""
        return records.as_run(run_id, *self.read(run_id))

    def runs(
        self,
        flow: str | None = None,
        state: RunState | None = None,
        limit: int = 100,
        before: str | None = None,
    ) -> list[Run]:
        """The newest first, or those older than one."""
        return newest(self, flow, state, limit, before)

    def result(self, run_id: str) -> Payload:
        """What a succeeded run made. Raises RunFailed, RunStopped; Conflict where it has not ended."""
        key, guess = self.keys.run(run_id), self._end
        lines, (failure, path, stored) = self.link.ask_all(
            key,
            [("HMGET", key, ":s", ":i"), ("HMGET", f"{key}:d", "f:", "e", f"o:{guess}")],
        )
        if lines[0] is None:
            raise UnknownRun(run_id)
        run = records.as_run(run_id, records.read_run(*lines), words.read_failure(failure))
        if run.state is RunState.FAILED:
            raise RunFailed(run_id, run.error)
        if run.state is RunState.STOPPED:
            raise RunStopped(run_id)
        if not run.state.terminal:
            raise Conflict(f"run {run_id} has not ended: it is {run.state}")
        if path is None:
            return EMPTY
        self._end = path.decode()
        if self._end != guess:
            return self.output(run_id, self._end) or EMPTY
        return EMPTY if stored is None else words.disclose(stored)

    def results(self, run_ids: Sequence[str]) -> list[Look | GoflowError]:
        """Each run as it is now, with what it made."""
        found: dict[int, Look | GoflowError] = {}
        for partition, places in self.grouped(run_ids):
            for first in range(0, len(places), RESULTS):
                some = places[first : first + RESULTS]
                ids = [run_ids[place] for place in some]
                told = self.link.run("results", partition, [self.lives, *ids])
                found |= zip(some, map(_look, ids, told), strict=True)
        return [found[place] for place in range(len(run_ids))]

    def request(self, run_id: str) -> Request:
        """What was submitted."""
        key = self.keys.run(run_id)
        lines, stored = self.link.ask_all(
            key, [("HMGET", key, ":s", ":i", ":h", ":d"), ("HGET", f"{key}:d", "q")]
        )
        if lines[0] is None or stored is None:
            raise UnknownRun(run_id)
        return submission.read_request(run_id, lines, stored)

    def control(self, run_id: str, action: Action) -> Run:
        """Pause, resume or stop; harmless when repeated. Raises Conflict on a run that has ended."""
        partition = self.keys.partition(run_id)
        how, *rest = self.link.run("control", partition, [self.lives, run_id, action])
        if how == b"gone":
            raise UnknownRun(run_id)
        state, identity, failure = rest
        run = records.as_run(run_id, records.read_run(state, identity), words.read_failure(failure))
        if how == b"ended":
            raise Conflict(f"cannot {action} run {run_id}: it has ended ({run.state})")
        return run

    def retry(self, run_id: str, retry: Retry) -> Run:
        """Open a new round. Raises Conflict for one still on its way, or a succeeded one without a
        rewind."""
        self.end_told = ""  # the news have the end of the round before
        return open_round(self, run_id, retry)

    def deliver_rest(self, run_id: str) -> None:
        """Deliver what nodes of a run that has ended had sent on and nobody had asked for."""
        if "m" in self.read(run_id)[0].now.uses:
            deliver_rest(self, run_id)

    def forget(self, run_id: str) -> None:
        """Remove a run that has ended, with everything of it. Raises Conflict for one on its way."""
        partition = self.keys.partition(run_id)
        args: list[words.Word] = [self.lives, run_id]

        def ask(attempt: int) -> tuple[bytes, bytes]:
            how, state = self.link.run_once("forget", partition, args)
            # the first call may have been executed and its answer lost
            return (b"ok" if attempt and how == b"gone" else how), state

        how = b"more"
        while how == b"more":
            how, state = self.link.patiently(partition, ask)
        if how == b"gone":
            raise UnknownRun(run_id)
        if how == b"live":
            raise Conflict(
                f"cannot forget run {run_id}: it has not ended ({state.decode()});"
                f" `goflow stop {run_id}` first"
            )

    def watch_ends(self) -> EndsWaker:
        """Wakes when runs have ended. Nothing that ends after this returns is missed."""
        return EndsWaker(self)

    def watch_end(self, run_id: str) -> RunWaker:
        """Wakes when the run has ended; at once where it has."""
        self.waits_for_one = run_id == self.submitted_last
        return RunWaker(self, run_id, ends=True)

    def watch(self, run_id: str | None = None) -> QueueWaker | RunWaker:
        """Wakes when the run (None: anything claimable) may have changed. Nothing that happens after
        this returns is missed."""
        if run_id is None:
            return QueueWaker(self)
        return RunWaker(self, run_id)


def _look(run_id: str, told: Sequence[Any]) -> Look | GoflowError:
    """What RESULTS tells of one run."""
    state, identity, failure, result = told
    if state is None:
        return UnknownRun(run_id)
    run = records.as_run(run_id, records.read_run(state, identity), words.read_failure(failure))
    if run.state is not RunState.SUCCEEDED:
        return run, None
    return run, EMPTY if result is None else words.disclose(result)
