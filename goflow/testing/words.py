"""Hand-made words: requests, arrivals, scopes and outcomes, as short as a test wants them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from goflow.backend import FlowKey, WorkerInfo
from goflow.message import Arrival, Claim, Failure, Item, Outcome, Request, Step, Task
from goflow.payload import OCTETS, Payload

#: the definitions the suites' runs belong to
FLOW: Final[FlowKey] = ("flow", "0123456789abcdef")
NEWER: Final[FlowKey] = ("flow", "fedcba9876543210")
OTHER: Final[FlowKey] = ("other", "0123456789abcdef")


def worker_info(flows: Sequence[FlowKey]) -> WorkerInfo:
    """This process as a worker."""
    return WorkerInfo(
        id=0, host="here", pid=os.getpid(), started=time.time(), concurrency=5, flows=tuple(flows)
    )


def request(
    run_id: str = "r",
    *starts: str,
    flow: FlowKey = FLOW,
    payload: bytes = b"in",
    digest: str | None = None,
    **more: Any,
) -> Request:
    """A request with these start nodes (`a` if none is named); `more` are fields of Request."""
    fields: dict[str, Any] = {"query": {}, "starts": starts or ("a",), **more}
    return Request(
        run_id=run_id,
        flow=flow[0],
        fingerprint=flow[1],
        payload=Payload(payload, OCTETS),
        digest=digest if digest is not None else f"{flow[0]}:{payload!r}",
        **fields,
    )


def edge(
    source: str,
    target: str,
    expects: int = 1,
    *,
    payload: bytes | None = None,
    carries: bool = True,
) -> Arrival:
    """An arrival over an edge; without a payload it brings what its sender recorded."""
    data = None if payload is None else Payload(payload, OCTETS)
    return Arrival(target=target, source=source, expects=expects, payload=data, carries=carries)


def closes(owner: str, key: str, *, carries: bool = True) -> Arrival:
    """The arrival of a scope's result at the branch or sub-DAG around it."""
    return Arrival(target=owner, source=key, expects=0, carries=carries, closing=True)


def scopes(owner: str, keys: Iterable[str], start: str = "x") -> list[Item]:
    """Scopes of a branch, each with one start node that gets its key as payload."""
    return [Item(f"{owner}[{key}]/", (start,), Payload(key.encode(), OCTETS)) for key in keys]


def failure(claim: Claim | Task, message: str = "boom") -> Failure:
    """Why a task failed."""
    path = claim.path if isinstance(claim, Task) else claim.task.path
    return Failure("ValueError", message, path, "Traceback ...")


def outcome(
    claim: Claim,
    *,
    step: Step | None = None,
    failure: Failure | None = None,
    retry_at: float | None = None,
    rescue: bool = False,
    stopped: bool = False,
    released: bool = False,
    log: bytes = b"",
) -> Outcome:
    """An outcome of a claimed task, as of now."""
    now = time.time()
    return Outcome(
        task=claim.task,
        started=now,
        finished=now,
        step=step,
        failure=failure,
        retry_at=retry_at,
        rescue=rescue,
        stopped=stopped,
        released=released,
        log=log,
        digest="c0de",
    )


def success(
    claim: Claim,
    output: bytes | Payload = b"",
    *arrivals: Arrival,
    ends: bool = False,
    writes: Mapping[str, Payload | None] | None = None,
    log: bytes = b"",
) -> Outcome:
    """An outcome with a result and what it sends on."""
    payload = output if isinstance(output, Payload) else Payload(output, OCTETS)
    step = Step(output=payload, arrivals=arrivals, ends=ends, writes=dict(writes or {}))
    return outcome(claim, step=step, log=log)
