"""The queue: submit, claim, commit, renew. One script call for a batch, one partition at a time."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterator, Sequence
from string import ascii_letters
from typing import Any, Final, Literal

from goflow.backend import Ask, FlowKey, Run
from goflow.errors import BackendError, Conflict, GoflowError
from goflow.message import Claim, Item, Outcome, Request, Task
from goflow.payload import Payload
from goflow_redis import exchange, journal, submission, words
from goflow_redis.keys import WATCH_LIFE
from goflow_redis.store import Store
from goflow_redis.words import Word

#: runs submitted, tasks claimed and outcomes committed by one script call: 2 ms of a Redis core at most
BATCH: Final = 32
#: bytes of payloads that go to one script call, beyond the first of them
BYTES: Final = 1_000_000
#: scopes staged, and leases renewed, by one script call
STAGED: Final = 500
RENEWED: Final = 100
#: so many arrivals, or scopes that open, are as much work as another outcome
_BESIDE: Final = 4
#: arrivals handed out at a time where they are too many for one message
INPUTS: Final = 512


class Queue(Store):
    """Handing out work and taking results."""

    #: starts of a run, and arrivals of an outcome, that one script call delivers
    mail: int = words.MAIL

    def submit(self, request: Request) -> Run:
        """Accept a run durably. Raises Conflict, StoreFull."""
        watched = WATCH_LIFE if self.waits_for_one else 0
        self.submitted_last, self.waits_for_one, self.end_told = request.run_id, False, ""
        args = [self.lives, 1, *submission.submit_args(request, watched, self.mail)]
        now, told = self.link.run("submit", self.keys.partition(request.run_id), args)
        if watched and isinstance(told, bytes):  # it is a new one
            self.end_told, self.end_told_at = request.run_id, time.time()
        run = submission.submitted(request, now, told)
        if run is None:
            raise _taken(request.run_id)
        return run

    def submit_all(self, requests: Sequence[Request]) -> list[Run | GoflowError]:
        """Submit each; in place of a run stands what `submit` would have raised."""
        answers: dict[int, Run | GoflowError] = {}
        for partition, places in self.grouped([request.run_id for request in requests]):
            for some in _bites(places, lambda place: self._burden(requests[place]), BATCH):
                batch = [requests[place] for place in some]
                answers |= zip(some, self._submit(partition, batch), strict=True)
        return [answers[place] for place in range(len(requests))]

    def _submit(self, partition: str, batch: Sequence[Request]) -> list[Run | GoflowError]:
        """One SUBMIT. Where it fails none is known to be accepted."""
        args: list[Word] = [self.lives, len(batch)]
        for request in batch:
            args += submission.submit_args(request, most=self.mail)
        try:
            now, *told = self.link.run("submit", partition, args)
        except BackendError as error:
            return [error] * len(batch)
        return [
            submission.submitted(request, now, each) or _taken(request.run_id)
            for request, each in zip(batch, told, strict=True)
        ]

    def claim(self, ask: Ask) -> list[Claim]:
        """Up to `ask.limit` ready tasks, now held by the worker."""
        return self.commit((), ask)[1]

    def commit(
        self, outcomes: Sequence[Outcome], ask: Ask | None = None
    ) -> tuple[list[bool | None], list[Claim]]:
        """Record outcomes, then claim. What lies on a server of a cluster that does not answer is left out."""
        accepted: list[bool | None] = [None] * len(outcomes)
        claims = self._undelivered.pop(ask.worker, []) if ask is not None else []
        dry: set[str] = set()
        try:
            for partition, places in self._batches(outcomes):
                dry.add(partition)
                with self.link.servers.apart:
                    batch = [outcomes[place] for place in places]
                    for outcome in batch:
                        self._post(outcome)
                    answers, empty = self._exchange(partition, batch, ask, claims)
                    for place, answer in zip(places, answers, strict=True):
                        accepted[place] = answer == ord(b"1")
                    if not empty:
                        dry.discard(partition)
            if ask is not None:
                self._claim_more(ask, claims, dry, bool(outcomes))
        except BaseException:
            if ask is not None and claims:  # one partition gave them, another did not answer
                self._undelivered[ask.worker] = claims
            raise
        return accepted, claims

    def inputs(self, task: Task) -> Iterator[Sequence[tuple[str, Payload | None]]]:
        """All inputs of a held task, in chunks."""
        chunk: list[tuple[str, str]] = []
        for arrival in self.read_arrivals(task.run_id, task.path, closing=task.closing):
            chunk.append(arrival)
            if len(chunk) == INPUTS:
                yield self.resolve(task.run_id, chunk)
                chunk = []
        if chunk:
            yield self.resolve(task.run_id, chunk)

    def stage(self, task: Task, items: Sequence[Item]) -> None:
        """Keep scopes of a branch that is about to open."""
        for places in _bites(
            range(len(items)), lambda place: (1, len(items[place].payload.data)), STAGED
        ):
            chunk = [exchange.scope(items[place]) for place in places]
            staged = self._stage(task, chunk)
            if staged < 0:
                return
            self._staged[task.token] = staged

    def _stage(self, task: Task, chunk: Sequence[bytes]) -> int:
        """Put a chunk at the end of what is staged; how much that is then, -1 where the task is held no more."""
        mark = f"{os.getpid()}.{time.monotonic_ns()}"
        args: list[Word] = [self.lives, task.run_id, task.path, words.hold_of(task), mark]
        partition = self.keys.partition(task.run_id)
        staged: int = self.link.run("stage", partition, [*args, len(chunk), *chunk])
        return staged

    def _post(self, outcome: Outcome) -> None:
        """Stage what an outcome sends on beyond the arrivals that its commit delivers. What an interrupted call has
        staged already is then there twice, which delivers it once."""
        task, step = outcome.task, outcome.step
        if step is None or len(step.arrivals) <= self.mail or task.token in self._staged:
            return
        rest, staged = step.arrivals[self.mail :], 0
        for places in _bites(
            range(len(rest)), lambda place: (1, _size(rest[place].payload)), self.mail
        ):
            piece = exchange.piece((rest[place] for place in places), task.path)
            staged = self._stage(task, [piece])
            if staged < 0:
                return  # COMMIT tells whether it is recorded
        self._staged[task.token] = staged

    def printed(self, pieces: Sequence[tuple[Task, bytes]]) -> None:
        """Record what running tasks print."""
        now = time.time()
        for partition, places in self.grouped([task.run_id for task, _ in pieces]):
            for first in range(0, len(places), BATCH):
                some = [pieces[place] for place in places[first : first + BATCH]]
                args: list[Word] = [self.lives, f"{self._nonce}.{next(self._calls)}", len(some)]
                for task, data in some:
                    args += (task.run_id, task.path, words.hold_of(task))
                    args.append(journal.log_piece(task, now, data))
                self.link.run("printed", partition, args)

    def renew(
        self, worker: int, tasks: Sequence[Task]
    ) -> list[tuple[Task, Literal["lost", "stop"]]]:
        """Keep the leases of the tasks a worker holds. Answers those it must kill."""
        verdicts: list[tuple[Task, Literal["lost", "stop"]]] = []
        for place in [place for place in list(self._unrenewed) if place[0] == worker]:
            self._unrenewed.pop(place, None)
        for partition, places in self.grouped([task.run_id for task in tasks]):
            for first in range(0, len(places), RENEWED):
                held = [tasks[place] for place in places[first : first + RENEWED]]
                self._unrenewed[worker, partition, first] = held
                with self.link.servers.apart:
                    verdicts += self.keep_leases(partition, held)
                    self._unrenewed.pop((worker, partition, first), None)
        with self.link.servers.apart:
            self.alive(worker)
        return verdicts

    def left_out(self) -> BackendError | None:
        """Why the last calls left out a part of what they were to do."""
        return self.link.servers.left_out()

    # -- one exchange -----------------------------------------------------------------------------

    def _exchange(
        self, partition: str, outcomes: Sequence[Outcome], ask: Ask | None, claims: list[Claim]
    ) -> tuple[bytes, bool]:
        """One COMMIT: its answers, a letter each, its tasks at the end of `claims`, and whether nothing is left."""
        limit = 0 if ask is None else max(0, min(ask.limit - len(claims), BATCH))
        worker = ask.worker if ask is not None else 0
        flows = self._rotated(ask) if ask is not None and limit > 0 else []
        # a call that was given up is repeated by the next one, which gets the tasks it may have got
        unanswered = self._unanswered.pop((partition, worker), None) if limit > 0 else None
        call = unanswered or self._name()
        wanted = [f"{flow}:{fingerprint}" for flow, fingerprint in flows]
        classes = wanted if unanswered else self._worthwhile(partition, wanted, outcomes)
        rest: list[Word] = [limit, len(classes), *classes, len(outcomes)]
        now = time.time()
        for outcome in outcomes:
            token = outcome.task.token
            staged = self._staged.get(token, -1)
            rest += exchange.outcome_args(outcome, staged, now, self.who, self.mail)
        known = unanswered is not None

        def ask_once(attempt: int) -> Any:
            again = 1 if known or attempt else 0
            args: list[Word] = [self.lives, worker, call, again, *rest]
            return self.link.run_once("commit", partition, args)

        try:
            answers, tasks, *rested = self.link.patiently(partition, ask_once)
        except BaseException:
            if limit > 0:
                self._unanswered[partition, worker] = call
            raise
        for outcome in outcomes:
            self._staged.pop(outcome.task.token, None)
        given = exchange.read_claims(tasks)
        claims += given
        if classes and rested:  # nothing is left
            bells = (f"{partition}:b:{name}" for name in classes)
            streams = dict(zip(bells, rested[0], strict=True))
            for waker in self.wakers:
                waker.rest(partition, streams, every=len(classes) == len(wanted))
        elif classes:
            for waker in self.wakers:
                waker.full(partition)
        return answers, bool(rested) or not classes  # who asks for no flow, gets none

    def _name(self) -> str:
        """A call's: four letters that tell what it takes from what others take, one of 7 million, and a number
        that no other call of this connection has."""
        number = next(self._calls)
        high, low = divmod(number, len(ascii_letters))
        return f"{self.mark}{ascii_letters[high % len(ascii_letters)]}{ascii_letters[low]}{number}"

    def _worthwhile(
        self, partition: str, classes: list[str], outcomes: Sequence[Outcome]
    ) -> list[str]:
        """Of these classes those whose queue may hold something, as far as the waker of a worker knows."""
        wakers = self.wakers
        if len(wakers) != 1 or not classes:
            return classes
        start = f"{partition}:b:"
        made = {f"{start}{o.task.flow}:{o.task.fingerprint}" for o in outcomes}
        bells = wakers[0].worthwhile(partition, [start + each for each in classes], made)
        return [bell.removeprefix(start) for bell in bells]

    def _claim_more(self, ask: Ask, claims: list[Claim], dry: set[str], busy: bool) -> None:
        """Claims from one partition after the other until the limit is met or nothing is left. One that is
        busy, or that was woken, does not look where it would have been woken for."""
        partitions = self.keys.partitions
        if len(partitions) > 1:
            dry = dry | self._quiet(ask, busy)
        start = next(self._turns) % len(partitions)
        for partition in itertools.chain(partitions[start:], partitions[:start]):
            while partition not in dry and len(claims) < ask.limit:
                dry.add(partition)
                with self.link.servers.apart:
                    if not self._exchange(partition, (), ask, claims)[1]:
                        dry.discard(partition)

    def _quiet(self, ask: Ask, busy: bool) -> set[str]:
        """The partitions of which the waker of a worker knows that they hold nothing it asks for."""
        wakers = self.wakers
        if len(wakers) != 1 or ask.run_id or not (busy or wakers[0].rang()):
            return set()
        names = [f"b:{flow}:{fingerprint}" for flow, fingerprint in ask.flows]
        return {
            partition
            for partition in self.keys.partitions
            if (partition, ask.worker) not in self._unanswered
            and wakers[0].quiet(partition, [f"{partition}:{name}" for name in names])
        }

    def _rotated(self, ask: Ask) -> list[FlowKey]:
        """The definitions asked for, from another one each time, so that none is always last."""
        flows = list(ask.flows)
        if ask.run_id:
            run, _ = self.read(ask.run_id)
            flows = [(run.id.flow, run.id.fingerprint)]
        self.asked.update(flows)
        turn = next(self._turns) % len(flows) if flows else 0
        return flows[turn:] + flows[:turn]

    def _batches(self, outcomes: Sequence[Outcome]) -> Iterator[tuple[str, list[int]]]:
        for partition, places in self.grouped([o.task.run_id for o in outcomes]):
            for bite in _bites(places, lambda place: _weight(outcomes[place], self.mail), BATCH):
                yield partition, bite

    def _burden(self, request: Request) -> tuple[int, int]:
        """How much work a new run is, in runs of one start, and how many bytes of payloads."""
        return 1 + min(len(request.starts) - 1, self.mail) // _BESIDE, len(request.payload.data)


def _size(payload: Payload | None) -> int:
    return 0 if payload is None else len(payload.data)


def _weight(outcome: Outcome, most: int) -> tuple[int, int]:
    """How much work an outcome is, in outcomes, and how many bytes of payloads. `most` arrivals go with it."""
    step = outcome.step
    if step is None:
        return 1, 0
    items = step.opened.items if step.opened is not None else ()
    arrivals = step.arrivals[:most]
    payloads = [step.output, *(each.payload for each in arrivals)]
    payloads += (each.payload for each in items)
    return 1 + (len(arrivals) + len(items)) // _BESIDE, sum(map(_size, payloads))


def _bites(
    places: Sequence[int], weigh: Callable[[int], tuple[int, int]], most: int
) -> Iterator[list[int]]:
    """The places in parts that one script call takes: so much work and so many bytes, or one that is more."""
    bite: list[int] = []
    done = filled = 0
    for place in places:
        work, size = weigh(place)
        if bite and (done + work > most or filled + size > BYTES):
            yield bite
            bite, done, filled = [], 0, 0
        bite.append(place)
        done += work
        filled += size
    if bite:
        yield bite


def _taken(run_id: str) -> Conflict:
    return Conflict(
        f"run {run_id!r} exists with another flow, payload or query;"
        " use another run id, or none to get a new one"
    )
