"""What a run has recorded, as `goflow debug` and `goflow replay` read it: from a store or from a file.

From it a node's tasks are made again (`again`): the same inputs, query, headers, attempt and
`idempotency_key`, for `engine.step` to execute wherever one wants to look.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Literal, NamedTuple, Protocol, cast

from goflow import wholesale
from goflow.backend import Access, Attempt, Backend, LogLine, NodeRun, Run, Versioned
from goflow.blobs.words import bare
from goflow.errors import Conflict, UnknownFlow
from goflow.message import FINALLY, ON_FAILURE, Failure, Input, Request, Task
from goflow.nodepath import Scope, is_join
from goflow.payload import Payload
from goflow.plan import Graph, Plan
from goflow.rewind import find

#: which of the author's functions a task calls
Role = Literal["work", "open", "close", "handler"]


class Recorded(Protocol):
    """A run with everything of it. All of a node's payloads are as the run itself had them."""

    run: Run
    request: Request
    #: the definition the run is on, as it was registered
    plan: Plan
    #: the file that definition came from, "" for none
    file: str

    @property
    def nodes(self) -> Mapping[str, NodeRun]:
        """The recorded node instances by path, in the order they became ready."""
        ...

    @property
    def attempts(self) -> Sequence[Attempt]: ...

    @property
    def logs(self) -> Sequence[LogLine]: ...

    @property
    def context_keys(self) -> Sequence[str]: ...

    @property
    def accesses(self) -> Sequence[Access]:
        """What attempts read from the run's store and wrote into it; nothing where that is not known."""
        ...

    def arrivals(self, path: str) -> dict[str, Payload | None]:
        """What came to a node instance over its edges, by source."""
        ...

    def output(self, path: str) -> Payload | None: ...

    def outputs(self, paths: Sequence[str]) -> list[Payload | None]:
        """The same of many, all in memory at once."""
        ...

    def all_arrivals(self, paths: Sequence[str]) -> list[dict[str, Payload | None]]:
        """What came to many, all in memory at once."""
        ...

    def context(self, key: str) -> Payload | None:
        """A value of the run's store as it is now: later nodes may have overwritten it."""
        ...

    def version(self, key: str, number: int) -> Payload | None:
        """A value of the run's store as it was. Raises VersionGone where it is not kept."""
        ...


class InStore:
    """A run in a store, read as far as it is asked for."""

    def __init__(self, store: Backend, run: Run) -> None:
        self._store = store
        self.run = run
        self.request = store.request(run.id)
        try:
            known = store.definition(run.flow, run.fingerprint)
        except UnknownFlow:
            raise Conflict(
                f"the store no longer knows the definition run {run.id} is on ({run.fingerprint})"
            ) from None
        self.plan = Plan.from_json(known.plan)
        self.file = known.file
        self._versions: Versioned | None = None
        if isinstance(bare(store), Versioned):
            self._versions = cast(Versioned, store)
        self._nodes: dict[str, NodeRun] | None = None

    @property
    def nodes(self) -> Mapping[str, NodeRun]:
        if self._nodes is None:
            self._nodes = {node.path: node for node in self._store.nodes(self.run.id)}
        return self._nodes

    @cached_property
    def attempts(self) -> Sequence[Attempt]:
        return self._store.attempts(self.run.id)

    @property
    def logs(self) -> Sequence[LogLine]:
        return self._store.logs(self.run.id)

    @property
    def context_keys(self) -> Sequence[str]:
        return self._store.context_keys(self.run.id)

    @cached_property
    def accesses(self) -> Sequence[Access]:
        return [] if self._versions is None else self._versions.accesses(self.run.id)

    def arrivals(self, path: str) -> dict[str, Payload | None]:
        return dict(self._store.arrivals(self.run.id, path))

    def output(self, path: str) -> Payload | None:
        return self._store.output(self.run.id, path)

    def outputs(self, paths: Sequence[str]) -> list[Payload | None]:
        return wholesale.outputs(self._store, self.run.id, paths)

    def all_arrivals(self, paths: Sequence[str]) -> list[dict[str, Payload | None]]:
        return [dict(each) for each in wholesale.all_arrivals(self._store, self.run.id, paths)]

    def context(self, key: str) -> Payload | None:
        return self._store.context(self.run.id, key)

    def version(self, key: str, number: int) -> Payload | None:
        if self._versions is None:  # the only one there is
            return self._store.context(self.run.id, key)
        return self._versions.version(self.run.id, key, number)


class Again(NamedTuple):
    """One task of a node instance, made again."""

    role: Role
    task: Task
    inputs: tuple[Input, ...]


