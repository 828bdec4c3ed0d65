"""The engine: executes one task and says what follows. It knows no store and no process.

`step` gathers the inputs of a node instance, reduces them, runs the author's functions and routes the
result over the edges. Its answer (`Step`) is data, so the same engine serves a child process, a test in
one thread and `goflow debug`.

Four things can come up as a task, told apart by `Task.path` and `Task.closing`:

* a node: gather, aggregate, work, route;
* a branch or sub-DAG that opens: gather, choose, and one `Item` for each scope;
* a branch or sub-DAG that closes: its scopes' results become its own, then route;
* a join of several ends (`each[alice]` for a scope, `~result` for the run), and the two handlers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

import msgspec

from goflow.draft import KEY_RULE, Functions, key_text
from goflow.errors import NodeFailed, PayloadError, nearest
from goflow.execution import Execution, executing
from goflow.message import (
    FINALLY,
    ON_FAILURE,
    RESULT,
    WORKER_LOST,
    Arrival,
    Failure,
    Input,
    Item,
    Opened,
    Request,
    Step,
    Task,
)
from goflow.nodepath import Place, Scope, decode_key, encode_key
from goflow.payload import EMPTY, Payload, encode, join_list, join_object
from goflow.plan import WINDOW, Node, Plan
from goflow.state import RunState
from goflow.workflow import Context, Flow, context

#: scopes in one `Item` chunk: small enough for any store to write at once
CHUNK: Final = 500
#: seconds a retry waits at most, however its backoff has grown
LONGEST_DELAY: Final = 86400.0
#: how many workers may vanish over one attempt before it is given up
MOST_LOST: Final = 3

#: what `step` calls with the scopes of a wide branch before the last chunk
Stage = Callable[[Sequence[Item]], None]
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

    if query:
        plain = {str(key): [str(value) for value in values] for key, values in query.items()}
        asked = repr(sorted(plain.items()))
    else:
        plain, asked = {}, "[]"
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
    present = _in_order(flow.plan, task, inputs)
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
    if task.path.startswith("~") or task.path.endswith("]"):
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
    if task.path.startswith("~") or task.path.endswith("]"):
        return None
    if plan.locate(task.path).node.on_worker_lost == "fail":
        return Failure(WORKER_LOST, f'{text} and on_worker_lost is "fail"', task.path)
    return None


def _in_order(plan: Plan, task: Task, inputs: Sequence[Input]) -> dict[str, Payload]:
    """What carries something, by the names an author knows, in declared (or chosen) order."""
    found = {each.source: each.payload for each in inputs if each.payload is not None}
    if task.path.startswith("~") or task.path.endswith("]"):
        return found
    place = plan.locate(task.path)
    if not task.closing:
        edges = place.scope.graph.edges_in[place.node.name]
        names: Iterable[str] = [edge.source for edge in edges] or [""]
    elif place.node.kind == "sub_dag":
        names = place.node.dags[""].ends
    else:
        names = task.keys if task.keys is not None else map(str, range(task.width))
        return {decode_key(name): found[name] for name in names if name in found}
    return {name: found[name] for name in names if name in found}


def _execute(
    flow: Flow, task: Task, present: Mapping[str, Payload], context: Context, stage: Stage | None
) -> Step:
    plan = flow.plan
    if task.path in (ON_FAILURE, FINALLY):
        return _handle(flow, task, context)
    if task.path == RESULT:
        return Step(output=_join_ends(plan.graph.ends, present), ends=True)
    if task.path.endswith("]"):
        return _join_scope(plan, plan.scope(task.path), present)
    place = plan.locate(task.path)
    node, code = place.node, flow.code[place.static]
    if task.failure is not None:
        return _route(plan, place, code, _rescue(task, code, context), context)
    if task.closing:
        output = _close(node, code, task, present, context)
        return _route(plan, place, code, output, context)
    data = _gather(place, code if node.kind == "node" else Functions(), present, context)
    if node.kind == "node":
        for work in code.works:
            data = encode(work.on(data, context))
        return _route(plan, place, code, data, context)
    opened = _open(place, code, data, context, stage)
    if isinstance(opened, Opened):
        return Step(opened=opened)
    return _route(plan, place, code, opened, context)


def _gather(
    place: Place, code: Functions, present: Mapping[str, Payload], context: Context
) -> Payload:
    """The one payload a node works on, by SPEC 2's join rules."""
    edges = place.scope.graph.edges_in[place.node.name]
    if not edges:
        return present.get("", EMPTY)
    sources = [edge.source for edge in edges if not edge.execution_only]
    if not sources:
        return EMPTY
    if code.aggregator is not None:
        inputs = {name: present[name] for name in sources}
        return encode(code.aggregator.on_all(inputs, context))
    if len(sources) == 1:
        return present[sources[0]]
    name = place.node.name
    if place.node.kind == "node":
        advice = f"give {name} an aggregator"
    else:  # a branch's own aggregator is for its results
        advice = f"put a node with an aggregator before {name}"
    return join_object(((n, present[n]) for n in sources), advice)


def _join_ends(ends: Sequence[str], present: Mapping[str, Payload]) -> Payload:
    advice = f"let a node with an aggregator follow {', '.join(ends)}"
    return join_object(((end, present[end]) for end in ends), advice)


