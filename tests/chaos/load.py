"""The load: runs of every shape are submitted, some twice, some steered, and what was acknowledged is noted."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from goflow.backend import Action, Backend, Retry
from goflow.engine import request
from goflow.errors import BackendError, Conflict, UnknownRun
from goflow.message import Request
from goflow.payload import of_input
from goflow.state import RunState
from tests.chaos.expectation import Expectation, expect
from tests.chaos.world import VERSIONS, World

#: shapes, the more often the more often they stand here
SHAPES: Final = (
    "chain", "diamond", "diamond", "wide", "nested", "nested", "parts", "parts", "flaky", "flaky",
    "doomed", "lengthy", "mixed", "mixed",
)  # fmt: skip
#: different payloads; equal ones have equal results
TEXTS: Final = 5
#: how a node fails for what was done to its process, and not for what it does itself
EXCUSED: Final = ("ProcessDied", "WorkerLost")
#: seconds between two submits, on average
PACE: Final = 0.12


@dataclass
class Submitted:
    """A run of the load. `acknowledged` once its submit has returned, in seconds of the monotonic clock."""

    request: Request
    expected: Expectation
    acknowledged: float = 0.0
    #: what else was done to it
    steps: list[str] = field(default_factory=list)
    #: when it was first seen at an end, by the monotonic clock; None while it goes on
    ended: float | None = None

    @property
    def id(self) -> str:
        return self.request.run_id


class Rival:
    """A second connection with a thread of its own, to do something at the same time as the first."""

    def __init__(self, backend: Backend, hand: ThreadPoolExecutor) -> None:
        self._backend, self._hand = backend, hand

    def race(
        self, what: Callable[[Backend, Submitted], None], backend: Backend, run: Submitted
    ) -> None:
        """Do it over both. Raises what either raised, once both are done."""
        other = self._hand.submit(partial(what, self._backend, run))
        try:
            what(backend, run)
        finally:
            error = other.exception()
        if error is not None:
            raise error


class Load:
    """Submits and steers from a thread of its own, over its own connections, until it is told to stop."""

    def __init__(self, world: World, seed: int) -> None:
        self.runs: dict[str, Submitted] = {}
        self.problems: list[str] = []
        self.refusals = 0
        #: whether the store may have lost what it acknowledged, so that the id of a run may be free again
        self.forgiving = False
        self._world = world
        self._dice = random.Random(seed)
        self._expected: dict[tuple[str, int, str], Expectation] = {}
        self._over = threading.Event()
        self._connected = threading.Event()
        self._thread = threading.Thread(target=self._guarded, name="nemesis-load")

    def start(self) -> None:
        """Begin. The connections are there before anything goes wrong."""
        self._thread.start()
        self._connected.wait(60)

    def stop(self) -> None:
        """Submit nothing more, and come to an end."""
        self._over.set()
        self._thread.join()

    def settle(self, backend: Backend) -> list[str]:
        """Over a store that works again: what was not acknowledged is submitted again, what is paused goes
        on, and what was stopped or lost its process is retried, so that everything can end as it would
        have undisturbed. Answers what is still on its way."""
        return [
            f"{run.id} ({state})"
            for run in self.runs.values()
            if (state := self._see(backend, run))
        ]

    def _see(self, backend: Backend, run: Submitted) -> str:
        """Help one run on; its state, or nothing where it has come to its end."""
        if not run.acknowledged:
            self._submit(backend, run)
        try:
            found = backend.run(run.id)
        except UnknownRun:
            if self.forgiving:  # as a client does that asks for its run and finds none
                self._submit(backend, run)
            return "gone" if self.forgiving else ""  # else it is judged
        if found.state is RunState.PAUSED:
            found = backend.control(run.id, "resume")
        if found.state is RunState.STOPPED or (found.failure and found.failure.type in EXCUSED):
            if found.state.terminal:
                self._retry(backend, run)
            return str(found.state)
        if not found.state.terminal:
            return str(found.state)
        run.ended = run.ended or time.monotonic()
        return ""

    # -- what the thread does ---------------------------------------------------------------------

    def _guarded(self) -> None:
        try:
            with (
                self._world.open() as backend,
                self._world.open() as rival,
                ThreadPoolExecutor(1) as hand,
            ):
                self._connected.set()
                self._work(backend, Rival(rival, hand))
        except BaseException as error:  # told by the episode, which must end all the same
            self.problems.append(f"the load failed: {type(error).__name__}: {error}")
            raise

    def _work(self, backend: Backend, rival: Rival) -> None:
        while not self._over.is_set():
            try:
                self._do_something(backend, rival)
            except BackendError:
                self.refusals += 1
                time.sleep(0.05)
            self._over.wait(self._dice.uniform(0, 2 * PACE))

    def _do_something(self, backend: Backend, rival: Rival) -> None:
        draw = self._dice.random()
        if draw < 0.7 or not self.runs:
            run = self._new()
            if self._dice.random() < 0.1:
                rival.race(self._submit, backend, run)
                return
            self._submit(backend, run)
            if self._dice.random() < 0.1:
                self._submit(backend, run)
            return
        run = self._dice.choice(list(self.runs.values())[-12:])
        if draw < 0.75:
            self._submit(backend, run)
        elif draw < 0.78:
            self._contradict(backend, run)
        elif run.acknowledged and self._dice.random() < 0.5:
            rival.race(self._steer, backend, run)
        elif run.acknowledged:
            self._steer(backend, run)

    def _new(self) -> Submitted:
        shape, version = self._dice.choice(SHAPES), self._dice.choice(VERSIONS)
        text = f"text {self._dice.randrange(TEXTS)}"
        name = f"{shape}-{len(self.runs)}"
        run = self.runs[name] = self._asked(name, shape, version, text)
        return run

    def _asked(self, name: str, shape: str, version: int, text: str) -> Submitted:
        flow = self._world.flows[version][shape]
        key = (shape, version, text)
        if key not in self._expected:
            self._expected[key] = expect(flow, text)
        return Submitted(request(flow.plan, name, of_input(text), None), self._expected[key])

    def _submit(self, backend: Backend, run: Submitted) -> None:
        answer = backend.submit(run.request)
        run.acknowledged = run.acknowledged or time.monotonic()
        if answer.id != run.id:
            self.problems.append(f"submitting {run.id} again answered {answer.id}")

    def _contradict(self, backend: Backend, run: Submitted) -> None:
        """The same id with another payload: refused, if it is there. Not asked of a store that may have lost it; where one
        loses it just now, the id is the other's from here on."""
        if not run.acknowledged or self.forgiving:
            return
        other = self._asked(run.id, "chain", VERSIONS[0], "another")
        try:
            self._submit(backend, other)
        except Conflict:
            return
        if self.forgiving:
            self.runs[run.id] = other
        else:
            self.problems.append(f"{run.id} was accepted again with another payload")

    def _steer(self, backend: Backend, run: Submitted) -> None:
        actions: tuple[Action, ...] = ("pause", "resume", "resume", "stop")
        action = self._dice.choice(actions)
        run.steps.append(action)
        try:
            if backend.run(run.id).state.terminal:
                self._retry(backend, run)
            else:
                backend.control(run.id, action)
        except (Conflict, UnknownRun):
            return  # it ended meanwhile, or was begun again

    def _retry(self, backend: Backend, run: Submitted) -> None:
        if backend.run(run.id).state is RunState.SUCCEEDED:
            return
        run.steps.append("retry")
        backend.retry(run.id, Retry())
