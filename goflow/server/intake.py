"""Accepting runs: what many requests bring at once is one submit to the store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from goflow.backend import Backend, Run
from goflow.blobs.words import bare
from goflow.engine import request as run_request
from goflow.errors import GoflowError, UnknownRun
from goflow.message import Request
from goflow.payload import Payload
from goflow.plan import Plan
from goflow.server.errors import HttpError
from goflow.tracing import trace_of
from goflow.wholesale import submit_all

if TYPE_CHECKING:
    from goflow.server.service import Service


class Order(NamedTuple):
    """A run that is asked for. `known` says that the caller named it: it may be there already; `made` is when
    the request came."""

    flow: str
    run_id: str
    known: bool
    payload: Payload
    query: dict[str, list[str]]
    headers: dict[str, str]
    made: float


class Accepted(NamedTuple):
    """A run that is durable now, whether its flow has one node, and the answer's `traceparent`."""

    run: Run
    single: bool
    traced: dict[str, str]


def accept(
    serving: Service, backend: Backend, orders: Sequence[Order]
) -> list[Accepted | Exception]:
    """Submit all of them, each by the present definition of its flow. Called inside a lane."""
    answers: dict[int, Accepted | Exception] = {}
    plans: dict[int, Plan] = {}
    present: dict[str, Plan | GoflowError] = {}
    for place, order in enumerate(orders):
        plan = present.get(order.flow)
        if plan is None:
            plan = present[order.flow] = _plan(serving, backend, order.flow)
        if isinstance(plan, Plan):
            plans[place] = plan
        else:
            answers[place] = plan
    for place in _too_many(serving, backend, orders, plans):
        del plans[place]
        most = serving.config.serve.max_queued
        answers[place] = HttpError(
            429, "too_many", f"{most} tasks wait already; come back later", {"Retry-After": "1"}
        )
    requests = {
        place: run_request(
            plan,
            orders[place].run_id,
            orders[place].payload,
            orders[place].query,
            headers=orders[place].headers,
            made=orders[place].made,
        )
        for place, plan in plans.items()
    }
    taken = submit_all(backend, list(requests.values()))
    for (place, asked), run in zip(requests.items(), taken, strict=True):
        if isinstance(run, Run):
            traced = _traced(serving, backend, asked, known=orders[place].known)
            answers[place] = Accepted(run, plans[place].single, traced)
        else:
            answers[place] = run
    return [answers[place] for place in range(len(orders))]


def _plan(serving: Service, backend: Backend, flow: str) -> Plan | GoflowError:
    try:
        return serving.plan(backend, flow)
    except GoflowError as error:
        return error


def _traced(serving: Service, backend: Backend, asked: Request, *, known: bool) -> dict[str, str]:
    """The `traceparent` of an accepted run, where traces are told."""
    if not serving.config.telemetry.on:
        return {}
    # a run that was there already is in the trace of whoever submitted it first
    headers = bare(backend).request(asked.run_id).headers if known else asked.headers
    return {"traceparent": trace_of(asked.run_id, headers).traceparent}


def _too_many(
    serving: Service, backend: Backend, orders: Sequence[Order], plans: dict[int, Plan]
) -> list[int]:
    """The places of those that find `serve.max_queued` tasks waiting. A run that exists may be asked for all
    the same."""
    most = serving.config.serve.max_queued
    if not most:
        return []
    waiting = sum(backend.waiting().values())
    refused = []
    for place, plan in plans.items():
        if waiting < most:
            waiting += len(plan.graph.starts)
        elif not (orders[place].known and _exists(backend, orders[place].run_id)):
            refused.append(place)
    return refused


def _exists(backend: Backend, run_id: str) -> bool:
    try:
        backend.run(run_id)
    except UnknownRun:
        return False
    return True
