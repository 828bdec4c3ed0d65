"""What a worker has to tell the store: every task it held is settled here, in one place.

A task ends in one of six ways (see `Outcome`); what follows a failure is the engine's to say
(`after_failure`). Sentences are kept here too: tasks that a renewal answered "lost" (somebody else
has them, nothing is to be told) or "stop" (their run is stopping) and whose children must die.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal

from msgspec.structs import replace

from goflow.backend import FlowKey
from goflow.child import Result
from goflow.engine import after_failure
from goflow.message import Claim, Failure, Outcome, Reads, Task
from goflow.workflow import Flow

Sentence = Literal["lost", "stop"]

#: seconds until what a part of the store did not take is sent again
AGAIN: Final = 0.25


class Ledger:
    """The outcomes that wait for the next commit, and the tasks that are sentenced."""

    def __init__(self, flows: Mapping[FlowKey, Flow]) -> None:
        self._flows = flows
        self.outcomes: list[Outcome] = []
        #: those for a part of the store that does not answer, and when (monotonic) they are sent again. Whoever made
        #: them works for the others meanwhile, so a worker that is killed then repeats these too
        self.kept: list[Outcome] = []
        self.again_at = 0.0
        self.sentences: dict[str, Sentence] = {}

    def due(self) -> list[Outcome]:
        """What is to be committed now."""
        if self.kept and time.monotonic() >= self.again_at:
            self.outcomes = [*self.kept, *self.outcomes]
            self.kept = []
        return self.outcomes

    def told(
        self, sent: Sequence[Outcome], accepted: Sequence[bool | None]
    ) -> list[tuple[Outcome, bool]]:
        """These were committed. What nobody has answered is kept, the others come back with the answer."""
        self.outcomes = []
        missed = [outcome for outcome, fine in zip(sent, accepted, strict=True) if fine is None]
        if missed:
            self.kept += missed
            self.again_at = time.monotonic() + AGAIN
        pairs = zip(sent, accepted, strict=True)
        return [(outcome, fine) for outcome, fine in pairs if fine is not None]

    def answered(self, task: Task, result: Result, log: bytes, reads: Reads | None = None) -> None:
        """A child executed it: it succeeded, or failed with an exception."""
        self.sentences.pop(task.token, None)
        if result.failure is not None:
            times = result.started, result.finished
            self.failed(task, result.failure, *times, log, result.digest, reads)
            return
        self.outcomes.append(
            Outcome(
                task=task,
                started=result.started,
                finished=result.finished,
                step=result.step,
                log=log,
                digest=result.digest,
                reads=reads,
            )
        )

    def failed(
        self,
        task: Task,
        failure: Failure,
        started: float,
        finished: float,
        log: bytes = b"",
        digest: str = "",
        reads: Reads | None = None,
    ) -> None:
        """An attempt failed: it comes again, its own handler comes next, or that was all."""
        failure = replace(failure, attempt=task.attempt)
        plan = self._flows[task.flow, task.fingerprint].plan
        delay, rescue = after_failure(plan, task, failure)
        self.outcomes.append(
            Outcome(
                task=task,
                started=started,
                finished=finished,
                failure=failure,
                retry_at=None if delay is None else finished + delay,
                rescue=rescue,
                log=log,
                digest=digest,
                reads=reads,
            )
        )

    def carried_out(
        self, task: Task, since: float, log: bytes = b"", reads: Reads | None = None
    ) -> bool:
        """Carry out a task's sentence, if it has one: then there is nothing more to say about it."""
        sentence = self.sentences.pop(task.token, None)
        if sentence == "stop":
            now = time.time()
            self.outcomes.append(Outcome(task, since, now, stopped=True, log=log, reads=reads))
        return sentence is not None

    def released(self, claims: Iterable[Claim]) -> None:
        """Handed back as they came, without a penalty."""
        now = time.time()
        self.outcomes += [Outcome(claim.task, now, now, released=True) for claim in claims]

    def sentence(self, verdicts: Sequence[tuple[Task, Sentence]]) -> None:
        """What a renewal answered."""
        self.sentences |= {task.token: verdict for task, verdict in verdicts}
