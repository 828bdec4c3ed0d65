"""The engine: executes one task and says what follows. It knows no store and no process.

`step` gathers the inputs of a node instance, reduces them, runs the author's functions and routes the
result over the edges (joining.py: how inputs become one; opening.py: what a branch opens). Its answer (`Step`) is
data, so the same engine serves a child process, a test in one thread and `goflow debug`. What follows where there
is no answer, because the attempt failed or its worker vanished, is said by `after_failure` and `refusal`.

Four things can come up as a task, told apart by `Task.path` and `Task.closing`:

* a node: gather, aggregate, work, route;
* a branch or sub-DAG that opens: gather, choose, and one `Item` for each scope;
* a branch or sub-DAG that closes: its scopes' results become its own, then route;
* a join of several ends (`each[alice]` for a scope, `~result` for the run), and the two handlers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from goflow.draft import Functions
from goflow.errors import NodeFailed
from goflow.execution import Execution, executing
from goflow.joining import close, gather, in_order, join_ends
from goflow.message import (
    FINALLY,
    ON_FAILURE,
    RESULT,
    WORKER_LOST,
    Arrival,
    Failure,
    Input,
    Opened,
    Request,
    Step,
    Task,
)
from goflow.nodepath import Place, Scope, is_planned
from goflow.opening import Stage, open_scopes
from goflow.payload import EMPTY, Payload, encode
from goflow.plan import Plan
from goflow.query import of_query
from goflow.state import RunState
from goflow.workflow import Context, Flow, context

#: seconds a retry waits at most, however its backoff has grown
LONGEST_DELAY: Final = 86400.0
#: how many workers may vanish over one attempt before it is given up
MOST_LOST: Final = 3

#: what `step` asks for a committed value of the run's store; None where there is none
Read = Callable[[str], Payload | None]


def request(
    plan: Plan,
    run_id: str,
    payload: Payload,
    query: Mapping[str, Sequence[str]] | None = None,
    *,
    headers: Mapping[str, str] | None = None,
    owner: int = 0,
    made: float = 0.0,
) -> Request:
    """The request that starts a run of this plan; `made` is when it began to be made, if not just now."""
    import hashlib

    plain = of_query(query)
    asked = repr(sorted(plain.items())) if plain else "[]"
    head = f"{plan.flow}\0{payload.media_type}\0{asked}\0".encode()
    return Request(
        run_id=run_id,
        flow=plan.flow,
        fingerprint=plan.fingerprint,
        payload=payload,
        query=plain,
        digest=hashlib.sha256(head + payload.data).hexdigest(),
        starts=plan.graph.starts,
        handlers=plan.handlers,
        headers=dict(headers) if headers else {},
        timeout=plan.timeout,
        owner=owner,
        made=made or time.time(),
    )


def step(
    flow: Flow,
    task: Task,
    inputs: Sequence[Input],
    *,
    read: Read = lambda key: None,
    stage: Stage | None = None,
) -> Step:
    """Execute one task.

    `read` fetches a committed value of the run's store; `stage` takes the scopes of a branch too wide
    for one message (without it all are in the answer). Raises whatever the author's functions raise,
    PayloadError for what cannot be decoded, encoded or joined.
    """
    present = in_order(flow.plan, task, inputs)
    execution = Execution(task, read, present)
    with executing(execution):
        made = _execute(flow, task, present, context, stage)
    return msgspec.structs.replace(made, writes=execution.writes) if execution.writes else made


def gathers(plan: Plan, task: Task) -> bool:
    """Whether a task has any use for its inputs: the closing of an execution-only branch has none."""
    return not (task.closing and plan.locate(task.path).node.execution_only)


def after_failure(plan: Plan, task: Task, failure: Failure) -> tuple[float | None, bool]:
    """What follows a failed attempt: (seconds until the next one or None, whether `on_failure` runs).

    (None, False): the node has failed for good. A delay is `retry_delay * retry_backoff**n` and up to a
    quarter more, so that what failed together does not come back together; a day at most.
    """
    if not is_planned(task.path):
        return None, False
    node = plan.locate(task.path).node
    if failure.type != WORKER_LOST and task.failure is None and task.attempt <= node.retries:
        exponent = min(task.attempt - 1, 64)
        factor = min(node.retry_backoff, 10_000.0)  # so that no power of it is beyond a float
        delay = min(node.retry_delay * factor**exponent, LONGEST_DELAY)
        from random import random  # late: importing it takes longer than a small run

        return delay * (1 + random() / 4), False
    return None, node.on_failure and task.failure is None


def refusal(plan: Plan, task: Task) -> Failure | None:
    """Why a task whose worker vanished is not executed again, if it is not."""
    if not task.lost:
        return None
    times = "once" if task.lost == 1 else f"{task.lost} times"
    text = f"the worker that ran it vanished ({times})"
    if task.lost >= MOST_LOST:
        return Failure(WORKER_LOST, f"{text}; it may be what kills them", task.path)
    if not is_planned(task.path):
        return None
    if plan.locate(task.path).node.on_worker_lost == "fail":
        return Failure(WORKER_LOST, f'{text} and on_worker_lost is "fail"', task.path)
    return None


def _execute(
    flow: Flow, task: Task, present: Mapping[str, Payload], context: Context, stage: Stage | None
) -> Step:
    plan = flow.plan
    if task.path in (ON_FAILURE, FINALLY):
        return _handle(flow, task, context)
    if task.path == RESULT:
        return Step(output=join_ends(plan.graph.ends, present), ends=True)
    if task.path.endswith("]"):
        return _join_scope(plan.scope(task.path), present)
    place = plan.locate(task.path)
    code = flow.code[place.static]
    made = _make(place, code, task, present, context, stage)
    return Step(opened=made) if isinstance(made, Opened) else _route(place, code, made, context)


def _make(
    place: Place,
    code: Functions,
    task: Task,
    present: Mapping[str, Payload],
    context: Context,
    stage: Stage | None,
) -> Payload | Opened:
    """The result of a node instance, or the scopes that its own is made from."""
    if task.failure is not None:
        return _rescue(task, code, context)
    if task.closing:
        return close(place.node, code, task, present, context)
    if place.node.kind != "node":  # whose aggregator is for the results of its scopes
        data = gather(place, Functions(), present, context)
        return open_scopes(place, code, data, context, stage)
    data = gather(place, code, present, context)
    for work in code.works:
        data = encode(work.on(data, context))
    return data


def _route(place: Place, code: Functions, output: Payload, context: Context) -> Step:
    """The result on its way over every edge, or out of the scope."""
    graph, scope = place.scope.graph, place.scope
    edges = graph.edges_out[place.node.name]
    if not edges:
        return _leave(scope, place.node.name, output)
    arrivals = []
    for edge in edges:
        forwarder = code.forwarders.get(edge.target)
        arrivals.append(
            Arrival(
                target=scope.prefix + edge.target,
                source=edge.source,
                expects=len(graph.edges_in[edge.target]),
                payload=None if forwarder is None else encode(forwarder.on(output, context)),
                carries=not edge.execution_only,
            )
        )
    return Step(output=output, arrivals=tuple(arrivals))


def _leave(scope: Scope, name: str, output: Payload) -> Step:
    """An end node's result goes to whatever waits for the scope."""
    ends = scope.graph.ends
    if scope.prefix == "":
        if len(ends) == 1:
            return Step(output=output, ends=True)
        return Step(output=output, arrivals=(Arrival(RESULT, name, len(ends)),))
    owner = scope.around
    assert owner is not None
    carries = not owner.execution_only
    if owner.kind == "sub_dag":
        arrival = Arrival(scope.owner, name, 0, carries=carries, closing=True)
    elif len(ends) == 1:
        arrival = Arrival(scope.owner, scope.key, 0, carries=carries, closing=True)
    else:
        join = scope.prefix.removesuffix("/")
        arrival = Arrival(join, name, len(ends), carries=carries)
    return Step(output=output, arrivals=(arrival,))


def _join_scope(scope: Scope, present: Mapping[str, Payload]) -> Step:
    """The several ends of one scope of a branch, as the scope's result."""
    carries = scope.around is not None and not scope.around.execution_only
    output = join_ends(scope.graph.ends, present) if carries else EMPTY
    arrival = Arrival(scope.owner, scope.key, 0, carries=carries, closing=True)
    return Step(output=output, arrivals=(arrival,))


def _rescue(task: Task, code: Functions, context: Context) -> Payload:
    """What the node's own `on_failure` gives instead of a result."""
    assert code.on_failure is not None
    return encode(code.on_failure(_error(task), context))


def _handle(flow: Flow, task: Task, context: Context) -> Step:
    """One of the run's handlers, at its end."""
    handler = flow.handlers["on_failure" if task.path == ON_FAILURE else "finally_"]
    subject = _error(task) if task.path == ON_FAILURE else RunState(task.outcome)
    return Step(output=encode(handler(subject, context)))


def _error(task: Task) -> NodeFailed:
    failure = task.failure or Failure("Failed", "no reason was recorded")
    attempt = failure.attempt or task.attempt
    return NodeFailed(failure.node or task.path, failure.type, failure.message, attempt)
