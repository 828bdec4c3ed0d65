"""Sub-DAGs, and branches inside branches."""

from __future__ import annotations

import pytest

from goflow import Dag, Payload, RunFailed
from goflow.payload import EMPTY, JSON
from goflow.state import NodeState
from goflow.testing import Simulation, run
from goflow.testing.driver import as_flow
from tests.authoring.flows import conditional, fails, failure, gives, parallel, show


def test_a_sub_dag_gives_the_result_of_its_end() -> None:
    inner = Dag()
    inner.node("a", show) >> inner.node("b", show)
    dag = Dag()
    dag.sub_dag("one", inner) >> dag.sub_dag("two", inner)
    assert run(dag, b"x").text() == "<<<<x>>>>"


def test_several_ends_of_a_sub_dag_join_to_an_object() -> None:
    inner = Dag()
    inner.node("z", gives(1))
    inner.node("a", gives(None))
    dag = Dag()
    dag.sub_dag("sub", inner) >> dag.node("after", show)
    assert run(dag).text() == '<{"z":1,"a":null}>'


def test_raw_bytes_of_a_sub_dags_several_ends_say_what_to_do() -> None:
    inner = Dag()
    inner.node("z", gives(b"\xff"))
    inner.node("a")
    dag = Dag()
    dag.sub_dag("sub", inner)
    assert "let a node with an aggregator follow z, a" in failure(dag)


@pytest.mark.parametrize("kind", ["sub_dag", "conditional", "foreach"])
def test_several_inputs_of_a_branch_or_sub_dag_join_before_it(kind: str) -> None:
    dag = parallel("1", "2")
    inner = Dag()
    if kind == "sub_dag":
        dag.sub_dag("branch", inner)
    elif kind == "conditional":
        inner = dag.conditional_branch("branch", ["k"], gives("k"), aggregator=fails)["k"]
    else:
        inner = dag.foreach_branch("branch", lambda data: [data], aggregator=fails)
    inner.node("x", lambda data: Payload(data, JSON))
    dag.edge("a", "branch")
    dag.edge("b", "branch")
    simulation = Simulation(as_flow(dag))
    if kind == "sub_dag":
        assert simulation.run().json()["branch"] == {"a": "2", "b": "1"}
    else:
        with pytest.raises(RunFailed, match="branch: ValueError: boom"):
            simulation.run(lambda ready: len(ready) - 1)
    (inner_output,) = [p for path, p in simulation.outputs.items() if path.endswith("/x")]
    assert inner_output.json() == {"a": "2", "b": "1"}


def test_raw_bytes_before_a_branch_advise_a_node_in_between() -> None:
    dag = parallel("1", b"\xff", aggregator=gives(""))
    dag.foreach_branch("each", gives([])).node("x")
    dag.edge("b", "each")
    dag.edge("a", "each")
    assert "put a node with an aggregator before each" in failure(dag)


def test_branches_nest_to_any_depth() -> None:
    dag = Dag()
    inner = dag.foreach_branch("outer", gives({"x": "1", "y": "2"}))
    branches = inner.conditional_branch("kind", ["1", "2"], lambda data: data.decode())
    deepest = Dag()
    deepest.node("leaf", lambda data, context: context.node)
    deepest.foreach_branch("items", lambda data: [data, data]).node(
        "leaf", lambda data, context: context.node
    )
    for branch in branches.values():
        branch.sub_dag("deep", deepest)
    assert run(dag).json() == {
        "x": {
            "leaf": "outer[x]/kind[1]/deep/leaf",
            "items": ["outer[x]/kind[1]/deep/items[0]/leaf", "outer[x]/kind[1]/deep/items[1]/leaf"],
        },
        "y": {
            "leaf": "outer[y]/kind[2]/deep/leaf",
            "items": ["outer[y]/kind[2]/deep/items[0]/leaf", "outer[y]/kind[2]/deep/items[1]/leaf"],
        },
    }


def test_what_is_inside_an_execution_only_branch_still_gets_data() -> None:
    seen: list[str] = []

    def note(data: str) -> str:
        seen.append(data)
        return data + "!"

    dag = Dag()
    inner = dag.foreach_branch("each", gives(["a", "b"]), execution_only=True)
    inner.node("one", note) >> inner.node("two", note)
    inner.node("other", gives(b"\xff"))
    assert run(dag) == EMPTY
    assert sorted(seen) == ["a", "a!", "b", "b!"]


def test_every_node_of_a_run_is_succeeded_at_its_end() -> None:
    simulation = Simulation(as_flow(conditional(["pass", "fail"])), Payload(b"in"))
    simulation.run()
    assert simulation.states == dict.fromkeys(
        ["kind", "kind[pass]/mark", "kind[fail]/mark", "end"], NodeState.SUCCEEDED
    )
