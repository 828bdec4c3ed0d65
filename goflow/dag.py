"""Dag: what a flow author draws. Nodes, edges, sub-DAGs and branches, checked all at once.

Nothing here runs or stores anything: `freeze` turns the drawing into a `Graph` (data, see plan.py) and
the functions that belong to it, keyed by static node path.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

from goflow.calling import caller, collecting
from goflow.draft import (
    DEFAULTS,
    KEY_RULE,
    NAME,
    NAME_RULE,
    Draft,
    EdgeDraft,
    Functions,
    cycles,
    folded,
    is_whole,
    key_text,
    option_problems,
)
from goflow.errors import DefinitionError, nearest
from goflow.extent import excess
from goflow.function import Function
from goflow.handle import NodeHandle, name_of
from goflow.nodepath import mark
from goflow.plan import Edge, Graph, Node
from goflow.unnested import Computation, Walk, computed, flattened

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
        self._drafts: dict[str, Draft] = {}
        self._edges: dict[tuple[str, str], EdgeDraft] = {}
        self._problems: list[str] = []

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
        draft = self._drafts.get(name) if isinstance(name, str) else None
        if draft is None:
            draft = self._add(Draft(name, "node", at, options))
            self._functions(draft, aggregator=aggregator, on_failure=on_failure)
            self._problems += option_problems(draft)
        elif draft.kind != "node":
            self._problem(at, name, f"this name is taken by a {draft.label} ({draft.at})")
        elif aggregator or on_failure or options != DEFAULTS:
            self._problem(
                at,
                name,
                f"a further function inside a node brings no options ({draft.at} has them)",
            )
        elif work is None:
            self._problem(at, name, f"defined twice without a function (first at {draft.at})")
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
        draft = self._add(Draft(name, "sub_dag", caller()))
        inner = dag() if callable(dag) and not isinstance(dag, Dag) else dag
        if isinstance(inner, Dag):
            draft.dags[""] = inner
        else:
            self._problem(draft.at, name, f"sub_dag needs a goflow.Dag, got {type(inner).__name__}")
            draft.dags[""] = _placeholder()
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
        draft = self._add(Draft(name, "conditional", caller(), branch_only=execution_only))
        self._functions(draft, condition=condition, aggregator=aggregator)
        keys: list[object] = []
        if isinstance(conditions, str | bytes) or not isinstance(conditions, Iterable):
            self._problem(
                draft.at, name, f"conditions must be a list of keys, got {conditions!r:.40}"
            )
        else:
            keys = list(conditions)
            if not keys:
                self._problem(
                    draft.at, name, "conditions is empty; list the keys condition() may return"
                )
        for raw in keys:
            key = key_text(raw)
            if key is None:
                self._problem(draft.at, name, f"condition key {raw!r:.40} must be {KEY_RULE}")
            elif key in draft.dags:
                self._problem(draft.at, name, f"condition key {key!r} is listed twice")
            else:
                draft.dags[key] = Dag()
        return Branches(draft.dags, lambda at, text: self._problem(at, name, text))

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
        draft = self._add(Draft(name, "foreach", caller(), branch_only=execution_only))
        draft.max_parallel = max_parallel
        self._functions(draft, foreach=foreach, aggregator=aggregator)
        if max_parallel is not None and (not is_whole(max_parallel) or max_parallel < 1):
            self._problem(draft.at, name, f"max_parallel must be 1 or more, got {max_parallel!r}")
        draft.dags[""] = Dag()
        return draft.dags[""]

    def append(self, other: Dag) -> None:
        """Take over the nodes and edges of another Dag. A name both have is an error."""
        at = caller()
        if not isinstance(other, Dag):
            self._problems.append(f"append ({at}): expected a goflow.Dag, got {other!r:.40}")
            return
        for name, draft in other._drafts.items():
            if name in self._drafts:
                self._problem(
                    at, name, f"append: both DAGs have it (here at {self._drafts[name].at})"
                )
            else:
                self._drafts[name] = draft
        for pair, edge in other._edges.items():
            self._add_edge(pair, edge)
        self._problems += other._problems

    def validate(self) -> None:
        """Raise one DefinitionError that lists every problem, or nothing."""
        problems = self.problems()
        if problems:
            raise DefinitionError(problems)

    def definition(self) -> dict[str, Any]:
        """The JSON-able definition: starts, ends and nodes with kind, degrees, children and inner DAGs.

        Raises DefinitionError where `validate` would.
        """
        from goflow.dagexport import define

        return define(self.freeze()[0])

    def freeze(self) -> tuple[Graph, dict[str, Functions]]:
        """The checked graph as data, and the functions of every node by static path."""
        self.validate()
        code: dict[str, Functions] = {}
        return computed(self._freeze("", code)), code

    @property
    def inner(self) -> list[tuple[int, Dag]]:
        """The Dags inside its nodes, once for each use, with how many characters each adds to a path."""
        return [
            (len(name) + len(mark(draft.kind, key)), dag)
            for name, draft in self._drafts.items()
            for key, dag in draft.dags.items()
        ]

    @property
    def width(self) -> int:
        """How many nodes it has, without those inside them."""
        return len(self._drafts)

    @property
    def letters(self) -> int:
        """How many characters the names of these come to."""
        return sum(map(len, self._drafts))

    def problems(self) -> list[str]:
        """Every problem as a sentence, this Dag's first and then those inside its nodes."""
        if not self._drafts:
            return [*self._problems, "the DAG is empty; add a node with dag.node(name, function)"]
        too_much = excess(self)
        if too_much is not None:
            return [*self._problems, too_much]
        return list(flattened(self._all_problems([], set())))

    def _all_problems(self, trail: list[str], around: set[int]) -> Walk[str]:
        """`trail` are the nodes that this Dag is in and `around` the Dags of those."""
        head = "".join(f"in {label!r}: " for label in folded(trail))
        yield from (head + problem for problem in self._own_problems())
        around.add(id(self))
        for name, draft in self._drafts.items():
            for key, inner in draft.dags.items():
                label = name + (f"[{key}]" if draft.kind == "conditional" else "")
                if id(inner) in around:
                    yield f"{head}node {name!r} ({draft.at}): the Dag contains itself"
                elif not (inner._drafts or inner._problems):
                    yield f"{head}node {label!r} ({draft.at}): its DAG is empty; add a node to it"
                else:
                    trail.append(label)
                    yield inner._all_problems(trail, around)
                    trail.pop()
        around.discard(id(self))

    def _own_problems(self) -> list[str]:
        if not self._drafts:
            return [*self._problems, "the DAG is empty; add a node with dag.node(name, function)"]
        known = [(a, b) for a, b in self._edges if a != b and {a, b} <= self._drafts.keys()]
        return [*self._problems, *self._edge_problems(), *cycles(known, self._drafts)]

    def _edge(
        self, source: str, target: str, forwarder: Work | None, execution_only: bool, at: str
    ) -> None:
        draft = EdgeDraft(source, target, None, execution_only, at)
        label = f"edge {source!r} -> {target!r} ({at})"
        if forwarder is not None:
            if execution_only:
                self._problems.append(f"{label}: an execution-only edge carries nothing to forward")
            try:
                draft = draft._replace(forwarder=Function(forwarder, "forwarder"))
            except ValueError as error:
                self._problems.append(f"{label}: {error}")
        self._add_edge((source, target), draft)

    def _add_edge(self, pair: tuple[str, str], edge: EdgeDraft) -> None:
        known = self._edges.setdefault(pair, edge)
        if known is not edge:
            self._problems.append(
                f"edge {pair[0]!r} -> {pair[1]!r} ({edge.at}): there is one already ({known.at})"
            )

    def _add(self, draft: Draft) -> Draft:
        name = draft.name
        if not isinstance(name, str) or not NAME.fullmatch(name):
            self._problem(draft.at, name, f"illegal name; allowed are {NAME_RULE}")
        elif name in self._drafts:
            former = self._drafts[name]
            self._problem(draft.at, name, f"this name is taken by a {former.label} ({former.at})")
            return draft  # not kept: the first one stays, and the branch still has Dags to fill
        self._drafts[str(name)] = draft
        return draft

    def _functions(self, draft: Draft, **functions: Work | None) -> None:
        for role, function in functions.items():
            if function is not None or role in ("condition", "foreach"):
                self._function(draft, role, function)

    def _function(self, draft: Draft, role: str, function: Any) -> None:
        try:
            bound = Function(function, role)
        except ValueError as error:
            self._problem(draft.at, draft.name, str(error))
            return
        if role == "work":
            draft.works.append(bound)
        else:
            draft.functions[role] = bound

    def _problem(self, at: str, name: object, text: str) -> None:
        self._problems.append(f"node {name!r} ({at}): {text}")

    def _edge_problems(self) -> list[str]:
        found = []
        for edge in self._edges.values():
            label = f"edge {edge.source!r} -> {edge.target!r} ({edge.at})"
            for end in dict.fromkeys((edge.source, edge.target)):
                if end not in self._drafts:
                    found.append(f"{label}: no node {end!r}{nearest(end, self._drafts)}")
            if edge.source == edge.target:
                found.append(f"{label}: a node cannot wait for itself")
        return found

    def _freeze(self, prefix: str, code: dict[str, Functions]) -> Computation[Graph]:
        nodes = {}
        forwarders: dict[str, dict[str, Function]] = {name: {} for name in self._drafts}
        for edge in self._edges.values():
            if edge.forwarder is not None:
                forwarders[edge.source][edge.target] = edge.forwarder
        for name, draft in self._drafts.items():
            path = prefix + name
            code[path] = Functions(
                works=tuple(draft.works),
                aggregator=draft.functions.get("aggregator"),
                on_failure=draft.functions.get("on_failure"),
                choose=draft.functions.get("condition") or draft.functions.get("foreach"),
                forwarders=forwarders[name],
            )
            dags = {}
            for key, inner in draft.dags.items():
                dags[key] = yield inner._freeze(f"{path}{mark(draft.kind, key)}", code)
            nodes[name] = Node(
                name=name,
                kind=draft.kind,
                aggregator="aggregator" in draft.functions,
                on_failure="on_failure" in draft.functions,
                execution_only=draft.branch_only,
                max_parallel=draft.max_parallel,
                dags=dags,
                **draft.options,
            )
        edges = tuple(
            Edge(e.source, e.target, e.execution_only, e.forwarder is not None)
            for e in self._edges.values()
        )
        return Graph(nodes, edges)


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
