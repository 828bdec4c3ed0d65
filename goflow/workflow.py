"""Workflow: what `define_workflow(workflow, context)` fills, and Flow, what comes out of it.

A definition runs once per process. The functions it leaves behind are called with whichever run's
payloads are being worked on; the run itself is reached through `Context`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar, overload

from goflow.dag import Dag
from goflow.digests import sha256
from goflow.draft import NAME, NAME_RULE, Functions
from goflow.errors import ContextError, DefinitionError, PayloadError
from goflow.execution import Execution, found
from goflow.function import Function
from goflow.payload import JSON, TEXT, Payload, encode
from goflow.plan import Plan

if TYPE_CHECKING:
    import logging

Define = Callable[["Workflow", "Context"], object]
_F = TypeVar("_F", bound=Callable[..., Any])

#: how long a key of the per-run store may be, in UTF-8 bytes
MAX_CONTEXT_KEY: Final = 1024

#: every definition that was marked in this process: a name in a module may be taken again
marked: list[Callable[..., object]] = []


class Workflow:
    """A flow being defined: its `dag`, its handlers and its `timeout`.

    `dag` may be assigned a Dag made elsewhere; `timeout` is in seconds for the whole run.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.dag = Dag()
        self.timeout: float | None = None
        self._handlers: dict[str, Function] = {}
        self._problems: list[str] = []

    def on_failure(self, handler: _F) -> _F:
        """Call `handler(error)` once when the run has failed; `error` is a `goflow.NodeFailed`."""
        return self._handler("on_failure", handler)

    def finally_(self, handler: _F) -> _F:
        """Call `handler(state)` at the run's end, however it ended; `state` is the run's last state."""
        return self._handler("finally_", handler)

    def _handler(self, role: str, handler: _F) -> _F:
        if role in self._handlers:
            self._problems.append(f"{role} is given twice; a flow has one")
        try:
            self._handlers[role] = Function(handler, role)
        except ValueError as error:
            self._problems.append(str(error))
        return handler

    def freeze(self, file: str = "") -> Flow:
        """The checked flow. Raises DefinitionError listing everything that is wrong with it."""
        problems = list(self._problems)
        if not NAME.fullmatch(self.name):
            problems.append(f"illegal flow name; allowed are {NAME_RULE}")
        timeout = self.timeout
        if timeout is not None and (
            not isinstance(timeout, int | float)
            or isinstance(timeout, bool)
            or not 0 < timeout < float("inf")
        ):
            problems.append(f"timeout must be seconds > 0, or None, got {timeout!r}")
        if isinstance(self.dag, Dag):
            problems += self.dag.problems()
        else:
            problems.append(f"workflow.dag must be a goflow.Dag, got {type(self.dag).__name__}")
        if problems:
            raise DefinitionError(problems, self.name)
        graph, code = self.dag.freeze()
        plan = Plan(
            flow=self.name,
            graph=graph,
            on_failure="on_failure" in self._handlers,
            finally_="finally_" in self._handlers,
            timeout=None if timeout is None else float(timeout),
        )
        return Flow(plan, code, self._handlers, file)


class Flow:
    """A flow ready to run: its plan (data) and its functions, by static node path."""

    def __init__(
        self,
        plan: Plan,
        code: Mapping[str, Functions],
        handlers: Mapping[str, Function],
        file: str = "",
    ) -> None:
        self.name = plan.flow
        self.plan = plan
        self.code = code
        self.handlers = handlers
        self.file = file
        #: the function that defined it, for children that cannot load it from a file
        self.define: Define | None = None
        self._digests: dict[str, str] = {}

    @property
    def key(self) -> tuple[str, str]:
        """Name and fingerprint: what a worker tells a backend it can execute."""
        return (self.name, self.plan.fingerprint)

    def digest(self, static: str) -> str:
        """A digest over a node's function bodies, recorded with each attempt."""
        known = self._digests.get(static)
        if known is None:
            code = self.code.get(static, Functions())
            parts = [*code.works, code.aggregator, code.choose, *code.forwarders.values()]
            text = " ".join(part.digest for part in parts if part is not None)
            known = sha256(text.encode()).hexdigest()[:8] if text else ""
            self._digests[static] = known
        return known


def build(name: str, define: Define, file: str = "") -> Flow:
    """Run a definition once and check what it made. Raises DefinitionError, for what is no definition too."""
    from goflow.definitions import unfit

    if reasons := list(unfit(define)):
        raise DefinitionError(reasons, name)
    workflow = Workflow(name)
    define(workflow, context)
    flow = workflow.freeze(file)
    flow.define = define
    return flow


