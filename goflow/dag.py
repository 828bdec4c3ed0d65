"""Dag: what a flow author draws with. Nodes, edges, sub-DAGs and branches, checked all at once.

Nothing here runs or stores anything: it fills a drawing (drawn.py), which is checked and made into data when the flow
is loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

from goflow.calling import caller, collecting
from goflow.draft import (
    DEFAULTS,
    KEY_RULE,
    Draft,
    EdgeDraft,
    Functions,
    is_whole,
    key_text,
    option_problems,
)
from goflow.drawn import Drawn
from goflow.errors import nearest
from goflow.function import Function
from goflow.handle import NodeHandle, name_of
from goflow.plan import Graph

Work = Callable[..., Any]


class Dag:
    """A directed acyclic graph of steps.

    >>> dag = Dag()
    >>> _ = dag.node("load", lambda data: data) >> dag.node("save", lambda data: b"ok")
    >>> [node["name"] for node in dag.definition()["nodes"]]
    ['load', 'save']

    Mistakes are collected and raised together, by `validate` or when the flow is loaded.
    """

    def __init__(self) -> None:
        self._drawn = Drawn()

    @collecting
    def node(
        self,
        name: str,
        work: Work | None = None,
        *,
        aggregator: Work | None = None,
        on_failure: Work | None = None,
        retries: int = 0,
        retry_delay: float = 1.0,
        retry_backoff: float = 2.0,
        timeout: float | None = None,
        on_worker_lost: Literal["retry", "fail"] = "retry",
    ) -> NodeHandle:
        """Add a step, or pipe a further function inside the one of that name.

        `work(data[, options[, context]])` makes its result; None passes the input through.
        `aggregator(inputs)` reduces several inputs to one first. A failing attempt is repeated `retries`
        times, the nth after `retry_delay * retry_backoff**n` seconds with jitter; then
        `on_failure(error)` may return a result instead. `timeout` is in seconds per attempt.
        `on_worker_lost`: "fail" for work that must not run twice when its worker vanishes.
        """
        at = caller()
        options: dict[str, Any] = {
            "retries": retries,
            "retry_delay": retry_delay,
            "retry_backoff": retry_backoff,
            "timeout": timeout,
            "on_worker_lost": on_worker_lost,
        }
        draft = self._drawn.drafts.get(name) if isinstance(name, str) else None
        if draft is None:
            draft = self._drawn.add(Draft(name, "node", at, options))
            self._functions(draft, aggregator=aggregator, on_failure=on_failure)
            self._drawn.problems += option_problems(draft)
        elif draft.kind != "node":
            self._drawn.problem(at, name, f"this name is taken by a {draft.label} ({draft.at})")
        elif aggregator or on_failure or options != DEFAULTS:
            self._drawn.problem(
                at,
                name,
                f"a further function inside a node brings no options ({draft.at} has them)",
            )
        elif work is None:
            self._drawn.problem(at, name, f"defined twice without a function (first at {draft.at})")
        if work is not None and draft.kind == "node":
            self._function(draft, "work", work)
        return NodeHandle(self, str(name))

    @collecting
    def edge(
        self,
        from_: NodeHandle | str,
        to: NodeHandle | str,
        *,
        forwarder: Work | None = None,
        execution_only: bool = False,
    ) -> None:
        """Let `to` wait for `from_` and receive its result.

        `forwarder(payload)` reshapes what this edge carries; an execution-only edge carries nothing.
        """
        self._edge(name_of(from_), name_of(to), forwarder, execution_only, caller())

    @collecting
    def sub_dag(self, name: str, dag: Dag | Callable[[], Dag]) -> NodeHandle:
        """Add another Dag, or a function that returns one, as a node.

        The same Dag may stand in several places and flows.
        """
        draft = self._drawn.add(Draft(name, "sub_dag", caller()))
        inner = dag() if callable(dag) and not isinstance(dag, Dag) else dag
        if isinstance(inner, Dag):
            draft.dags[""] = inner._drawn
        else:
            self._drawn.problem(
                draft.at, name, f"sub_dag needs a goflow.Dag, got {type(inner).__name__}"
            )
            draft.dags[""] = _placeholder()._drawn
        return NodeHandle(self, str(name))

    @collecting
    def conditional_branch(
        self,
        name: str,
        conditions: Iterable[str | int],
        condition: Work,
        *,
        aggregator: Work | None = None,
        execution_only: bool = False,
    ) -> Branches:
        """Add a node that runs some of several DAGs, chosen at run time, in parallel.

        `condition(data)` returns a key of `conditions`, or several. Answers the Dag of each key, to be
        filled. `aggregator(results)` reduces the results of the chosen keys to one.
        """
        draft = self._drawn.add(Draft(name, "conditional", caller(), branch_only=execution_only))
        self._functions(draft, condition=condition, aggregator=aggregator)
        keys: list[object] = []
        dags: dict[str, Dag] = {}
        if isinstance(conditions, str | bytes) or not isinstance(conditions, Iterable):
            self._drawn.problem(
                draft.at, name, f"conditions must be a list of keys, got {conditions!r:.40}"
            )
        else:
            keys = list(conditions)
            if not keys:
                self._drawn.problem(
                    draft.at, name, "conditions is empty; list the keys condition() may return"
                )
        for raw in keys:
            key = key_text(raw)
            if key is None:
                self._drawn.problem(draft.at, name, f"condition key {raw!r:.40} must be {KEY_RULE}")
            elif key in dags:
                self._drawn.problem(draft.at, name, f"condition key {key!r} is listed twice")
            else:
                dags[key] = Dag()
                draft.dags[key] = dags[key]._drawn
        return Branches(dags, lambda at, text: self._drawn.problem(at, name, text))

    @collecting
    def foreach_branch(
        self,
        name: str,
        foreach: Work,
        *,
        aggregator: Work | None = None,
        execution_only: bool = False,
        max_parallel: int | None = None,
    ) -> Dag:
        """Add a node that runs one DAG for each of the items `foreach(data)` returns.

        Items are a mapping of keys to payloads, or any iterable (keys are then positions).
        Answers the Dag, to be filled. `aggregator(results)` reduces the items' results to one; at most
        `max_parallel` items are on their way at a time.
        """
        draft = self._drawn.add(Draft(name, "foreach", caller(), branch_only=execution_only))
        draft.max_parallel = max_parallel
        self._functions(draft, foreach=foreach, aggregator=aggregator)
        if max_parallel is not None and (not is_whole(max_parallel) or max_parallel < 1):
            self._drawn.problem(
                draft.at, name, f"max_parallel must be 1 or more, got {max_parallel!r}"
            )
        dag = Dag()
        draft.dags[""] = dag._drawn
        return dag

    def append(self, other: Dag) -> None:
        """Take over the nodes and edges of another Dag. A name both have is an error."""
        at = caller()
        if not isinstance(other, Dag):
            self._drawn.problems.append(f"append ({at}): expected a goflow.Dag, got {other!r:.40}")
            return
        self._drawn.append(other._drawn, at)

    def validate(self) -> None:
        """Raise one DefinitionError that lists every problem, or nothing."""
        self._drawn.validate()

    def definition(self) -> dict[str, Any]:
        """The JSON-able definition: starts, ends and nodes with kind, degrees, children and inner DAGs.

        Raises DefinitionError where `validate` would.
        """
        from goflow.dagexport import define

        return define(self.freeze()[0])

    def problems(self) -> list[str]:
        """Every problem as a sentence, this Dag's first and then those inside its nodes."""
        return self._drawn.all_problems()

    def freeze(self) -> tuple[Graph, dict[str, Functions]]:
        """The checked graph as data, and the functions of every node by static path."""
        return self._drawn.freeze()

    def _edge(
        self, source: str, target: str, forwarder: Work | None, execution_only: bool, at: str
    ) -> None:
        draft = EdgeDraft(source, target, None, execution_only, at)
        label = f"edge {source!r} -> {target!r} ({at})"
        if forwarder is not None:
            if execution_only:
                self._drawn.problems.append(
                    f"{label}: an execution-only edge carries nothing to forward"
                )
            try:
                draft = draft._replace(forwarder=Function(forwarder, "forwarder"))
            except ValueError as error:
                self._drawn.problems.append(f"{label}: {error}")
        self._drawn.add_edge((source, target), draft)

    def _functions(self, draft: Draft, **functions: Work | None) -> None:
        for role, function in functions.items():
            if function is not None or role in ("condition", "foreach"):
                self._function(draft, role, function)

    def _function(self, draft: Draft, role: str, function: Any) -> None:
        try:
            bound = Function(function, role)
        except ValueError as error:
            self._drawn.problem(draft.at, draft.name, str(error))
            return
        if role == "work":
            draft.works.append(bound)
        else:
            draft.functions[role] = bound


class Branches(dict[str, Dag]):
    """The Dag of each condition. Integer keys became text and may be asked for as either.

    A key that was not listed is one of the flow's problems; the Dag answered for it is thrown away.
    """

    def __init__(self, dags: Mapping[str, Dag], report: Callable[[str, str], None]) -> None:
        super().__init__(dags)
        self._report = report

    def __getitem__(self, key: str | int) -> Dag:
        text = key_text(key)
        if text is not None and text in self:
            return super().__getitem__(text)
        if self:  # else what is wrong with the conditions has been told already
            known = nearest(str(key), self)
            self._report(caller(), f"no condition {key!r:.40} was listed{known}")
        return Dag()


def _placeholder() -> Dag:
    """Stands for a sub-DAG that is none, so that only the one mistake is reported."""
    dag = Dag()
    dag.node("missing")
    return dag