def _open(
    place: Place, code: Functions, data: Payload, context: Context, stage: Stage | None
) -> Opened | Payload:
    """The scopes of a branch or sub-DAG, or its result at once where there are none."""
    node, path = place.node, place.path
    if node.kind == "sub_dag":
        graph = node.dags[""]
        item = Item(f"{path}/", graph.starts, data)
        return Opened(len(graph.ends), 0, None, (item,))
    assert code.choose is not None
    chosen = code.choose.on(data, context)
    if node.kind == "conditional":
        keys = _condition_keys(node, chosen)
        if not keys:
            return EMPTY if node.execution_only else data
        items = tuple(Item(f"{path}[{encode_key(k)}]/", node.dags[k].starts, data) for k in keys)
        return Opened(len(keys), 0, tuple(encode_key(k) for k in keys), items)
    return _fan_out(node, path, chosen, code, context, stage)


def _fan_out(
    node: Node, path: str, chosen: object, code: Functions, context: Context, stage: Stage | None
) -> Opened | Payload:
    keyed = isinstance(chosen, Mapping)
    starts = node.dags[""].starts
    keys: list[str] = []
    chunk: list[Item] = []
    count = 0
    for key, value in _foreach_items(chosen):
        if keyed:
            keys.append(key)
        chunk.append(Item(f"{path}[{key}]/", starts, encode(value)))
        count += 1
        if len(chunk) == CHUNK and stage is not None:
            stage(chunk)
            chunk = []
    if not count:
        if node.execution_only:
            return EMPTY
        if code.aggregator is not None:
            return encode(code.aggregator.on_all({}, context))
        return encode({} if keyed else [])
    window = node.max_parallel or WINDOW
    return Opened(count, window, tuple(keys) if keyed else None, tuple(chunk))


def _foreach_items(chosen: object) -> Iterator[tuple[str, object]]:
    """Encoded key and value of each item, in the order they came."""
    if isinstance(chosen, Mapping):
        seen: set[str] = set()
        for raw, value in chosen.items():
            key = key_text(raw)
            if key is None:
                raise PayloadError(f"foreach returned the key {raw!r:.80}: expected {KEY_RULE}")
            if key in seen:
                raise PayloadError(
                    f"foreach returned the key {key!r} twice (as text and as number)"
                )
            seen.add(key)
            yield encode_key(key), value
        return
    if isinstance(chosen, str | bytes | bytearray | memoryview) or not isinstance(chosen, Iterable):
        raise PayloadError(
            "foreach must return a mapping of keys to payloads or an iterable of payloads,"
            f" got {type(chosen).__name__}"
        )
    for position, value in enumerate(chosen):
        yield str(position), value


def _condition_keys(node: Node, chosen: object) -> list[str]:
    """The chosen keys, each once, in the order the conditions were declared."""
    if chosen is None:
        return []
    single = isinstance(chosen, str | int)
    if not single and (isinstance(chosen, bytes) or not isinstance(chosen, Iterable)):
        raise PayloadError(
            f"condition must return a key or keys of {list(node.dags)}, got {type(chosen).__name__}"
        )
    several: Iterable[object] = [chosen] if single else chosen  # type: ignore[assignment]
    keys: dict[str, None] = {}
    for raw in several:
        key = key_text(raw)
        if key is None or key not in node.dags:
            raise PayloadError(
                f"condition returned the unknown key {raw!r:.80}{nearest(str(raw), node.dags)}"
            )
        keys[key] = None
    return [key for key in node.dags if key in keys]


def _close(
    node: Node, code: Functions, task: Task, present: Mapping[str, Payload], context: Context
) -> Payload:
    """The result of a branch or sub-DAG from those of its scopes."""
    if node.kind == "sub_dag":
        ends = node.dags[""].ends
        return present[ends[0]] if len(ends) == 1 else _join_ends(ends, present)
    if node.execution_only:
        return EMPTY
    if code.aggregator is not None:
        return encode(code.aggregator.on_all(present, context))
    if node.kind == "conditional" and len(present) == 1:
        return next(iter(present.values()))
    advice = f"give {node.name} an aggregator"
    if node.kind == "foreach" and task.keys is None:
        return join_list(present.items(), advice)
    return join_object(present.items(), advice)


def _route(plan: Plan, place: Place, code: Functions, output: Payload, context: Context) -> Step:
    """The result on its way over every edge, or out of the scope."""
    graph, scope = place.scope.graph, place.scope
    edges = graph.edges_out[place.node.name]
    if not edges:
        return _leave(plan, scope, place.node.name, output)
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


def _leave(plan: Plan, scope: Scope, name: str, output: Payload) -> Step:
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


def _join_scope(plan: Plan, scope: Scope, present: Mapping[str, Payload]) -> Step:
    """The several ends of one scope of a branch, as the scope's result."""
    carries = scope.around is not None and not scope.around.execution_only
    output = _join_ends(scope.graph.ends, present) if carries else EMPTY
    arrival = Arrival(scope.owner, scope.key, 0, carries=carries, closing=True)
    return Step(output=output, arrivals=(arrival,))


def _rescue(task: Task, code: Functions, context: Context) -> Payload:
    assert code.on_failure is not None
    return encode(code.on_failure(_error(task), context))


def _handle(flow: Flow, task: Task, context: Context) -> Step:
    handler = flow.handlers["on_failure" if task.path == ON_FAILURE else "finally_"]
    subject = _error(task) if task.path == ON_FAILURE else RunState(task.outcome)
    return Step(output=encode(handler(subject, context)))


def _error(task: Task) -> NodeFailed:
    failure = task.failure or Failure("Failed", "no reason was recorded")
    attempt = failure.attempt or task.attempt
    return NodeFailed(failure.node or task.path, failure.type, failure.message, attempt)
