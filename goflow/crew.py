"""The children at work: fed, listened to, timed, and when they die, their tasks settled.

What a child answers goes into the ledger; what a dead one had not begun goes back to the backlog, from where
another child takes it. The first unanswered task is the one it was executing: that one is settled by what
is known of the death.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from selectors import EVENT_READ, EVENT_WRITE, BaseSelector
from typing import Final

from goflow.aloud import Aloud
from goflow.answering import Answers
from goflow.backend import Backend, FlowKey
from goflow.backlog import Backlog
from goflow.blobs.carrier import BLOBS_AWAY
from goflow.child import FromChild, Get, Result, Results, Staged
from goflow.engine import MOST_LOST, gathers
from goflow.errors import BackendError, BlobsAway
from goflow.ledger import Ledger
from goflow.message import DIED, TIMED_OUT, Claim, Failure, Input, Task
from goflow.observer import Observer
from goflow.pace import Pace
from goflow.pool import Pool
from goflow.process import Child
from goflow.workflow import Flow

_RELEASE: Final = "the worker ends"
_DOOMED: Final = "its run was stopped, or another worker has it"
#: seconds that nothing is claimed after large payloads could not be carried
BLOBS_PAUSE: Final = 2.0


class Crew:
    """The children of one worker. `patient` is the worker's: whether it outlasts a store that is away."""

    def __init__(
        self,
        backend: Backend,
        flows: Mapping[FlowKey, Flow],
        pool: Pool,
        ledger: Ledger,
        pace: Pace,
        observer: Observer,
        selector: BaseSelector,
        *,
        patient: bool,
    ) -> None:
        self.backlog = Backlog()
        self._backend = backend
        self._answers = Answers(backend, observer, patient=patient)
        self._flows = flows
        self._pool = pool
        self._ledger = ledger
        self._pace = pace
        self._observer = observer
        self._selector = selector
        self._patient = patient
        self._aloud = Aloud(backend, pool.children)
        #: until when (monotonic) nothing is claimed, since large payloads cannot be carried
        self.pausing = 0.0
        #: what children were given, until whoever watches has been told (see Worker)
        self.begun: list[Task] = []
        #: how many processes died before they had read a task, by its token
        self._spared: Counter[str] = Counter()

    @property
    def busy(self) -> bool:
        """Whether any child has something to do."""
        return any(child.claims for child in self._pool.children)

    @property
    def owing(self) -> bool:
        """Whether any child waits for the store to have its result."""
        return any(child.owes for child in self._pool.children)

    @property
    def claims(self) -> list[Claim]:
        """What the children have been given and have not answered."""
        return [claim for child in self._pool.children for claim in child.claims]

    def feed(self) -> None:
        """Give a child that has nothing to do, or a new one, its next batch."""
        if self.backlog[0].task.token in self._spared:  # it may be what kills them: alone
            batch = [self.backlog.popleft()]
        else:
            batch = self._pace.batch(self.backlog, self._pool.free)
        self.backlog.patient()
        child = self._pool.idle() or self._watch(self._pool.start())
        self.begun += [claim.task for claim in batch]
        first = batch[0]
        child.timeout = self._pace.timeout(first.task)  # tasks with one travel alone
        child.take(batch, time.time())
        inputs = iter(()) if first.complete else self._inputs(first.task)
        self._talk(child, partial(child.send, inputs))

    def _talk(self, child: Child, say: Callable[[], None]) -> None:
        """Have something said to a child, with what the store says to it. Where the store fails, the child's work goes
        back; what it does not take now goes on when it can be sent more."""
        try:
            say()
        except OSError:
            pass  # the child is dead: its sentinel will say so
        except BackendError as error:
            if not self._patient:
                raise
            self._observer.troubled(error)
            child.kill(_RELEASE)
        if child.full != child.awaits_room and child in self._pool.children:
            child.awaits_room = child.full
            events = EVENT_READ | EVENT_WRITE if child.full else EVENT_READ
            self._selector.modify(child.connection, events, self._called(self._on_message, child))

    def recorded(self) -> None:
        """The store has all that the children have answered, but for what a part of it could not be told."""
        for child in self._pool.children:
            if child.owes:
                self._talk(child, child.recorded)

    def _inputs(self, task: Task) -> Iterator[list[Input]]:
        """The inputs of a task that are too many for one message, those that carry something: in chunks, the
        last of which is empty."""
        if gathers(self._flows[task.flow, task.fingerprint].plan, task):
            for chunk in self._backend.inputs(task):
                if carried := [Input(*pair) for pair in chunk if pair[1] is not None]:
                    yield carried
        yield []

    # -- listening --------------------------------------------------------------------------------

    def _watch(self, child: Child) -> Child:
        """Listen to a new child's results and its end; to what it prints, see `enforce`."""
        for source, what in (
            (child.connection, self._on_message),
            (child.sentinel, self._on_death),
        ):
            self._selector.register(source, EVENT_READ, self._called(what, child))
        return child

    def _called(self, what: Callable[[Child], None], child: Child) -> Callable[[], None]:
        def call() -> None:
            if child in self._pool.children:  # what came with the same waking may have buried it
                what(child)

        return call

    def _listen(self, child: Child) -> None:
        """Read what it prints as it comes, from now on."""
        if not (child.listened or child.mute):
            child.listened = True
            self._selector.register(child.output, EVENT_READ, self._called(self._on_output, child))

    def _ignore(self, child: Child) -> None:
        """Read what it prints with its results only."""
        if child.listened:
            child.listened = False
            self._selector.unregister(child.output)

    def _on_message(self, child: Child) -> None:
        if child.awaits_room:
            self._talk(child, child.push)
        try:
            while (message := child.receive()) is not None:
                self._hear(child, message)
                if not child.has_more:
                    return
        except EOFError:
            self._on_death(child)

    def _hear(self, child: Child, message: FromChild) -> None:
        if isinstance(message, Results):
            for result in message.results:
                self._settle(child, result)
            child.owes = message.heavy
            return
        task = child.claims[0].task
        if isinstance(message, Staged):
            self._talk(child, partial(self._backend.stage, task, message.items))
        elif isinstance(message, Get):
            self._talk(child, partial(self._answers.give, child, message.key))

    def _on_output(self, child: Child) -> None:
        child.drain(self._echo)
        if child.mute:
            self._ignore(child)  # user code let go of it

    def _echo(self, claim: Claim, data: bytes) -> None:
        self._observer.printed(claim.task, data)

    def _settle(self, child: Child, result: Result) -> None:
        claim, log = child.settle(result, self._echo)
        self._spared.pop(claim.task.token, None)
        self._ignore(child)
        self._pace.learn(claim.task, result.finished - result.started)
        if result.failure is not None and result.failure.type == BLOBS_AWAY:
            self._let_go(claim, result.failure.message)
            return
        self._ledger.answered(claim.task, result, log, child.reads.of(claim.task.token))
        if result.failure is not None:
            self._hold_back(claim.task)

    def _let_go(self, claim: Claim, why: str) -> None:
        """Its inputs or its result cannot be carried now: it goes back, and we claim nothing for a while."""
        error = BlobsAway(why)
        if not self._patient:
            raise error
        self._ledger.released([claim])
        self._observer.troubled(error)
        self.pausing = time.monotonic() + BLOBS_PAUSE

    def _hold_back(self, task: Task) -> None:
        """A node has failed: if for good, its run starts no other, not even what was claimed already."""
        last = self._ledger.outcomes[-1]
        if last.retry_at is None and not last.rescue:
            self._ledger.released(self.backlog.of_run(task.run_id))

    # -- deaths -----------------------------------------------------------------------------------

    def _on_death(self, child: Child) -> None:
        """A child is gone: settle what it had answered, blame the task at hand, hand on the rest."""
        with suppress(EOFError):
            while (message := child.receive()) is not None:
                self._hear(child, message)
        ended = child.last_words(self._echo)  # so many of its tasks, and the next one was at hand
        self._ignore(child)
        for source in (child.connection, child.sentinel):
            self._selector.unregister(source)
        if child.claims:
            claims = list(child.claims)
            child.claims.clear()
            if child.deaf and child.ready:
                self._spared.update(claim.task.token for claim in claims)
            culprit = claims[min(ended, len(claims) - 1)]
            if not self._innocent(child, culprit):
                claims.remove(culprit)
                self._bury(child, culprit)
            left = [c for c in claims if not self._ledger.carried_out(c.task, child.since)]
            self.backlog.extendleft(reversed(left))
            self.backlog.patient()
        self._pool.remove(child)

    def _innocent(self, child: Child, culprit: Claim) -> bool:
        """Whether the task at hand has nothing to do with the death and has not begun either."""
        if child.owes:
            return True  # it was waiting for the store
        if child.killed == _DOOMED and culprit.task.token not in self._ledger.sentences:
            return True
        # not ready: it cannot load its flows; too often: its input is too much for any process
        return child.deaf and child.ready and self._spared[culprit.task.token] < MOST_LOST

    def _bury(self, child: Child, claim: Claim) -> None:
        """What becomes of the task a dead child was executing."""
        task, log = claim.task, child.log.take()
        reads = child.reads.of(task.token)
        self._spared.pop(task.token, None)
        if self._ledger.carried_out(task, child.since, log, reads):
            return
        if child.killed == _RELEASE:
            self._ledger.released([claim])
        else:
            kind = TIMED_OUT if child.killed else DIED
            reason = child.killed or child.epitaph()
            if child.deaf and child.ready and not child.killed:
                reason += f", the {MOST_LOST} processes that were to read its input all died of it"
            failure = Failure(kind, reason, task.path)
            self._ledger.failed(task, failure, child.since, time.time(), log, reads=reads)
            self._hold_back(task)

    # -- clocks -----------------------------------------------------------------------------------

    def due(self) -> float | None:
        """When (monotonic) `enforce` has something to do, as far as clocks say."""
        first: float | None = None
        for child in self._pool.children:
            if child.claims:
                aloud = self._aloud.due(child)
                asks = None if child.unanswered is None else child.unanswered.again
                for date in (child.deadline, child.listening, aloud, asks):
                    if date is not None and (first is None or date < first):
                        first = date
        return first

    def enforce(self, over: bool) -> None:
        """Kill what is out of time, doomed or (`over`) in the way of the end; listen to what takes long, record
        what it prints, and ask again for what it waits for."""
        now = time.monotonic()
        for child in self._pool.children:
            if not child.claims:
                continue
            listening, deadline = child.listening, child.deadline
            if listening is not None and now >= listening:
                self._listen(child)
            if child.killed:
                continue
            if child.claims[0].task.token in self._ledger.sentences:
                child.kill(_DOOMED)
            elif deadline is not None and now >= deadline:
                child.kill(child.overdue())
            elif over:
                child.kill(_RELEASE)
            elif child.unanswered is not None and now >= child.unanswered.again:
                self._talk(child, partial(self._answers.give, child, child.unanswered.key))
        self._aloud.record()
