"""How several payloads become one: before a node, behind a branch, at the ends of a DAG.

The author's aggregator decides where there is one. Else one payload is passed on as it is, and several become a
JSON object or list, in the order of the definition, of the chosen keys or of the items: never in that of arrival.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from goflow.draft import Functions
from goflow.message import Input, Task
from goflow.nodepath import Place, decode_key, is_planned
from goflow.payload import EMPTY, Payload, encode, join_list, join_object
from goflow.plan import Node, Plan
from goflow.workflow import Context


def in_order(plan: Plan, task: Task, inputs: Sequence[Input]) -> dict[str, Payload]:
    """What carries something, by the names an author knows, in declared (or chosen) order."""
    found = {each.source: each.payload for each in inputs if each.payload is not None}
    if not is_planned(task.path):
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


def gather(
    place: Place, code: Functions, present: Mapping[str, Payload], context: Context
) -> Payload:
    """The one payload a node works on, by the rules above."""
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


def close(
    node: Node, code: Functions, task: Task, present: Mapping[str, Payload], context: Context
) -> Payload:
    """The result of a branch or sub-DAG from those of its scopes."""
    if node.kind == "sub_dag":
        ends = node.dags[""].ends
        return present[ends[0]] if len(ends) == 1 else join_ends(ends, present)
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


def join_ends(ends: Sequence[str], present: Mapping[str, Payload]) -> Payload:
    """The results of several end nodes, as that of their DAG."""
    advice = f"let a node with an aggregator follow {', '.join(ends)}"
    return join_object(((end, present[end]) for end in ends), advice)
