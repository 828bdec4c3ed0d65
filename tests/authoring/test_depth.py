"""Flows nested deeper than Python's stack, or any reader of JSON, would carry."""

from __future__ import annotations

import hashlib
import json
import sys
from typing import Any

import msgspec
import pytest

from goflow import Dag, Payload
from goflow.errors import DefinitionError, UnknownNode
from goflow.extent import MAX_PATHS
from goflow.nodepath import around, owners
from goflow.plan import Graph, Node, Plan
from goflow.rewind import rewind_from
from goflow.tally import StaticPaths
from goflow.testing import Simulation
from goflow.unnested import Computation, computed
from goflow.workflow import Workflow, build

#: deeper than any stack: Python's has 1,000 frames, and msgspec's JSON nests about 300 of these levels
DEEP = 2_000


def nested(levels: int) -> Dag:
    """A leaf inside sub-DAGs, foreach and conditional branches by turns."""
    dag = Dag()
    dag.node("leaf", lambda data: data + b"!")
    for level in range(levels):
        outer = Dag()
        outer.node("a", lambda data: data)
        if level % 3 == 0:
            outer.sub_dag("s", dag)
        elif level % 3 == 1:
            outer.foreach_branch(
                "s", lambda data: {"k 1": data}, aggregator=lambda made: made["k 1"]
            ).append(dag)
        else:
            outer.conditional_branch("s", ["x/y"], lambda data: "x/y")["x/y"].append(dag)
        outer.edge("a", "s")
        dag = outer
    return dag


def plan(levels: int) -> Plan:
    return Plan("deep", nested(levels).freeze()[0])


def leaf(shape: Plan) -> str:
    """The path of the innermost node, in the scopes that a run opens."""
    statics = (path for path, _ in shape.walk())
    return next(path for path in statics if path.endswith("leaf")).replace("[]", "[k%201]")


def steps(shape: Plan) -> list[tuple[str, str]]:
    return [(path, node.kind) for path, node in shape.walk()]


@pytest.mark.parametrize("levels", [0, 98, 99, 100, 101, DEEP])
def test_a_plan_of_any_depth_comes_back_from_json_as_it_was(levels: int) -> None:
    shape = plan(levels)
    again = Plan.from_json(shape.to_json())
    assert steps(again) == steps(shape)
    assert again.fingerprint == shape.fingerprint
    assert again.to_json() == shape.to_json()


def test_what_other_versions_can_read_is_written_as_they_do() -> None:
    shape = plan(98)
    assert msgspec.json.decode(shape.to_json(), type=Plan) == shape
    with pytest.raises(msgspec.ValidationError, match="graph"):  # and no half of a flow
        msgspec.json.decode(plan(101).to_json(), type=Plan)


def test_a_fingerprint_is_over_the_same_bytes_at_any_depth() -> None:
    def canonical(graph: Graph) -> list[Any]:
        told: list[Any] = []
        for node in graph.nodes.values():
            options = {f: getattr(node, f) for f in Node.__struct_fields__ if f != "dags"}
            told.append([options, [[key, canonical(inner)] for key, inner in node.dags.items()]])
        edges = [[e.source, e.target, e.execution_only, e.forwarder] for e in graph.edges]
        return [*told, edges]

    for levels in (0, 1, 2, 3, 50):
        shape = plan(levels)
        whole = msgspec.json.encode([canonical(shape.graph), "deep", False, False, None])
        assert shape.fingerprint == hashlib.sha256(whole).hexdigest()[:16]


@pytest.mark.parametrize(
    "written",
    [
        b'{"flow":"f","graphs":[],"inside":[]}',
        b'{"flow":"f","graphs":[{"nodes":{"a":{"name":"a"}}}],"inside":[[0,"a",""]]}',
        b'{"flow":"f","graphs":[{"nodes":{}},{"nodes":{}}],"inside":[[0,"a",""]]}',
        b'{"flow":"f","graphs":[{"nodes":{"a":{"name":"a"}}},{"nodes":{}}],"inside":[[1,"a",""]]}',
        b'{"flow":"f","graphs":[{"nodes":{"a":{"name":"a"}}},{"nodes":{}}],"inside":[[-1,"a",""]]}',
    ],
)
def test_a_flat_plan_whose_graphs_lie_nowhere_is_refused(written: bytes) -> None:
    with pytest.raises(msgspec.ValidationError):
        Plan.from_json(written)


