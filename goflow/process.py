"""A child process as its supervisor sees it: started, fed, listened to, timed, killed.

It has three pipes: a connection for tasks and results, one for what its tasks print, and a
lifeline that it only ever sees closing. Every batch is answered in order, and a marker in what it
prints ends each task: the first unanswered one without a marker is what a dead child was executing.
"""

from __future__ import annotations

import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext, suppress
from typing import Any, Final

from goflow import child as inside
from goflow import starting
from goflow.blobs.carrier import Carrier
from goflow.child import Batch, FromChild, Go, More, Result, Value
from goflow.log import Log
from goflow.message import UNREADABLE, Claim, Input
from goflow.payload import Payload
from goflow.reads import Noted, Unanswered
from goflow.wire import Garbled, Reins

#: seconds a child has been busy before its output is read as it comes. Until then it is read with the
#: result, so that a small task that prints wakes the supervisor once and not twice
LISTEN: Final = 0.02
#: seconds a new child may take to load its flows; what executes then has its own timeout
LOADING: Final = 60.0
#: how many bytes of a child's output are read at a time
_READ: Final = 1 << 16
#: how many reads empty a full pipe (64 KiB), whatever others go on writing into it
_PIPEFUL: Final = 4
#: seconds to wait for the end of a process that has closed its connection
_LAST_BREATH: Final = 0.5
#: seconds to wait for the marker that follows a task's output, once its result is here
_MARKER_WAIT: Final = 2.0

Echo = Callable[[Claim, bytes], None]


