"""Which attempt the context stands for, in whichever thread it is used.

A context variable says so in the thread that executes a node and in what copies its context (coroutines,
`asyncio.to_thread`). Other threads begin with an empty one, so a thread belongs to the attempt that started
it, and a job of a `ThreadPoolExecutor` to the attempt that handed it in. An attempt that has ended is out
of reach: a thread left behind must not read from or write to the run that comes next.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import TYPE_CHECKING, Any, Final

from goflow.errors import ContextError

if TYPE_CHECKING:
    from goflow.message import Task
    from goflow.payload import Payload


class Execution:
    """What a `Context` reaches: one attempt at one node instance.

    `read` fetches a committed value of the run's store; `writes` are held here until the attempt's
    result is committed with them, and dropped when it fails. Any thread may call; all but the attributes
    raise ContextError once the attempt has ended.
    """

    def __init__(
        self,
        task: Task,
        read: Callable[[str], Payload | None],
        inputs: Mapping[str, Payload] | None = None,
    ) -> None:
        self.task = task
        self.inputs: Mapping[str, Payload] = inputs or {}
        self.writes: dict[str, Payload | None] = {}
        self._read = read
        self._ended = False
        # a read that has begun is answered before the attempt ends: its answer would be taken for another
        self._lock = threading.RLock()

    def get(self, key: str) -> Payload | None:
        """A value of the run's store as this attempt sees it."""
        with self._lock:
            self.check()
            return self.writes[key] if key in self.writes else self._read(key)

    def put(self, key: str, payload: Payload | None) -> None:
        """Have a value written, or (None) removed."""
        with self._lock:
            self.check()
            self.writes[key] = payload

    def check(self) -> None:
        """Raise ContextError if it has ended."""
        if self._ended:
            raise ContextError(
                f"the node that started this thread has ended ({self.task.path} of run"
                f" {self.task.run_id}), and its context with it: let the node wait for its threads"
            )

    def end(self) -> None:
        """Nobody reads or writes any more."""
        with self._lock:
            self._ended = True
            self.inputs = {}  # a thread that stays would keep them in memory


@contextmanager
def executing(execution: Execution) -> Iterator[None]:
    """Let the context stand for this attempt meanwhile, in this thread and those it starts."""
    _follow_threads()
    token = current.set(execution)
    try:
        yield
    finally:
        current.reset(token)
        execution.end()


#: the attempt at hand, where the thread that executes it can tell
current: Final[ContextVar[Execution | None]] = ContextVar("goflow_execution", default=None)


def found() -> Execution | None:
    """The attempt this thread belongs to, ended or not; None where there is none."""
    execution = current.get()
    return execution or vars(threading.current_thread()).get(_STARTED_BY)


#: the attribute of a thread that names the attempt which started it
_STARTED_BY: Final = "_goflow_execution"


def _follow_threads() -> None:
    """Have new threads and jobs know their attempt. What is not imported yet is looked at next time: its
    threads are new then, and their starter is the one who hands in their jobs."""
    thread: Any = threading.Thread
    if not hasattr(thread.start, _STARTED_BY):
        thread.start = _starting(thread.start)
    pools = sys.modules.get("concurrent.futures.thread")
    if pools is not None:
        submit = pools.ThreadPoolExecutor.submit
        if not hasattr(submit, _STARTED_BY):
            pools.ThreadPoolExecutor.submit = _submitting(submit)


def _starting(start: Callable[[Any], None]) -> Callable[[Any], None]:
    @wraps(start)
    def following(thread: Any) -> None:
        setattr(thread, _STARTED_BY, found())
        start(thread)

    setattr(following, _STARTED_BY, None)
    return following


def _submitting(submit: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(submit)
    def following(pool: Any, job: Callable[..., Any], /, *args: Any, **named: Any) -> Any:
        return submit(pool, _within, found(), job, args, named)

    setattr(following, _STARTED_BY, None)
    return following


def _within(
    execution: Execution | None, job: Callable[..., Any], args: Any, named: Mapping[str, Any]
) -> Any:
    token = current.set(execution)
    try:
        return job(*args, **named)
    finally:
        current.reset(token)
