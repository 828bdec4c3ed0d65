"""What a worker has to tell the store: every task it held is settled here, in one place.

A task ends in one of six ways (see `Outcome`); what follows a failure is the engine's to say
(`after_failure`). Sentences are kept here too: tasks that a renewal answered "lost" (somebody else
has them, nothing is to be told) or "stop" (their run is stopping) and whose children must die.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from msgspec.structs import replace

from goflow.backend import FlowKey
from goflow.child import Result
from goflow.engine import after_failure
from goflow.message import Claim, Failure, Outcome, Reads, Task
from goflow.workflow import Flow

Sentence = Literal["lost", "stop"]


class Ledger:
    """The outcomes that wait for the next commit, and the tasks that are sentenced."""

    def __init__(self, flows: Mapping[FlowKey, Flow]) -> None:
        self._flows = flows
        self.outcomes: list[Outcome] = []
        self.sentences: dict[str, Sentence] = {}

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

    def executed(
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