class Child:
    """One child process and the claims it has not answered yet."""

    def __init__(
        self,
        context: Any,
        source: inside.Source,
        carrier: Carrier | None,
        siblings: Iterable[Child],
        limit: int,
    ):
        connection, theirs = context.Pipe()
        output, log = context.Pipe(duplex=False)
        lifeline, alive = context.Pipe(duplex=False)
        self.connection = connection
        self._wire = Reins(connection)
        self.output = output
        self._alive = alive
        marker = b"\x1e" + os.urandom(8).hex().encode() + b"\x1e"
        self.log = Log(marker, limit)
        self.claims: deque[Claim] = deque()
        self._asked = False
        #: inputs that are too many for one message and still to be sent
        self._further: Iterator[Sequence[Input]] = iter(())
        #: whether it is told of when it can be sent more
        self.awaits_room = False
        #: whether the store lacks a result of it that must not be lost together with another: until
        #: then it begins nothing, and gets nothing
        self.owes = False
        #: since when the first unanswered task has been executing: epoch seconds to tell people,
        #: monotonic ones for its timeout
        self.since = self.clock = 0.0
        #: whether it died without having read the last batch: nothing of that was executed
        self.deaf = False
        #: whether it sent what is no message: it is given up as one that died
        self.garbled = False
        #: whether it has loaded its flows: until then no timeout counts
        self.ready = False
        #: whether nothing holds the other end of its output any more, and whether it is read as it comes
        self.mute = self.listened = False
        #: seconds the task at hand may take, None for no limit
        self.timeout: float | None = None
        #: what the task at hand has read of its run's store
        self.reads = Noted()
        #: what of it the task waits for
        self.unanswered: Unanswered | None = None
        #: why we killed it, if we did
        self.killed = ""
        mine = [connection, output, alive]
        for sibling in siblings:
            mine += [sibling.connection, sibling.output, sibling._alive]
        forked = context.get_start_method() == "fork"
        inherited = mine if forked else []
        arguments = (theirs, log, lifeline, marker, source, carrier, inherited)
        self.process = context.Process(target=inside.main, args=arguments, name="goflow-child")
        with nullcontext() if forked else starting.apart():
            self.process.start()
        for end in (theirs, log, lifeline):
            end.close()
        os.set_blocking(output.fileno(), False)
        self.sentinel: int = _pidfd(self.process.pid) or self.process.sentinel

    @property
    def pid(self) -> int:
        return int(self.process.pid)

    def take(self, claims: Sequence[Claim], now: float) -> None:
        """Note the tasks of its next batch."""
        self.claims.extend(claims)
        self.since, self.clock = now, time.monotonic()

    def send(self, inputs: Iterator[Sequence[Input]]) -> None:
        """Hand over its tasks, and the inputs of one that was too wide for one message, or as much as goes now
        (see `full`). Raises OSError where the child is dead (its claims stay noted), and what `inputs` raises."""
        self._asked = False
        self._further = inputs
        self._post(Batch(tuple(self.claims)))
        self.push()

    @property
    def full(self) -> bool:
        """Whether it has not taken all that is for it: `push` when it can be sent more."""
        return self._wire.full

    def push(self) -> None:
        """Send on what it has not taken. Raises what `send` does."""
        try:
            self._wire.push()
        except OSError:
            self.deaf = not self._asked
            raise
        while not self.full and (chunk := next(self._further, None)) is not None:
            self._post(More(tuple(chunk), not chunk))

    def _post(self, message: inside.ToChild) -> None:
        try:
            self._wire.send(inside.encode(message))
        except OSError:
            self.deaf = not self._asked
            raise

    def answer(self, key: str, payload: Payload | None) -> None:
        """The value of the run's store it asked for."""
        self._asked = True
        self._post(Value(key, payload))

    def recorded(self) -> None:
        """The store has what it owed: it may go on. One that is dead need not."""
        self.owes = False
        if self.claims:
            self.since, self.clock = time.time(), time.monotonic()
            with suppress(OSError):
                self._post(Go())

    def receive(self) -> FromChild | None:
        """Its next message, if that is here. Raises EOFError where none will come, or be believed, any more."""
        if self.garbled:
            raise EOFError
        try:
            told = self._wire.next()
            message = None if told is None else inside.decode_from_child(told)
        except (
            ConnectionResetError
        ):  # a socket closed over what was not read: the batch, or an answer
            self.deaf = not self._asked
            raise EOFError from None
        except OSError:
            raise EOFError from None
        except (Garbled, *UNREADABLE):  # user code found the descriptor
            self.garbled = True
            raise EOFError from None
        if message is not None and not self.ready:
            self.ready, self.since, self.clock = True, time.time(), time.monotonic()
        return message

    @property
    def has_more(self) -> bool:
        """Whether there may be a further message with the last one."""
        try:
            return self._wire.ready
        except Garbled:
            return True  # which `receive` will say

    def settle(self, result: Result, echo: Echo) -> tuple[Claim, bytes]:
        """The claim a result answers, with what its task printed."""
        claim = self.claims.popleft()
        assert claim.task.token == result.token, "a child answers in order"
        self.since, self.clock = time.time(), time.monotonic()
        deadline = self.clock + _MARKER_WAIT
        while not (self.log.finished or self.mute) and time.monotonic() < deadline:
            if not self.drain(echo, claim):
                self.output.poll(0.05)
        return claim, self.log.finished.popleft() if self.log.finished else self.log.take()

    def drain(self, echo: Echo, claim: Claim | None = None) -> bool:
        """Read what it printed. False when there is nothing to read now."""
        try:
            data = os.read(self.output.fileno(), _READ)
        except BlockingIOError:
            return False
        if not data:
            self.mute = True
            return False
        shown = self.log.feed(data)
        head = claim or (self.claims[0] if self.claims else None)
        if shown and head is not None:
            echo(head, shown)
        return True

    def last_words(self, echo: Echo) -> int:
        """Read what a dead child had printed. Answers how many tasks it ended without an answer."""
        for _ in range(_PIPEFUL):
            if not self.drain(echo):
                break
        return len(self.log.finished)

    @property
    def listening(self) -> float | None:
        """When (monotonic) to begin to read what it prints as it comes."""
        return None if self.listened or self.mute else self.clock + LISTEN

    @property
    def deadline(self) -> float | None:
        """When (monotonic) the task at hand is out of time, or the loading of its flows before it."""
        if self.killed:
            return None
        allowed = self.timeout if self.ready else LOADING
        return None if allowed is None else self.clock + allowed

    def overdue(self) -> str:
        """What to say of it once its deadline is over."""
        if self.ready:
            return f"timed out after {self.timeout:g} s"
        flow = self.claims[0].task.flow
        waited = f"its process did not load the flow {flow!r} within {LOADING:g} s"
        return f"{waited}; what does its file do at import?"

    def kill(self, reason: str) -> None:
        """Kill it and everything it started, at once."""
        self.killed = self.killed or reason
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        if self.process.exitcode is None:  # else its number may be somebody else's by now
            with suppress(ProcessLookupError, PermissionError):
                os.kill(self.pid, signal.SIGKILL)

    def epitaph(self) -> str:
        """How it ended, for people. Call it once it is dead, or has closed or garbled its connection."""
        if self.garbled:
            return "its process wrote into its connection to the worker and was killed"
        patience = time.monotonic() + _LAST_BREATH
        # not join(): it believes in a pipe that user code may have closed, and then waits for ever
        while self.process.exitcode is None and time.monotonic() < patience:
            time.sleep(0.002)
        code = self.process.exitcode
        if code is None:
            return "its process closed its connection to the worker and was killed"
        if code == 0:
            return "its process closed its connection to the worker and ended"
        if code > 0:
            return f"its process exited with code {code}"
        names = {number.value: number.name for number in signal.Signals}
        name = names.get(-code, f"signal {-code}")
        hint = " (out of memory?)" if name == "SIGKILL" else ""
        return f"its process was killed by {name}{hint}"

    def close(self) -> None:
        """Let go of a dead child, and make sure that it and its group are."""
        self.kill("")
        self.process.join(5)
        for end in (self.connection, self.output, self._alive):
            end.close()
        if self.sentinel != self.process.sentinel:
            os.close(self.sentinel)
        self.process.close()


def _pidfd(pid: int) -> int:
    """A descriptor that is readable once the process is dead, whoever else holds its pipes; else 0."""
    opener = getattr(os, "pidfd_open", None)
    try:
        return opener(pid) if opener is not None else 0
    except OSError:
        return 0
