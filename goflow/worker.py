"""A worker's supervisor: claim, hand to a child, commit what came back.

One thread, one loop. It does all the talking to the store and runs no user code. Everything that was
finished while it was busy goes into one commit, and the same call brings the next tasks; a lone result
is committed at once.

Small tasks travel in batches, and are claimed before a child is free for them (pace.py); what happens to
children and their tasks is in crew.py.
"""

from __future__ import annotations

import os
import select
import selectors
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

from goflow.abilities import Attentive
from goflow.backend import Ask, Backend, FlowKey, Waker
from goflow.blobs.carrier import Carrier
from goflow.crew import Crew
from goflow.engine import refusal
from goflow.errors import BackendError
from goflow.ledger import Ledger
from goflow.message import Outcome, Task
from goflow.observer import Observer, Quiet
from goflow.pace import Pace
from goflow.patience import pause
from goflow.pool import Pool
from goflow.rhythm import Rhythm
from goflow.rush import Rush
from goflow.workflow import Flow


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
        carrier: Carrier | None = None,
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
            carrier=carrier,
        )
        # not epoll: only poll tells Linux that whoever answers is about to sleep, so that this loop takes over its
        # processor and not that of a child which computes. The price: some 50 ns a descriptor and turn
        self._selector = selectors.PollSelector()
        self._inbox, self._outbox = os.pipe()
        os.set_blocking(self._inbox, False)
        os.set_blocking(self._outbox, False)
        self._selector.register(self._inbox, selectors.EVENT_READ, self._on_wake)
        self._waker: Waker | None = None
        self._attentive: Attentive | None = None
        self._put_off = False
        self._ledger = Ledger(self._flows)
        self._pace = Pace(self._flows)
        self._rush = Rush(self._flows)
        self._crew = Crew(
            backend,
            self._flows,
            self._pool,
            self._ledger,
            self._pace,
            self._observer,
            self._selector,
            patient=patient,
        )
        self._rhythm = Rhythm(backend, id, self._crew, self._ledger, self._observer, lease)
        #: how often in a row the store has refused
        self._deaf = 0
        #: what the store has answered and nobody who watches was told yet
        self._news: list[tuple[Outcome, bool]] = []
        self._draining: float | None = None
        self._draining_told = False
        #: whether the store may have something to claim: it was not asked, rang, or gave all that was asked for
        self._look = True
        self._stopping = False

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
        """Dispatch, commit and claim, until there is nothing to do but wait; then tell whoever watches, while the
        children compute already.

        What is at hand goes out first: children that owe no result need not wait for the store.
        """
        try:
            self._turn()
        finally:
            self._tell()

    def _turn(self) -> None:
        self._dispatch()
        now = time.monotonic()
        try:
            if self._waker is None:
                self._listen()
            if self._stopping:
                self._stopping = False
                self._backend.control(self._run_id, "stop")
                self._rhythm.renew_at, self._look = 0.0, True
            if self._rhythm.serve(now):
                self._look = True
            self._exchange()
        except BackendError as error:
            self._tell()  # the pause may be long
            self._suffer(error)
            return
        self._deaf = 0
        self._dispatch()

    def _exchange(self) -> None:
        """One call to the store: outcomes in, claims out."""
        if time.monotonic() < self._held:
            return
        outcomes, limit = self._ledger.due(), self._limit()
        ask = None
        if limit > 0 and (self._look or outcomes):
            ask = Ask(worker=self._id, limit=limit, flows=tuple(self._flows), run_id=self._run_id)
        if outcomes:
            accepted, claims = self._backend.commit(outcomes, ask)
            self._news += self._ledger.told(outcomes, accepted)
            self._crew.recorded()
        elif ask is not None:
            claims = self._backend.claim(ask)
        else:
            return
        if ask is not None:
            self._look = len(claims) == limit
            self._rush.came(claims, rest=self._look, now=time.monotonic())
            if claims and not self._crew.backlog:
                self._crew.backlog.patient()
            self._crew.backlog.extend(claims)

    def _tell(self) -> None:
        """Say what has been recorded and what was given out since, in this order, and count it."""
        news, self._news = self._news, []
        for outcome, fine in news:
            self._observer.finished(outcome, fine)
            self._rhythm.recorded(outcome, fine)
        begun, self._crew.begun = self._crew.begun, []
        for task in begun:
            self._observer.started(task)

    @property
    def _held(self) -> float:
        """Until when (monotonic) the next exchange waits for company; not where a child waits for it."""
        return 0.0 if self._draining is not None or self._crew.owing else self._rush.until

    def _limit(self) -> int:
        """How many tasks to ask for: what free children can hold and busy ones can soon, less what is
        at hand."""
        if self._draining is not None or time.monotonic() < self._crew.pausing:
            return 0
        room = self._pool.room
        soon = (self._pool.size - room) * self._pace.ahead
        return room * self._pace.size + soon - len(self._crew.backlog)

    def _dispatch(self) -> None:
        """Give what is at hand to free children; what none has taken in time goes back to the store."""
        backlog = self._crew.backlog
        while backlog and self._pool.free > 0 and self._draining is None:
            task = backlog[0].task
            refused = refusal(self._flows[_key(task)].plan, task) if task.lost else None
            if refused is not None:
                backlog.popleft()
                self._ledger.failed(task, refused, time.time(), time.time())
            else:
                self._crew.feed()
        if backlog and time.monotonic() > backlog.until:
            self._pace.stuck()
            self._ledger.released(backlog)
            backlog.clear()

    # -- waiting and what it brings ---------------------------------------------------------------

    def _wait(self) -> None:
        """Sleep until a child, the store, a clock or somebody's `wake` has something."""
        due = self._crew.due()
        for key, _ in self._at_hand() or self._selector.select(self._timeout(due)):
            key.data()
        over = self._draining is not None and time.monotonic() >= self._draining
        if over or (due is not None and time.monotonic() >= due):
            self._crew.enforce(over)

    def _at_hand(self) -> list[tuple[selectors.SelectorKey, int]]:
        """What need not be waited for, where the store is not listened to yet: a child that has answered meanwhile comes
        first, but it puts that off once only."""
        if self._attentive is None or not self._attentive.due:
            return []
        ready = [] if self._put_off else self._selector.select(0)
        self._put_off = bool(ready)
        if not ready:
            self._attentive.attend()
        return ready

    def _timeout(self, due: float | None) -> float | None:
        """Seconds until the next thing on any clock; `due` is what the children's say."""
        now = time.monotonic()
        rest = self._rhythm.due - now
        if self._ledger.outcomes or (self._look and self._limit() > 0 and not self._deaf):
            rest = min(rest, self._held - now)
        if self._ledger.kept:
            rest = min(rest, self._ledger.again_at - now)
        pulse = self._observer.pulse()
        if pulse is not None:
            rest = min(rest, pulse)
        if due is not None:
            rest = min(rest, due - now)
        if self._look and self._crew.pausing > now:
            rest = min(rest, self._crew.pausing - now)
        if self._crew.backlog:
            rest = min(rest, self._crew.backlog.until - now)
        if self._draining is not None:
            rest = min(rest, self._draining - now)
        return max(0.0, rest)

    def _on_news(self) -> None:
        """The store has something: a task, or a run that is stopping."""
        assert self._waker is not None
        self._waker.clear()
        self._look = True
        self._rhythm.renew_soon()  # it may be a stop that woke us; more often it is work

    def _on_wake(self) -> None:
        self._look = True
        with suppress(BlockingIOError):
            os.read(self._inbox, 4096)

    # -- beginning, trouble and the end -----------------------------------------------------------

    def _listen(self) -> None:
        self._waker = self._backend.watch(None)
        self._attentive = self._waker if isinstance(self._waker, Attentive) else None
        self._selector.register(self._waker, selectors.EVENT_READ, self._on_news)

    def _suffer(self, error: BackendError) -> None:
        """The store refused: a patient worker keeps its results and tries again."""
        if not self._patient:
            raise error
        self._observer.troubled(error)
        # a signal may end the pause; and what is held must be renewed in time once the store is there again
        select.select([self._inbox], [], [], min(pause(self._deaf), self._lease / 4))
        self._deaf += 1

    def _drained(self) -> bool:
        if self._draining is None:
            return False
        if not self._draining_told:  # here: a signal handler may not write
            self._draining_told = True
            left = max(0.0, self._draining - time.monotonic())
            self._observer.draining(len(self._crew.claims), left)
        self._ledger.released(self._crew.backlog)
        self._crew.backlog.clear()
        if self._crew.busy:
            return False
        deaf = self._deaf > 0 or (self._ledger.kept and not self._ledger.outcomes)
        given_up = deaf and time.monotonic() >= self._draining
        return given_up or not (self._ledger.outcomes or self._ledger.kept)

    def _resting(self) -> bool:
        waiting = self._ledger.outcomes or self._ledger.kept
        return not (waiting or self._crew.backlog or self._look or self._crew.busy)

    def _hand_back(self) -> None:
        """The loop has ended: what is still held goes back without a penalty."""
        self._ledger.released((*self._crew.claims, *self._crew.backlog))
        try:
            if outcomes := [*self._ledger.kept, *self._ledger.outcomes]:
                self._backend.commit(outcomes, None)
            self._rhythm.count()
        except BackendError as error:
            self._observer.troubled(error)  # its leases run out, others take over


def _key(task: Task) -> FlowKey:
    return (task.flow, task.fingerprint)