def named(recorded: Recorded, name: str) -> str:
    """The node path that a path or plain name means. Raises UnknownNode, Conflict."""
    if name in (ON_FAILURE, FINALLY):
        return name
    return find(recorded.plan, list(recorded.nodes.values()), name)


def again(recorded: Recorded, plan: Plan, path: str) -> list[Again]:
    """The tasks of a node instance in the order they ran: one, and for a branch that completed two (what
    opens it, what closes it).

    `plan` is the definition that will execute them; where it wants inputs that this run has not recorded
    it is refused with Conflict. So are nodes the run has not reached, and joins that goflow adds itself.
    """
    if is_join(path):
        raise Conflict(f"{path} is a join that goflow adds: no function of the flow runs in it")
    run = recorded.run
    if path in (ON_FAILURE, FINALLY):
        return [Again("handler", _handler(recorded, plan, path), ())]
    place = plan.locate(path)
    node = recorded.nodes.get(path)
    if node is None:
        raise Conflict(
            f"{path} has not been reached in run {run.id}; `goflow explain {run.id} {path}` says why"
        )
    arrived = recorded.arrivals(path)
    wanted = [edge.source for edge in place.scope.graph.edges_in[place.node.name]] or [""]
    missing = [name for name in wanted if name not in arrived]
    if missing:
        raise Conflict(
            f"{path} gets {', '.join(name or 'its input' for name in missing)}, of which run"
            f" {run.id} has recorded nothing"
        )
    inputs = tuple(Input(name, payload) for name, payload in arrived.items())
    task = _task(recorded, path, node)
    if place.node.kind == "node":
        return [Again("work", task, inputs)]
    told = [Again("open", task, inputs)]
    closing = _closing(recorded, node)
    if closing is not None:
        closed = _task(recorded, path, node, closing=True, keys=node.keys, width=node.width or 0)
        told.append(Again("close", closed, closing))
    return told


def rescue(task: Task, failure: Failure) -> Task:
    """The task that calls the node's own `on_failure` after this failure."""
    from msgspec.structs import replace

    return replace(task, failure=failure)


def _task(
    recorded: Recorded,
    path: str,
    node: NodeRun | None,
    *,
    failure: Failure | None = None,
    closing: bool = False,
    keys: tuple[str, ...] | None = None,
    width: int = 0,
    outcome: str = "",
) -> Task:
    run, request = recorded.run, recorded.request
    return Task(
        run.id,
        run.flow,
        run.fingerprint,
        path,
        "again",
        attempt=max(node.attempt, 1) if node else 1,
        round=node.round if node else run.round,
        query=request.query,
        headers=request.headers,
        failure=failure,
        closing=closing,
        keys=keys,
        width=width,
        outcome=outcome,
    )


def _handler(recorded: Recorded, plan: Plan, path: str) -> Task:
    run = recorded.run
    if path not in plan.handlers:
        raise Conflict(f"flow {plan.flow!r} has no {path.removeprefix('~')} handler")
    outcome = run.state if run.state.terminal else run.ending
    if outcome is None:
        raise Conflict(f"run {run.id} is {run.state}: {path} runs at its end")
    if path == ON_FAILURE and run.failure is None:
        raise Conflict(f"run {run.id} has not failed: {path} has nothing to tell")
    failure = run.failure if path == ON_FAILURE else None
    return _task(recorded, path, recorded.nodes.get(path), failure=failure, outcome=outcome.value)


def _closing(recorded: Recorded, node: NodeRun) -> tuple[Input, ...] | None:
    """What the scopes of a branch or sub-DAG brought; None while one of them is not complete."""
    if node.width is None or node.done < node.width:
        return None
    carries = not recorded.plan.locate(node.path).node.execution_only
    brought = _brought(recorded.plan, node)
    return tuple(Input(name, recorded.output(path) if carries else None) for name, path in brought)


def _brought(plan: Plan, node: NodeRun) -> Iterator[tuple[str, str]]:
    """Source and path of everything that closes a branch or sub-DAG: the ends of a sub-DAG, or each
    scope's end (its join, where it has several)."""
    place = plan.locate(node.path)
    if place.node.kind == "sub_dag":
        for name in place.node.dags[""].ends:
            yield name, f"{node.path}/{name}"
        return
    for scope in scopes(plan, node):
        yield scope.key, _end(scope.graph, scope)


def scopes(plan: Plan, branch: NodeRun) -> Iterator[Scope]:
    """The scopes that a recorded branch opened, in the order of its keys."""
    keys = branch.keys if branch.keys is not None else map(str, range(branch.width or 0))
    for key in keys:
        yield plan.scope(f"{branch.path}[{key}]")


def _end(graph: Graph, scope: Scope) -> str:
    ends = graph.ends
    return scope.prefix + ends[0] if len(ends) == 1 else scope.prefix.removesuffix("/")
