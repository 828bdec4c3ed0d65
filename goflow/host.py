"""Hosting a worker in this very process: for `goflow worker`, `goflow run` and FlowService.

`serve_flows` takes tasks of its flows until it is drained. `own_run` executes one run that this process
alone may execute: while it lives nobody else touches that run, and when it dies anybody may.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING

from goflow.backend import Backend, Definition, FlowKey, Run, WorkerInfo
from goflow.blobs.carrier import Carrier
from goflow.errors import BackendError
from goflow.farewell import asked_to_end
from goflow.observer import Observer, Quiet
from goflow.patience import patiently
from goflow.telemetry import traced
from goflow.worker import Worker
from goflow.workflow import Flow

if TYPE_CHECKING:
    from goflow.config import Config


def serve_flows(
    backend: Backend,
    flows: Sequence[Flow],
    config: Config,
    *,
    observer: Observer | None = None,
    started: Callable[[Worker], None] = lambda worker: None,
) -> bool:
    """Register the flows and take their tasks until drained: SIGTERM, SIGINT or SIGHUP drains within
    `config.worker.grace` seconds, a second one hands back at once (see `asked_to_end`). `started` gets the worker,
    to drain it from elsewhere; signals are handled only in the main thread. Answers whether one came."""
    keys = tuple(flow.key for flow in flows)

    def begin() -> int:
        for flow in flows:
            register(backend, flow)
        return _enter(backend, config.worker.concurrency, keys)

    bare, carrier = _halves(backend, config)
    with (
        _sweeping(backend, config),
        _entered(backend, patiently(begin, (observer or Quiet()).troubled, full=True)) as me,
        traced(config, backend, observer) as watching,
    ):
        worker = _worker(bare, carrier, flows, me, config, watching, patient=True)
        started(worker)
        with asked_to_end(lambda first: worker.drain(None if first else 0)) as caught:
            worker.run()
        return bool(caught)


def own_run(
    backend: Backend,
    flow: Flow,
    config: Config,
    begin: Callable[[int], Run],
    *,
    observer: Observer | None = None,
) -> tuple[Run, bool]:
    """Execute one run to its end. `begin(worker)` submits it, or opens its new round, with that owner.

    Answers the run and whether a signal stopped it: the first SIGINT, SIGTERM or SIGHUP stops the run, a second
    one lets go of it. A run that is another's, or has ended already, comes back as it is.
    """
    bare, carrier = _halves(backend, config)
    register(backend, flow)
    with _entered(backend, _enter(backend, config.worker.concurrency)) as me:
        run = begin(me)
        if run.owner != me or run.state.terminal:
            return run, False
        with traced(config, backend, observer) as watching:
            worker = _worker(bare, carrier, [flow], me, config, watching, run_id=run.id)

            def interrupt(first: bool) -> None:
                if first:
                    worker.stop_run()
                else:
                    worker.drain(0)

            with asked_to_end(interrupt) as caught:
                worker.run(until=lambda: backend.run(run.id).state.terminal)
        if config.payload.blobs:
            from goflow.blobs.sweep import sweep_behind

            with suppress(BackendError):  # then another time
                sweep_behind(backend)
        return backend.run(run.id), bool(caught)


def register(backend: Backend, flow: Flow) -> None:
    """Make a flow's definition known to the store."""
    backend.register(
        Definition(
            flow=flow.name,
            fingerprint=flow.plan.fingerprint,
            plan=flow.plan.to_json(),
            file=flow.file,
            registered=time.time(),
        )
    )


def _enter(backend: Backend, concurrency: int, flows: tuple[FlowKey, ...] = ()) -> int:
    """Register this process as a worker of the store."""
    return backend.enter(
        WorkerInfo(
            id=0,
            host=os.uname().nodename,
            pid=os.getpid(),
            started=time.time(),
            concurrency=concurrency,
            flows=flows,
        )
    )


@contextmanager
def _entered(backend: Backend, me: int) -> Iterator[int]:
    """This process is a worker of the store for as long as the block lasts."""
    try:
        yield me
    finally:
        with suppress(BackendError):  # away, full, or failing where its disk is: the lease runs out
            backend.leave(me)


def _halves(backend: Backend, config: Config) -> tuple[Backend, Carrier]:
    """What a worker works on: the store without what it keeps apart, and what its children carry large
    payloads with. Raises BlobsAway where they cannot be put out."""
    if not config.payload.blobs:
        return backend, Carrier(None, config.payload.max_size, config.payload.max_size)
    from goflow.blobs.backend import halves

    return halves(backend, config)


def _sweeping(backend: Backend, config: Config) -> AbstractContextManager[None]:
    """A process that removes large payloads of runs that have gone."""
    if not config.payload.blobs:
        return nullcontext()
    from goflow.blobs.janitor import sweeping

    return sweeping(backend, config)


def _worker(
    bare: Backend,
    carrier: Carrier,
    flows: Sequence[Flow],
    me: int,
    config: Config,
    observer: Observer,
    *,
    run_id: str = "",
    patient: bool = False,
) -> Worker:
    return Worker(
        bare,
        flows,
        me,
        run_id=run_id,
        concurrency=config.worker.concurrency,
        lease=config.worker.lease,
        grace=config.worker.grace,
        log_limit=config.logs.max_per_attempt,
        carrier=carrier,
        observer=observer,
        patient=patient,
    )
