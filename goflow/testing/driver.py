"""Running a flow in the test's own process: the engine, a few dicts, nothing else.

No store, no child, no clock: retries follow at once, timeouts are not enforced, and nodes run one after
the other. What a flow computes is the same as on any backend.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from goflow.dag import Dag
from goflow.described import describe
from goflow.draft import NAME
from goflow.engine import after_failure, request, step
from goflow.errors import RunFailed
from goflow.message import FINALLY, Arrival, Failure, Input, Opened, Step, Task
from goflow.payload import EMPTY, Payload, of_input
from goflow.state import NodeState, RunState
from goflow.workflow import Flow, Workflow, build

#: picks which of several ready node paths runs next; property tests try every order
Choose = Callable[[Sequence[str]], int]


def run(
    flow: Flow | Workflow | Dag | Callable[..., Any] | str | Path,
    data: object = b"",
    query: Mapping[str, Sequence[str]] | None = None,
) -> Payload:
    """Run a flow to its end and return its result.

    `flow` is a definition function, a Dag, a Flow or the path of a flow file with one flow. `data` is
    bytes, text, None, a Payload or anything JSON can carry. Raises RunFailed with the node's exception
    as its cause, DefinitionError, LoadError.

    >>> dag = Dag()
    >>> _ = dag.node("greet", lambda data: f'you said "{data.decode()}"')
    >>> run(dag, b"hallo").text()
    'you said "hallo"'
    """
    return Simulation(as_flow(flow), of_input(data), query).run()


def as_flow(flow: Flow | Workflow | Dag | Callable[..., Any] | str | Path) -> Flow:
    """The Flow that a definition function, a Dag, a Workflow or a flow file means."""
    if isinstance(flow, Flow):
        return flow
    if isinstance(flow, Workflow):
        return flow.freeze()
    if isinstance(flow, Dag):
        workflow = Workflow("test")
        workflow.dag = flow
        return workflow.freeze()
    if isinstance(flow, str | Path):
        from goflow.loader import load, pick

        return pick(load(Path(flow)), None)
    name: str = getattr(flow, "__goflow_flow__", "") or getattr(flow, "__name__", "")
    return build(name if NAME.fullmatch(name) else "test", flow)


class Simulation:
    """One run in memory. `states` and `outputs` are by node path, `order` is what was executed."""

    def __init__(
        self,
        flow: Flow,
        payload: Payload = EMPTY,
        query: Mapping[str, Sequence[str]] | None = None,
        run_id: str = "test",
    ) -> None:
        self.flow = flow
        self.request = request(flow.plan, run_id, payload, query)
        self.outputs: dict[str, Payload] = {}
        self.states: dict[str, NodeState] = {}
        self.context: dict[str, Payload] = {}
        self.order: list[str] = []
        self.result: Payload | None = None
        self.failure: Failure | None = None
        self.cause: BaseException | None = None
        self._inbox: dict[tuple[str, bool], dict[str, Payload | None]] = {}
        self._opened: dict[str, Opened] = {}
        self._ready: list[tuple[str, bool]] = []
        for name in self.request.starts:
            self._deliver(Arrival(name, "", 1, payload))

    def run(self, choose: Choose = lambda ready: 0) -> Payload:
        """Execute everything, in the order `choose` wants; the result or RunFailed."""
        while self._ready and self.failure is None:
            self._execute(*self._ready.pop(choose([path for path, _ in self._ready])))
        cause = self.cause
        self._handle(RunState.SUCCEEDED if self.failure is None else RunState.FAILED)
        if self.failure is not None:
            failed = RunFailed(self.request.run_id, f"{self.failure.node}: {self.failure}")
            raise failed from cause
        assert self.result is not None, f"nothing is ready, but no end was reached: {self.states}"
        return self.result

    def _handle(self, state: RunState) -> None:
        """The run's handlers; one that raises is noted and changes nothing."""
        for path in self.request.handlers:
            if path == FINALLY or self.failure is not None:
                made = self._attempt(self._task(path, failure=self.failure, outcome=state), ())
                if made is None:
                    self.states[path] = NodeState.FAILED
                else:
                    self._record(path, made)

    def _execute(self, path: str, closing: bool) -> None:
        opened = self._opened.get(path)
        task = self._task(path, closing=closing)
        if closing and opened is not None:
            task = self._task(path, closing=True, keys=opened.keys, width=opened.expects)
        box = self._inbox[path, closing]
        inputs = [Input(source, payload) for source, payload in box.items()]
        made = self._attempt(task, inputs)
        while made is None:
            failure = self._last
            delay, rescue = after_failure(self.flow.plan, task, failure)
            if rescue:
                task = self._task(path, closing=closing, failure=failure, attempt=task.attempt)
            elif delay is not None:
                task = self._task(
                    path,
                    closing=closing,
                    keys=task.keys,
                    width=task.width,
                    attempt=task.attempt + 1,
                )
            else:
                self.states[path] = NodeState.FAILED
                self.failure = failure
                return
            made = self._attempt(task, inputs)
        self._record(path, made)

    def _attempt(self, task: Task, inputs: Sequence[Input]) -> Step | None:
        self.order.append(task.path)
        try:
            return step(self.flow, task, inputs, read=self.context.get)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever the author's function raises
            self.cause = error
            self._last = replace(describe(error, task.path), attempt=task.attempt)
            return None

    def _record(self, path: str, made: Step) -> None:
        for key, value in made.writes.items():
            if value is None:
                self.context.pop(key, None)
            else:
                self.context[key] = value
        if made.opened is not None:
            self.states[path] = NodeState.RUNNING
            self._opened[path] = made.opened
            self._inbox[path, True] = {}
            for item in made.opened.items:
                for name in item.starts:
                    self._deliver(Arrival(item.prefix + name, "", 1, item.payload))
            return
        assert made.output is not None
        self.states[path] = NodeState.SUCCEEDED
        self.outputs[path] = made.output
        for arrival in made.arrivals:
            payload = made.output if arrival.payload is None else arrival.payload
            self._deliver(arrival, payload if arrival.carries else None)
        if made.ends:
            self.result = made.output

    def _deliver(self, arrival: Arrival, payload: Payload | None = None) -> None:
        box = self._inbox.setdefault((arrival.target, arrival.closing), {})
        assert arrival.source not in box, f"{arrival.source} arrived twice at {arrival.target}"
        box[arrival.source] = (
            payload if payload is not None or not arrival.carries else arrival.payload
        )
        expects = self._opened[arrival.target].expects if arrival.closing else arrival.expects
        self.states.setdefault(arrival.target, NodeState.WAITING)
        if len(box) == expects:
            self._ready.append((arrival.target, arrival.closing))

    def _task(self, path: str, **more: Any) -> Task:
        request = self.request
        return Task(
            run_id=request.run_id,
            flow=request.flow,
            fingerprint=request.fingerprint,
            path=path,
            token="",
            query=request.query,
            **more,
        )
