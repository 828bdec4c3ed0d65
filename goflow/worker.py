"""A worker's supervisor: claim, hand to a child, commit what came back.

One thread, one loop. It does all the talking to the store and runs no user code. Everything that was
finished while it was busy goes into one commit, and the same call brings the next tasks; a lone result
is committed at once.

Small tasks travel in batches (pace.py); what a dead child had not answered is handed to another one,
except the task it was executing, which is settled by what is known of the death.
"""

from __future__ import annotations

import os
import selectors
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Final

from goflow.backend import Ask, Backend, FlowKey, Waker
from goflow.child import FromChild, Get, Result, Results, Staged
from goflow.engine import refusal
from goflow.errors import BackendError
from goflow.figures import Accountable, Meter
from goflow.ledger import Ledger
from goflow.message import DIED, TIMED_OUT, Claim, Failure, Input, Task
from goflow.observer import Observer, Quiet
from goflow.pace import Pace
from goflow.pool import Child, Pool
from goflow.workflow import Flow

#: a claimed task that found no free child goes back after this many seconds
HOARD: Final = 0.05
#: seconds between attempts to reach a store that refuses
_PATIENCE: Final = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


class Worker:
    """Executes tasks of some flows, or (with `run_id`) of one run that it owns.

    `id` is what `Backend.enter` answered. `concurrency` children at most; `lease` and `grace` are in seconds:
    how long the store waits for a sign of life, and how long `drain` waits for running tasks.
    `patient` workers outlast a store that is away; others raise its BackendError.
    """

    def __init__(
        self,
        backend: Backend,
        flows: Iterable[Flow],
        id: int,
        *,
        concurrency: int = 5,
        run_id: str = "",
        observer: Observer | None = None,
        lease: float = 30.0,
        grace: float = 30.0,
        patient: bool = False,
        log_limit: int = 1_000_000,
        payload_limit: int = 64_000_000,
        start_method: str | None = None,
    ) -> None:
        self._backend = backend
        self._flows: Mapping[FlowKey, Flow] = {flow.key: flow for flow in flows}
        self._id = id
        self._run_id = run_id
        self._observer: Observer = observer or Quiet()
        self._lease = lease
        self._grace = grace
        self._patient = patient
        self._pool = Pool(
            list(self._flows.values()),
            concurrency,
            start_method=start_method,
            log_limit=log_limit,
        )
        self._selector = selectors.DefaultSelector()
        self._inbox, self._outbox = os.pipe()
        os.set_blocking(self._inbox, False)
        os.set_blocking(self._outbox, False)
        self._selector.register(self._inbox, selectors.EVENT_READ, self._inbox)
        self._waker: Waker | None = None
        self._backlog: deque[Claim] = deque()
        self._hoarding = 0.0
        self._ledger = Ledger(self._flows, payload_limit)
        self._meter = Meter()
        self._pace = Pace(self._flows)
        self._deaf = 0
        self._draining: float | None = None
        self._look = True
        self._stopping = False
        self._tick_at = 0.0
        self._renew_at = 0.0

    def wake(self) -> None:
        """Have the loop look around; safe from a signal handler or another thread."""
        with suppress(BlockingIOError):  # full: it has plenty of reasons to look already
            os.write(self._outbox, b".")

    def drain(self, grace: float | None = None) -> None:
        """Claim nothing more; what still runs after `grace` seconds is killed and handed back."""
        until = time.monotonic() + (self._grace if grace is None else grace)
        self._draining = until if self._draining is None else min(until, self._draining)
        self.wake()

    def stop_run(self) -> None:
        """Stop the one run it owns, as soon as the loop comes round; safe from a signal handler."""
        self._stopping = True
        self.wake()

    def run(self, until: Callable[[], bool] = lambda: False) -> None:
        """Work until drained, or until `until()` is true (asked whenever nothing is at hand)."""
        self._listen()
        try:
            while True:
                self._advance()
                if self._drained() or (self._resting() and until()):
                    break
                self._wait()
        finally:
            self._pool.close()
            self._hand_back()
            self._selector.close()
            for end in (self._inbox, self._outbox):
                os.close(end)
            if self._waker is not None:
                self._waker.close()

    # -- one turn of the loop ---------------------------------------------------------------------

    def _advance(self) -> None:
        """Commit, claim and dispatch until there is nothing to do but wait."""
        now = time.time()
        try:
            if self._stopping:
                self._stopping = False
                self._backend.control(self._run_id, "stop")
                self._renew_at, self._look = 0.0, True
            if now >= self._tick_at:
                self._tick(now)
            if now >= self._renew_at:
                self._renew(now)
            self._exchange()
        except BackendError as error:
            self._suffer(error)
            return
        self._deaf = 0
        self._dispatch()

    def _exchange(self) -> None:
        """One call to the store: outcomes in, claims out."""
        outcomes, limit = self._ledger.outcomes, self._limit()
        ask = None
        if limit > 0 and (self._look or outcomes):
            ask = Ask(worker=self._id, limit=limit, flows=tuple(self._flows), run_id=self._run_id)
        if outcomes:
            accepted, claims = self._backend.commit(outcomes, ask)
            self._ledger.outcomes = []
            for outcome, fine in zip(outcomes, accepted, strict=True):
                self._observer.finished(outcome, fine)
                if fine and not outcome.released:
                    self._meter.add(outcome)
                if outcome.retry_at is not None:
                    self._tick_at = min(self._tick_at, outcome.retry_at)
        elif ask is not None:
            claims = self._backend.claim(ask)
        else:
            return
        if ask is not None:
            self._look = len(claims) == limit
            if claims and not self._backlog:
                self._hoarding = time.monotonic() + HOARD
            self._backlog.extend(claims)

    def _limit(self) -> int:
        """How many tasks to ask for: what free children can hold, less what is at hand."""
        if self._draining is not None:
            return 0
        return self._pool.room * self._pace.size - len(self._backlog)

    def _dispatch(self) -> None:
        """Give what is at hand to free children; what none can take soon goes back to the store."""
        while self._backlog and self._pool.room > 0:
            claim = self._backlog[0]
            refused = refusal(self._flows[_key(claim.task)].plan, claim.task)
            if refused is not None:
                self._backlog.popleft()
                self._ledger.failed(claim.task, refused, time.time(), time.time())
                continue
            idle = self._pool.idle
            child = idle[0] if idle else self._watch(self._pool.start())
            self._feed(child)
        if self._backlog and time.monotonic() > self._hoarding:
            self._ledger.released(self._backlog)
            self._backlog.clear()

    def _feed(self, child: Child) -> None:
        """Hand a child its next batch."""
        batch = self._pace.batch(self._backlog, self._pool.room)
        for claim in batch:
            self._observer.started(claim.task)
        with self._releasing(child):
            child.send(batch, time.time())
            if not batch[0].complete:
                chunks = self._backend.inputs(batch[0].task)
                child.send_inputs([Input(*pair) for pair in chunk] for chunk in chunks)

    # -- waiting and what it brings ---------------------------------------------------------------

    def _wait(self) -> None:
        """Sleep until a child, the store, a clock or somebody's `wake` has something."""
        for key, _ in self._selector.select(self._timeout()):
            if isinstance(key.data, tuple):
                child, what = key.data
                if child in self._pool.children:
                    what(child)
            elif key.data is self._waker:
                assert self._waker is not None
                self._waker.clear()
                self._look = True
                self._renew_at = 0.0
            else:
                self._look = True
                with suppress(BlockingIOError):
                    os.read(self._inbox, 4096)
        self._enforce()

    def _timeout(self) -> float | None:
        """Seconds until the next thing on any clock."""
        if self._ledger.outcomes or (self._look and self._limit() > 0 and not self._deaf):
            return 0.0
        now = time.time()
        due = [self._tick_at - now, self._renew_at - now]
        pulse = self._observer.pulse()
        if pulse is not None:
            due.append(pulse)
        if self._backlog:
            due.append(self._hoarding - time.monotonic())
        if self._draining is not None:
            due.append(self._draining - time.monotonic())
        for child in self._pool.children:
            timeout = self._task_timeout(child)
            if timeout is not None:
                due.append(child.clock + timeout - time.monotonic())
        return max(0.0, min(due))

    def _watch(self, child: Child) -> Child:
        """Listen to a new child's results, its output and its end."""
        for source, what in (
            (child.connection, self._on_message),
            (child.output, self._on_output),
            (child.sentinel, self._on_death),
        ):
            self._selector.register(source, selectors.EVENT_READ, (child, what))
        return child

    def _on_message(self, child: Child) -> None:
        message = child.receive()
        if message is None:
            self._on_death(child)
        else:
            self._hear(child, message)

    def _hear(self, child: Child, message: FromChild) -> None:
        if isinstance(message, Results):
            for result in message.results:
                self._settle(child, result)
            return
        task = child.claims[0].task
        with self._releasing(child):
            if isinstance(message, Staged):
                self._backend.stage(task, message.items)
            elif isinstance(message, Get):
                child.answer(self._backend.context(task.run_id, message.key))

    @contextmanager
    def _releasing(self, child: Child) -> Iterator[None]:
        """Talk to the store on behalf of a child. Where the store fails, the child's work goes back."""
        try:
            yield
        except OSError:
            return  # the child is dead: its sentinel will say so
        except BackendError as error:
            if not self._patient:
                raise
            self._observer.troubled(error)
            child.kill(_RELEASE)

    def _on_output(self, child: Child) -> None:
        child.drain(self._echo)
        if child.mute:
            self._selector.unregister(child.output)  # user code let go of it

    def _echo(self, claim: Claim, data: bytes) -> None:
        self._observer.printed(claim.task, data)

    def _settle(self, child: Child, result: Result) -> None:
        claim, log = child.settle(result, self._echo)
        self._pace.learn(claim.task, result.finished - result.started)
        self._ledger.answered(claim.task, result, log)

    def _on_death(self, child: Child) -> None:
        """A child is gone: settle what it had answered, blame the task at hand, hand on the rest."""
        while child.connection.poll(0) and (message := child.receive()) is not None:
            self._hear(child, message)
        ended = child.last_words(self._echo)
        for source in (child.connection, child.output, child.sentinel):
            try:
                self._selector.unregister(source)
            except (KeyError, ValueError):
                continue
        if child.claims:
            claims = list(child.claims)
            child.claims.clear()
            culprit = claims[min(ended, len(claims) - 1)]
            innocent = child.killed == _DOOMED and culprit.task.token not in self._ledger.sentences
            if not (
                innocent or (child.deaf and child.ready)
            ):  # not ready: it cannot load its flows
                claims.remove(culprit)
                self._bury(child, culprit)
            left = [c for c in claims if not self._ledger.executed(c.task, child.since)]
            self._backlog.extendleft(reversed(left))
            self._hoarding = time.monotonic() + HOARD
        self._pool.remove(child)

    def _bury(self, child: Child, claim: Claim) -> None:
        """What becomes of the task a dead child was executing."""
        task, log = claim.task, child.log.take()
        if self._ledger.executed(task, child.since, log):
            return
        if child.killed == _RELEASE:
            self._ledger.released([claim])
        else:
            kind = TIMED_OUT if child.killed else DIED
            reason = child.killed or child.epitaph()
            self._ledger.failed(
                task, Failure(kind, reason, task.path), child.since, time.time(), log
            )

    # -- clocks -----------------------------------------------------------------------------------

    def _enforce(self) -> None:
        """Kill what is out of time, doomed, or in the way of the end."""
        now = time.monotonic()
        over = self._draining is not None and now >= self._draining
        for child in self._pool.children:
            if not child.claims or child.killed:
                continue
            timeout = self._task_timeout(child)
            if child.claims[0].task.token in self._ledger.sentences:
                child.kill(_DOOMED)
            elif timeout is not None and now >= child.clock + timeout:
                child.kill(f"timed out after {timeout:g} s")
            elif over:
                child.kill(_RELEASE)

    def _task_timeout(self, child: Child) -> float | None:
        if not child.claims or child.killed or not child.ready:
            return None
        return self._pace.timeout(child.claims[0].task)

    def _tick(self, now: float) -> None:
        due = self._backend.tick(self._id)
        self._count()
        rhythm = now + min(1.0, self._lease / 6)
        self._tick_at = rhythm if due is None else min(rhythm, max(due, now + 0.001))
        self._look = True

    def _count(self) -> None:
        """Hand over what was counted since the last time."""
        numbers = self._meter.numbers()
        if numbers and isinstance(self._backend, Accountable):
            self._backend.count(self._id, numbers)  # where it fails, the next time has them all
        self._meter.clear()

    def _renew(self, now: float) -> None:
        """Keep the leases of all that is held, and learn what must die."""
        held = [claim.task for child in self._pool.children for claim in child.claims]
        held += [claim.task for claim in self._backlog]
        self._renew_at = now + self._lease / 3
        if not held:
            return
        self._ledger.sentence(self._backend.renew(self._id, held))
        for claim in [c for c in self._backlog if self._ledger.executed(c.task, now)]:
            self._backlog.remove(claim)
        self._enforce()

    # -- beginning, trouble and the end -----------------------------------------------------------

    def _listen(self) -> None:
        self._waker = self._backend.watch(None)
        self._selector.register(self._waker, selectors.EVENT_READ, self._waker)

    def _suffer(self, error: BackendError) -> None:
        """The store refused: a patient worker keeps its results and tries again."""
        if not self._patient:
            raise error
        self._observer.troubled(error)
        pause = _PATIENCE[min(self._deaf, len(_PATIENCE) - 1)]
        self._deaf += 1
        time.sleep(pause)

    def _drained(self) -> bool:
        if self._draining is None:
            return False
        if self._backlog:
            self._ledger.released(self._backlog)
            self._backlog.clear()
        return not (self._ledger.outcomes or any(child.claims for child in self._pool.children))

    def _resting(self) -> bool:
        busy = self._ledger.outcomes or self._backlog or self._look
        return not (busy or any(child.claims for child in self._pool.children))

    def _hand_back(self) -> None:
        """The loop has ended: what is still held goes back without a penalty."""
        self._ledger.released(c for child in self._pool.children for c in child.claims)
        self._ledger.released(self._backlog)
        try:
            if self._ledger.outcomes:
                self._backend.commit(self._ledger.outcomes, None)
            self._count()
        except BackendError as error:
            self._observer.troubled(error)  # its leases run out, others take over


_RELEASE: Final = "the worker ends"
_DOOMED: Final = "its run was stopped, or another worker has it"


def _key(task: Task) -> FlowKey:
    return (task.flow, task.fingerprint)
