"""A worker's child: runs user code, one task after the other, and can die alone.

It receives names and bytes over one connection and answers with bytes. What its tasks print goes to a
pipe, with a marker after each task so that the supervisor knows whose it was. When the supervisor
dies, however it dies, the kernel kills this process and all that it started (`_die_with`).
"""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Final, Union

import msgspec

from goflow.blobs.carrier import BLOBS_AWAY, Carrier
from goflow.courtesy import Courtesy
from goflow.described import describe
from goflow.engine import step
from goflow.errors import BlobsAway
from goflow.loglines import show_logging
from goflow.message import Claim, Failure, Input, Item, Step, Task
from goflow.nodepath import is_planned
from goflow.payload import Payload
from goflow.plan import Plan
from goflow.printing import Streams
from goflow.wire import Wire
from goflow.workflow import Flow

if TYPE_CHECKING:
    from multiprocess.connection import Connection

    from goflow.userspans import UserSpans

#: results are sent at the latest this many seconds after the first of them was made, so that a
#: process that dies takes no more than this much finished work with it. After a task that took as long
#: by itself nothing begins here until the store has its result, for the same reason
FLUSH: Final = 0.001


class Batch(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Tasks to execute in this order. Those of an incomplete claim are followed by `More`."""

    claims: tuple[Claim, ...]


class More(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Further inputs of the claim at hand."""

    inputs: tuple[Input, ...]
    last: bool


class Go(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """The store has the heavy result: on with the batch."""


class Value(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """The answer to `Get`."""

    key: str
    payload: Payload | None


class Result(msgspec.Struct, frozen=True, array_like=True):
    """What became of one task: a step or a failure."""

    token: str
    started: float
    finished: float
    step: Step | None
    failure: Failure | None
    digest: str


class Results(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Finished tasks, in the order they were given. After a `heavy` one, which failed or took long, the child
    begins nothing until it gets another batch, or `Go` where it has tasks left. The first is empty: it says that
    the flows are loaded."""

    results: tuple[Result, ...]
    heavy: bool = False


class Staged(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Scopes of the branch at hand, to be kept until its result is committed."""

    items: tuple[Item, ...]


class Get(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """A value of the run's store, please."""

    key: str


ToChild = Union[Batch, More, Go, Value]  # noqa: UP007 - read at run time, by the decoder
FromChild = Union[Results, Staged, Get]  # noqa: UP007

encode: Final = msgspec.msgpack.Encoder().encode
decode_for_child: Final = msgspec.msgpack.Decoder(ToChild).decode
decode_from_child: Final = msgspec.msgpack.Decoder(FromChild).decode

#: how a child comes by its flows: handed over by fork, or loaded anew
Source = Callable[[], Iterable[Flow]]


def main(
    connection: Connection,
    log: Connection,
    lifeline: Connection,
    marker: bytes,
    source: Source,
    carrier: Carrier | None,
    inherited: Sequence[Connection],
) -> None:
    """The child's whole life. `inherited` are the supervisor's ends that a fork left open here."""
    for end in inherited:
        end.close()
    os.setpgid(0, 0)
    _die_with(lifeline)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as under nohup
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.set_wakeup_fd(-1)
    streams = Streams(log.fileno(), marker)
    flows = {flow.key: flow for flow in source()}
    show_logging()  # after the flow files, which may have their own way
    gc.freeze()  # what is loaded stays: no collection during a node goes through it
    with suppress(EOFError, OSError):  # the supervisor is gone, or user code cut the connection
        wire = Wire(connection)
        wire.send(encode(Results(())))  # loaded: from here on timeouts count
        _Loop(wire, flows, streams, carrier or Carrier.unlimited()).run()
    os._exit(0)


class _Loop:
    """Receive, execute, answer."""

    def __init__(
        self,
        wire: Wire,
        flows: Mapping[tuple[str, str], Flow],
        streams: Streams,
        carrier: Carrier,
    ) -> None:
        self._wire = wire
        self._flows = flows
        self._streams = streams
        self._carrier = carrier
        self._run_id = ""
        self._made: list[Result] = []
        self._pid = os.getpid()
        # a node's threads read and write the run's store while the node itself may stage
        self._lock = threading.RLock()
        self._spans = _user_spans()
        self._courtesy = Courtesy(FLUSH)

    def run(self) -> None:
        while True:
            batch = self._rest()
            assert isinstance(batch, Batch)
            begun = flushed = time.monotonic()
            left = len(batch.claims)
            for claim in batch.claims:
                left -= 1
                result = self._execute(claim)
                self._made.append(result)
                now = time.monotonic()
                heavy = result.failure is not None or now - begun >= FLUSH
                begun = now
                if not left or heavy or now - flushed >= FLUSH:
                    self._flush(heavy)
                    if left and heavy:
                        go = self._rest()
                        assert isinstance(go, Go)
                    begun = flushed = time.monotonic()

    def _rest(self) -> ToChild:
        """Wait for the supervisor, with nothing at hand."""
        self._courtesy.step_back()
        message = self._receive()
        self._courtesy.step_up()
        return message

    def _receive(self) -> ToChild:
        message: ToChild = decode_for_child(self._wire.receive())
        return message

    def _send(self, message: FromChild) -> None:
        self._wire.send(encode(message))

    def _flush(self, heavy: bool = False) -> None:
        if self._made:
            self._send(Results(tuple(self._made), heavy))
            self._made.clear()

    def _execute(self, claim: Claim) -> Result:
        task, inputs = claim.task, list(claim.inputs)
        while not claim.complete:
            more = self._receive()
            assert isinstance(more, More)
            inputs += more.inputs
            if more.last:
                break
        started = time.time()
        made: Step | None = None
        failure: Failure | None = None
        digest = ""
        try:
            flow = self._flow(task)
            digest = _digest(flow, task)
            self._run_id = task.run_id
            inputs = self._carrier.inputs(task.run_id, inputs)
            with nullcontext() if self._spans is None else self._spans.within(flow.plan, task):
                made = step(flow, task, inputs, read=self._read, stage=self._stage)
            made = self._carrier.step(task.run_id, made)
        except BlobsAway as error:
            made, failure = None, Failure(BLOBS_AWAY, str(error), task.path)
        except BaseException as error:  # noqa: BLE001 - user code may raise anything, SystemExit too
            made, failure = None, describe(error, task.path)
        if os.getpid() != self._pid:
            os._exit(1)  # a copy that the node forked and let go on: the original answers
        self._streams.end_task()
        return Result(task.token, started, time.time(), made, failure, digest)

    def _flow(self, task: Task) -> Flow:
        flow = self._flows.get((task.flow, task.fingerprint))
        if flow is None:
            raise LookupError(f"this process has no flow {task.flow!r} as {task.fingerprint}")
        return flow

    def _read(self, key: str) -> Payload | None:
        with self._lock:
            self._flush()
            self._send(Get(key))
            answer = self._receive()
        assert isinstance(answer, Value)
        assert answer.key == key, "a supervisor answers in order"
        return self._carrier.fetched(self._run_id, answer.payload)

    def _stage(self, items: Sequence[Item]) -> None:
        items = self._carrier.items(self._run_id, items)
        with self._lock:
            self._flush()
            self._send(Staged(tuple(items)))


def _user_spans() -> UserSpans | None:
    """For what user code adds to traces; None where they are off."""
    teller = os.environ.get("GOFLOW_SPANS")
    if not teller:
        return None
    from goflow.userspans import Sender, UserSpans

    return UserSpans(Sender(teller).send)


def _digest(flow: Flow, task: Task) -> str:
    if not is_planned(task.path):
        return ""
    plan: Plan = flow.plan
    return flow.digest(plan.locate(task.path).static)


def _die_with(lifeline: Connection) -> None:
    """Have this process group killed when the other end of the lifeline closes.

    On Linux the kernel sends the signal itself (F_SETSIG on a pipe that becomes readable), so it works
    whatever user code is doing, even with the GIL held. Elsewhere a thread waits for the end.
    """
    import fcntl

    fd = lifeline.fileno()
    if hasattr(fcntl, "F_SETSIG"):
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(fd, fcntl.F_SETOWN, -os.getpid())
        fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_ASYNC)
        if not lifeline.poll(0):  # it may have closed before the signal was asked for
            return
    else:
        threading.Thread(target=_wait_and_die, args=(lifeline,), daemon=True).start()
        return
    os.killpg(0, signal.SIGKILL)


def _wait_and_die(lifeline: Connection) -> None:
    lifeline.poll(None)
    os.killpg(0, signal.SIGKILL)