@overload
def flow(name: Define) -> Define: ...
@overload
def flow(name: str) -> Callable[[Define], Define]: ...
def flow(name: str | Define) -> Define | Callable[[Define], Define]:
    """Mark a definition function: `@goflow.flow("name")`, or bare, taking the function's name.

    >>> @flow("thumbnails")
    ... def define(workflow, context):
    ...     workflow.dag.node("resize")
    """
    if isinstance(name, str):
        return lambda define: _mark(define, name)
    if not callable(name):
        raise TypeError(f'@goflow.flow: expected a name, as in @goflow.flow("name"), got {name!r}')
    return _mark(name, getattr(name, "__name__", ""))


def _mark(define: Define, name: str) -> Define:
    define.__goflow_flow__ = name  # type: ignore[attr-defined]
    marked.append(define)
    return define


class Context:
    """The run that is executing, as a node's function sees it.

    There is one such object; it always stands for the current run, so a closure may keep it. Threads that
    a node starts see it too, until the node ends. Outside a node every use raises ContextError.
    """

    @property
    def run_id(self) -> str:
        """The run's id."""
        return _execution().task.run_id

    @property
    def flow(self) -> str:
        """The flow's name."""
        return _execution().task.flow

    @property
    def node(self) -> str:
        """The node path of this instance, such as `each[alice]/verify`."""
        return _execution().task.path

    @property
    def attempt(self) -> int:
        """1 for the first attempt in this round, then one more each."""
        return _execution().task.attempt

    @property
    def query(self) -> dict[str, list[str]]:
        """The run's query parameters: the `options` of functions."""
        return _execution().task.query

    @property
    def headers(self) -> dict[str, str]:
        """The allowed HTTP headers of the request that started the run, names in lower case."""
        return _execution().task.headers

    @property
    def node_input(self) -> dict[str, bytes]:
        """The raw inputs by the name of the node (or branch key) they came from."""
        return {name: payload.data for name, payload in _execution().inputs.items()}

    @property
    def idempotency_key(self) -> str:
        """32 hex digits, the same for every attempt at this node instance and for no other.

        Hand it to whatever must not happen twice. `goflow retry --from` makes new ones.
        """
        task = _execution().task
        text = f"{task.run_id}\n{task.path}\n{task.round}"
        return sha256(text.encode()).hexdigest()[:32]

    @property
    def logger(self) -> logging.Logger:
        """A logger named after flow and node; what it writes is kept with the attempt."""
        import logging

        task = _execution().task
        return logging.getLogger(f"goflow.{task.flow}.{task.path}")

    def set(self, key: str, value: object) -> None:
        """Put a value (JSON or bytes) into the run's store, visible to later nodes on any machine.

        Recorded in the same commit as this attempt's result. Raises PayloadError.
        """
        payload = encode(value) if value is not None else _NULL
        _execution().put(_checked(key), payload)

    def get(self, key: str, default: Any = None) -> Any:
        """A value of the run's store: bytes as bytes, text as str, JSON decoded."""
        payload = _execution().get(_checked(key))
        if payload is None:
            return default
        if payload.media_type == JSON:
            return payload.json()
        return payload.text() if payload.media_type == TEXT else payload.data

    def delete(self, key: str) -> None:
        """Remove a value; harmless where there is none."""
        _execution().put(_checked(key), None)

    def __repr__(self) -> str:
        execution = found()
        return f"<context of {execution.task.path if execution else 'no run'}>"


#: None in the run's store: there, and not the default of `get`
_NULL = Payload(b"null", JSON)

#: the one context object; `define_workflow` receives it
context = Context()


def current_context() -> Context:
    """The context of the run that is executing. Raises ContextError outside a node."""
    _execution()
    return context


def _execution() -> Execution:
    execution = found()
    if execution is None:
        raise ContextError(
            "the context belongs to a run, and none is executing here;"
            " use it inside a node's function, not while the flow is being defined"
        )
    execution.check()
    return execution


def _checked(key: str) -> str:
    try:
        fits = isinstance(key, str) and 1 <= len(key.encode()) <= MAX_CONTEXT_KEY
    except UnicodeEncodeError:  # a lone surrogate
        fits = False
    if not fits:
        raise PayloadError(f"a context key is a text of 1 to {MAX_CONTEXT_KEY} bytes, got {key!r}")
    return key
