"""The waterfall: what decided when a run ended, and where its time went."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goflow.backend import NodeRun
from goflow.dag import Dag
from goflow.plan import Plan
from goflow.state import NodeState
from goflow.testing.driver import Simulation, as_flow
from goflow.waterfall import bars, critical_path


def plan_of(dag: Dag) -> Plan:
    return as_flow(dag).plan


def ran(path: str, started: float, finished: float, **more: object) -> NodeRun:
    return NodeRun(
        path=path,
        state=NodeState.SUCCEEDED,
        attempt=1,
        ready=started,
        started=started,
        finished=finished,
        **more,  # type: ignore[arg-type]
    )


def diamond() -> Dag:
    dag = Dag()
    dag.node("a") >> [dag.node("b"), dag.node("c")] >> dag.node("d")
    return dag


def test_the_slower_arm_of_a_diamond_is_critical() -> None:
    nodes = [ran("a", 0, 1), ran("b", 1, 5), ran("c", 1, 3), ran("d", 5, 6)]
    assert critical_path(plan_of(diamond()), nodes) == ["a", "b", "d"]


def test_a_branch_is_seen_through_to_its_slowest_item() -> None:
    dag = Dag()
    each = dag.foreach_branch("each", lambda data: data)
    each.node("p") >> each.node("q")
    dag.node("a") >> dag.node("z")
    dag.edge("a", "each")
    nodes = [
        ran("a", 0, 1),
        ran("each", 1, 9, width=2, keys=("x", "y")),
        ran("each[x]/p", 1, 2),
        ran("each[x]/q", 2, 3),
        ran("each[y]/p", 1, 4),
        ran("each[y]/q", 4, 9),
        ran("z", 1, 2),
    ]
    assert critical_path(plan_of(dag), nodes) == ["a", "each[y]/p", "each[y]/q"]


def test_many_items_are_one_bar_with_their_spread() -> None:
    dag = Dag()
    dag.foreach_branch("each", lambda data: data).node("p")
    nodes = [ran("each", 0, 101, width=100)]
    nodes += [ran(f"each[{i}]/p", i, i + (1 + i) / 10) for i in range(100)]
    [bar] = bars(plan_of(dag), nodes, now=200)
    assert (bar.path, bar.count, bar.critical) == ("each[]/p", 100, True)
    assert (bar.ran, bar.late, bar.slowest) == pytest.approx((5.1, 9.6, 10.0))


def nested() -> Dag:
    dag = Dag()
    inner = Dag()
    inner.node("i") >> [inner.node("j"), inner.node("k")]
    each = dag.foreach_branch("each", lambda data: {"x": b"1", "y": b"2"})
    each.sub_dag("sub", inner) >> each.node("after")
    kind = dag.conditional_branch("kind", ["l", "r"], lambda data: ["l", "r"])
    kind["l"].node("l1") >> kind["l"].node("l2")
    kind["r"].node("r1")
    dag.node("a") >> dag.node("b")
    dag.node("z")
    for source, target in (("a", "each"), ("a", "kind"), ("each", "z"), ("kind", "z")):
        dag.edge(source, target)
    return dag


@given(st.lists(st.integers(0, 50), min_size=60, max_size=60))
def test_a_critical_path_is_a_chain_in_time_from_a_start_to_the_last_end(order: list[int]) -> None:
    flow = as_flow(nested())
    simulation = Simulation(flow)
    picks = iter(order)
    simulation.run(choose=lambda ready: next(picks, 0) % len(ready))
    begun: dict[str, int] = {}
    for time, done in enumerate(simulation.order):
        begun.setdefault(done, time)
    ended = {done: time + 1 for time, done in enumerate(simulation.order)}
    nodes = []
    for done, start in begun.items():
        opened = simulation._opened.get(done)
        more = {} if opened is None else {"width": opened.expects, "keys": opened.keys}
        nodes.append(ran(done, start, ended[done], **more))
    path = critical_path(flow.plan, nodes)
    plain = [node.path for node in nodes if node.width is None and node.path[-1] != "]"]
    ends = [p for p in plain if p in ("b", "z")]
    assert path[0] == "a"
    assert path[-1] == max(ends, key=lambda each: ended[each])
    assert set(path) <= set(plain)
    for one, next_ in pairwise(path):
        assert ended[one] <= begun[next_]


def test_trace_draws_every_node_and_marks_the_critical_ones(tmp_path: Path) -> None:
    (tmp_path / "flow.py").write_text(
        "import goflow\n"
        "@goflow.flow('f')\n"
        "def f(workflow, context):\n"
        "    d = workflow.dag\n"
        "    d.node('a') >> [d.node('b'), d.node('c')] >> d.node('d')\n"
    )
    env = {**os.environ, "XDG_STATE_HOME": str(tmp_path), "COLUMNS": "72"}

    def goflow(*arguments: str) -> str:
        command = [sys.executable, "-m", "goflow_cli.main", *arguments]
        done = subprocess.run(
            command, check=True, capture_output=True, text=True, env=env, cwd=tmp_path
        )
        return done.stdout

    goflow("run", str(tmp_path / "flow.py"), "--request-id", "r1")
    page = goflow("trace", "r1").splitlines()
    assert [line.split()[0] for line in page[2:6]] == ["a", "b", "c", "d"]
    assert all(len(line) <= 72 for line in page)
    told = json.loads(goflow("trace", "r1", "--json"))
    assert told["critical_path"][0] == "a"
    assert told["critical_path"][-1] == "d"
    marked = {line.split()[0] for line in page[2:6] if " * " in line}
    assert marked == set(told["critical_path"])