def test_a_path_leads_as_deep_as_it_goes_and_back_out() -> None:
    shape = plan(DEEP)
    path = leaf(shape)
    place = shape.locate(path)
    assert (place.node.name, place.path) == ("leaf", path)
    assert place.static.replace("[]", "[k%201]") == path
    outwards = list(shape.around(path))
    assert [each.path for each in outwards] == list(owners(path))
    assert len(outwards) == DEEP
    assert all(shape.locate(each.path) == each for each in outwards[::100])
    with pytest.raises(UnknownNode):
        shape.locate(path.replace("/leaf", "[x]/leaf"))


def test_ways_through_a_flow_that_begin_alike_do_not_confuse_one_another() -> None:
    dag = Dag()
    for name in ("a", "ab"):
        inner = Dag()
        for below in ("b", "bc"):
            inner.sub_dag(below, nested(2))
        dag.sub_dag(name, inner)
    shape = Plan("alike", dag.freeze()[0])
    paths = [path for path, _ in shape.walk()]
    fresh = {path: Plan("alike", shape.graph).locate(path) for path in paths}
    for path in [*paths, *reversed(paths), *sorted(paths, key=len)]:
        shape._places.clear()
        shape._inner_places.clear()
        assert shape.locate(path) == fresh[path]


def test_static_paths_of_deep_instances_are_theirs() -> None:
    shape = plan(DEEP)
    static = StaticPaths(shape)
    path = leaf(shape)
    assert static(path) == shape.locate(path).static
    assert {static(each) for each in around([path])} == {each.static for each in shape.around(path)}


def test_a_deep_flow_runs() -> None:
    def define(workflow: Workflow, context: object) -> None:
        workflow.dag = nested(DEEP)

    flow = build("deep", define)
    simulation = Simulation(flow, Payload(b"x"))
    assert simulation.run().data == b"x!"
    assert len(simulation.states) == 2 * DEEP + 1


def test_repeating_the_innermost_node_undoes_every_branch_around_it() -> None:
    shape = plan(300)
    undone = rewind_from(shape, leaf(shape))
    assert undone.reopened == tuple(owners(leaf(shape)))


def test_a_definition_tells_what_is_too_deep_for_readers_of_json_apart() -> None:
    shape = plan(250)
    told = json.loads(json.dumps(shape.definition()))
    found = [len(told["deeper"])]
    graph: dict[str, Any] = told
    for level in range(250):
        node = graph["nodes"][1]
        (graph,) = node["conditions"].values() if "conditions" in node else (node["dag"],)
        if "deeper" in graph:
            found.append(level)
            graph = told["deeper"][graph["deeper"]]
    assert [node["name"] for node in graph["nodes"]] == ["leaf"]
    assert found == [2, 99, 199]
    assert "deeper" not in plan(99).definition()


def test_a_dag_inside_itself_is_found_a_thousand_levels_down() -> None:
    inmost = Dag()
    dag = inmost
    for _ in range(1_000):
        outer = Dag()
        outer.sub_dag("in", dag)
        dag = outer
    inmost.sub_dag("again", dag)
    with pytest.raises(DefinitionError) as raised:
        dag.validate()
    (problem,) = raised.value.problems
    assert "the Dag contains itself" in problem
    assert "... (980 more) ..." in problem


def test_paths_that_no_memory_holds_are_refused_with_what_they_come_to() -> None:
    name = "n" * 64
    dag = nested(0)
    for _ in range(3_000):
        outer = Dag()
        outer.sub_dag(name, dag)
        dag = outer
    with pytest.raises(DefinitionError) as raised:
        dag.validate()
    (problem,) = raised.value.problems
    assert "nested 3,001 levels deep" in problem
    assert f"at most {MAX_PATHS:,} are allowed" in problem


def test_what_an_inner_computation_raises_reaches_the_one_that_waits() -> None:
    def down(levels: int) -> Computation[int]:
        if not levels:
            raise ValueError("the ground")
        try:
            below: int = yield down(levels - 1)
        except ValueError:
            if levels < 3 * sys.getrecursionlimit():
                raise
            return levels
        return below

    assert computed(down(3 * sys.getrecursionlimit() + 5)) == 3 * sys.getrecursionlimit()
    with pytest.raises(ValueError, match="the ground"):
        computed(down(5))
