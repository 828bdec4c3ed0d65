"""Values of a run's store, given to the tasks that ask for them."""

from __future__ import annotations

import time
from typing import Final

from goflow.backend import Backend, Versioned
from goflow.errors import StoreAway
from goflow.message import Task
from goflow.observer import Observer
from goflow.patience import pause
from goflow.payload import Payload
from goflow.process import Child
from goflow.reads import Noted, Unanswered

#: seconds at most until a store that is away is asked again for what a task waits for
AGAIN: Final = 1.0


class Answers:
    """What the children of one worker are answered. `patient` is the worker's: whether it outlasts a store that is away."""

    def __init__(self, backend: Backend, observer: Observer, *, patient: bool) -> None:
        self._backend = backend
        self._versions = backend if isinstance(backend, Versioned) else None
        self._observer = observer
        self._patient = patient

    def give(self, child: Child, key: str) -> None:
        """Give it a value of its run's store. Where the store is away it waits, as its work would be done twice
        otherwise: until its timeout, the loss of its lease or the end of a drain. Raises BackendError."""
        tries = 0 if child.unanswered is None else child.unanswered.tries
        try:
            value = self._read(child, child.claims[0].task, key)
        except StoreAway as error:
            if not self._patient:
                raise
            if not tries:
                self._observer.troubled(error)
            again = time.monotonic() + min(pause(tries), AGAIN)
            child.unanswered = Unanswered(key, tries + 1, again)
            return
        child.unanswered = None
        child.answer(key, value)

    def _read(self, child: Child, task: Task, key: str) -> Payload | None:
        """A value of the run's store for the task at hand, and a note of which one that was."""
        if self._versions is None:
            return self._backend.context(task.run_id, key)
        number, payload = self._versions.present(task.run_id, key)
        if child.reads.token != task.token:
            child.reads = Noted(task.token)
        child.reads.note(key, number)
        return payload
