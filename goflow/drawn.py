"""What has been drawn of a Dag so far: its nodes and edges, what is wrong with them, and their graph as data.

An author draws with `Dag` (dag.py); this is what it draws on. Mistakes are kept as sentences until somebody asks, and
`freeze` turns a drawing without any into a `Graph` (plan.py) and the functions that belong to it.
"""

from __future__ import annotations

from goflow.draft import NAME, NAME_RULE, Draft, EdgeDraft, Functions, cycles, folded
from goflow.errors import DefinitionError, nearest
from goflow.extent import excess
from goflow.function import Function
from goflow.nodepath import mark
from goflow.plan import Edge, Graph, Node
from goflow.unnested import Computation, Walk, computed, flattened


class Drawn:
    """The nodes and edges of one Dag, in the order they were drawn."""

    __slots__ = ("drafts", "edges", "problems")

    def __init__(self) -> None:
        self.drafts: dict[str, Draft] = {}
        self.edges: dict[tuple[str, str], EdgeDraft] = {}
        #: mistakes that were noticed while it was drawn, as sentences
        self.problems: list[str] = []

    def add(self, draft: Draft) -> Draft:
        """A new node. One that has no name of its own is not kept, and still answered to be filled."""
        name = draft.name
        if not isinstance(name, str) or not NAME.fullmatch(name):
            self.problem(draft.at, name, f"illegal name; allowed are {NAME_RULE}")
        elif name in self.drafts:
            former = self.drafts[name]
            self.problem(draft.at, name, f"this name is taken by a {former.label} ({former.at})")
            return draft  # the first one stays
        self.drafts[str(name)] = draft
        return draft

    def add_edge(self, pair: tuple[str, str], edge: EdgeDraft) -> None:
        """A new edge, of which there is one between two nodes."""
        known = self.edges.setdefault(pair, edge)
        if known is not edge:
            self.problems.append(
                f"edge {pair[0]!r} -> {pair[1]!r} ({edge.at}): there is one already ({known.at})"
            )

    def append(self, other: Drawn, at: str) -> None:
        """Take over the nodes and edges of another."""
        for name, draft in other.drafts.items():
            if name in self.drafts:
                mine = self.drafts[name].at
                self.problem(at, name, f"append: both DAGs have it (here at {mine})")
            else:
                self.drafts[name] = draft
        for pair, edge in other.edges.items():
            self.add_edge(pair, edge)
        self.problems += other.problems

    def problem(self, at: str, name: object, text: str) -> None:
        """Note a mistake about a node, drawn at a file and line."""
        self.problems.append(f"node {name!r} ({at}): {text}")

    @property
    def inner(self) -> list[tuple[int, Drawn]]:
        """The drawings inside its nodes, once for each use, with how many characters each adds to a path."""
        return [
            (len(name) + len(mark(draft.kind, key)), drawn)
            for name, draft in self.drafts.items()
            for key, drawn in draft.dags.items()
        ]

    @property
    def width(self) -> int:
        """How many nodes it has, without those inside them."""
        return len(self.drafts)

    @property
    def letters(self) -> int:
        """How many characters the names of these come to."""
        return sum(map(len, self.drafts))

    def freeze(self) -> tuple[Graph, dict[str, Functions]]:
        """The checked graph as data, and the functions of every node by static path. Raises DefinitionError."""
        self.validate()
        code: dict[str, Functions] = {}
        return computed(self._freeze("", code)), code

    def validate(self) -> None:
        """Raise one DefinitionError that lists every problem, or nothing."""
        problems = self.all_problems()
        if problems:
            raise DefinitionError(problems)

    def all_problems(self) -> list[str]:
        """Every problem as a sentence, this DAG's first and then those inside its nodes."""
        if not self.drafts:
            return [*self.problems, "the DAG is empty; add a node with dag.node(name, function)"]
        too_much = excess(self)
        if too_much is not None:
            return [*self.problems, too_much]
        return list(flattened(self._problems([], set())))

    def _problems(self, trail: list[str], around: set[int]) -> Walk[str]:
        """`trail` are the nodes that this one is inside of, and `around` the drawings of those."""
        head = "".join(f"in {label!r}: " for label in folded(trail))
        yield from (head + problem for problem in self._own_problems())
        around.add(id(self))
        for name, draft in self.drafts.items():
            for key, inner in draft.dags.items():
                label = name + (f"[{key}]" if draft.kind == "conditional" else "")
                if id(inner) in around:
                    yield f"{head}node {name!r} ({draft.at}): the Dag contains itself"
                elif not (inner.drafts or inner.problems):
                    yield f"{head}node {label!r} ({draft.at}): its DAG is empty; add a node to it"
                else:
                    trail.append(label)
                    yield inner._problems(trail, around)
                    trail.pop()
        around.discard(id(self))

    def _own_problems(self) -> list[str]:
        if not self.drafts:
            return [*self.problems, "the DAG is empty; add a node with dag.node(name, function)"]
        known = [(a, b) for a, b in self.edges if a != b and {a, b} <= self.drafts.keys()]
        return [*self.problems, *self._edge_problems(), *cycles(known, self.drafts)]

    def _edge_problems(self) -> list[str]:
        found = []
        for edge in self.edges.values():
            label = f"edge {edge.source!r} -> {edge.target!r} ({edge.at})"
            for end in dict.fromkeys((edge.source, edge.target)):
                if end not in self.drafts:
                    found.append(f"{label}: no node {end!r}{nearest(end, self.drafts)}")
            if edge.source == edge.target:
                found.append(f"{label}: a node cannot wait for itself")
        return found

    def _freeze(self, prefix: str, code: dict[str, Functions]) -> Computation[Graph]:
        nodes = {}
        forwarders: dict[str, dict[str, Function]] = {name: {} for name in self.drafts}
        for edge in self.edges.values():
            if edge.forwarder is not None:
                forwarders[edge.source][edge.target] = edge.forwarder
        for name, draft in self.drafts.items():
            path = prefix + name
            code[path] = _functions(draft, forwarders[name])
            dags = {}
            for key, inner in draft.dags.items():
                dags[key] = yield inner._freeze(f"{path}{mark(draft.kind, key)}", code)
            nodes[name] = _node(draft, dags)
        edges = tuple(
            Edge(e.source, e.target, e.execution_only, e.forwarder is not None)
            for e in self.edges.values()
        )
        return Graph(nodes, edges)


def _functions(draft: Draft, forwarders: dict[str, Function]) -> Functions:
    return Functions(
        works=tuple(draft.works),
        aggregator=draft.functions.get("aggregator"),
        on_failure=draft.functions.get("on_failure"),
        choose=draft.functions.get("condition") or draft.functions.get("foreach"),
        forwarders=forwarders,
    )


def _node(draft: Draft, dags: dict[str, Graph]) -> Node:
    return Node(
        name=draft.name,
        kind=draft.kind,
        aggregator="aggregator" in draft.functions,
        on_failure="on_failure" in draft.functions,
        execution_only=draft.branch_only,
        max_parallel=draft.max_parallel,
        dags=dags,
        **draft.options,
    )
