"""The waterfall: what decided when a run ended, and where its time went."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from goflow.backend import Attempt, NodeRun, Run
from goflow.critical import critical_path
from goflow.dag import Dag
from goflow.drawing.text import cut_middle
from goflow.message import Arrival
from goflow.payload import Payload
from goflow.plan import Plan
from goflow.state import NodeState, RunState
from goflow.testing.driver import Simulation, as_flow
from goflow.waterfall import Spread, waterfall
from goflow.workflow import Flow
from goflow_cli.views.drawing import Screen
from goflow_cli.views.waterfall import page


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


def run(created: float, finished: float, **more: object) -> Run:
    return Run(
        id="r",
        flow="test",
        state=RunState.SUCCEEDED,
        created=created,
        started=created,
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


def test_a_branch_counts_by_when_it_closed() -> None:
    dag = Dag()
    dag.foreach_branch("each", lambda data: data, aggregator=len).node("p")
    dag.node("other") >> dag.node("z")
    dag.edge("each", "z")
    nodes = [
        ran("each", 0, 9, width=1),
        ran("each[0]/p", 0, 2),
        ran("other", 0, 5),
        ran("z", 9, 10),
    ]
    assert critical_path(plan_of(dag), nodes) == ["each[0]/p", "z"]


def test_many_items_are_one_bar_with_their_percentiles() -> None:
    dag = Dag()
    dag.foreach_branch("each", lambda data: data).node("p")
    nodes = [ran("each", 0, 101, width=100)]
    nodes += [ran(f"each[{i}]/p", i, i + (1 + i) / 10) for i in range(100)]
    fall = waterfall(plan_of(dag), run(0, 200), nodes, [], now=200)
    assert fall is not None
    branch, bar = fall.bars
    assert (branch.path, branch.branch, branch.critical) == ("each", True, True)
    assert (bar.path, bar.count, bar.critical) == ("each[]/p", 100, True)
    assert bar.runs is not None
    assert (bar.runs.p50, bar.runs.p90, bar.runs.p99, bar.runs.max) == pytest.approx(
        (5, 9, 9.9, 10)
    )


@given(st.lists(st.floats(0, 1e6), min_size=1))
def test_percentiles_are_values_that_so_many_do_not_exceed(values: list[float]) -> None:
    spread = Spread.of(values)
    for value, percent in ((spread.p50, 50), (spread.p90, 90), (spread.p99, 99), (spread.max, 100)):
        below = sum(each <= value for each in values)
        assert value in values
        assert below * 100 >= percent * len(values)
        assert sum(each < value for each in values) * 100 < percent * len(values)


def test_a_night_between_two_rounds_is_no_work() -> None:
    dag = Dag()
    dag.node("a") >> dag.node("b")
    nodes = [ran("a", 0, 2), ran("b", 1000, 1003, round=1)]
    attempts = [
        Attempt(path="a", round=1, attempt=1, state="succeeded", started=0, finished=2, ready=0),
        Attempt(path="b", round=1, attempt=1, state="failed", started=4, finished=5, ready=2),
        Attempt(
            path="b", round=2, attempt=1, state="succeeded", started=1000, finished=1003, ready=999
        ),
    ]
    fall = waterfall(plan_of(dag), run(0, 1003, round=2), nodes, attempts, now=5000)
    assert fall is not None
    assert fall.gaps == ((5, 1000),)
    assert fall.took == 5 + 3
    assert (fall.ran, fall.queued) == (2 + 1 + 3, 2)
    b = fall.bars[-1]
    assert (b.ran, b.queued) == (4, 2)
    assert [piece.kind for piece in b.pieces] == ["waited", "failed", "ran"]


def test_a_retry_delay_is_neither_waiting_nor_running() -> None:
    dag = Dag()
    dag.node("a", retries=1)
    nodes = [replace(ran("a", 12, 13), ready=0.0, attempt=2)]
    attempts = [
        Attempt(path="a", round=1, attempt=1, state="failed", started=0, finished=1, ready=0),
        Attempt(path="a", round=1, attempt=2, state="succeeded", started=12, finished=13, ready=11),
    ]
    fall = waterfall(plan_of(dag), run(0, 13), nodes, attempts, now=20)
    assert fall is not None
    assert (fall.took, fall.ran, fall.queued) == (13, 2, 1)


def test_what_was_lost_with_a_worker_is_told_apart() -> None:
    """Both attempts are the first of the first round: a loss is no attempt too many."""
    dag = Dag()
    dag.node("a")
    lost = Attempt(
        path="a",
        round=1,
        attempt=1,
        state="lost",
        started=2,
        finished=32,
        worker="vm:1581",
        ready=1,
    )
    nodes = [replace(ran("a", 33, 36), ready=32.0)]
    won = Attempt(
        path="a", round=1, attempt=1, state="succeeded", started=33, finished=36, ready=32
    )
    fall = waterfall(plan_of(dag), run(1, 36), nodes, [lost, won], now=40)
    assert fall is not None
    assert (fall.lost, fall.lost_with, fall.queued, fall.ran) == (30, ("vm:1581",), 2, 3)
    assert [(p.kind, p.begin, p.end) for p in fall.bars[0].pieces] == [
        ("waited", 1, 2),
        ("lost", 2, 32),
        ("waited", 32, 33),
        ("ran", 33, 36),
    ]
    page_of = "\n".join(
        "".join(text for text, _ in line)
        for line in page(run(1, 36), fall, Screen(80, 0, False, True))
    )
    assert "30 s lost with vm:1581" in " ".join(page_of.split())
    assert page_of.count("▚") > 20


def test_a_node_that_waits_after_a_loss_has_lost_its_time_not_failed() -> None:
    dag = Dag()
    dag.node("a")
    lost = Attempt(path="a", round=1, attempt=1, state="lost", started=2, finished=32, worker="7")
    node = NodeRun(path="a", state=NodeState.READY, attempt=1, ready=32, started=2)
    fall = waterfall(plan_of(dag), run(1, 36), [node], [lost], now=40)
    assert fall is not None
    assert [piece.kind for piece in fall.bars[0].pieces] == ["lost"]


@pytest.mark.parametrize("columns", [3, 4, 12, 20])
def test_a_long_path_is_cut_where_paths_are_alike(columns: int) -> None:
    shown = cut_middle("each[alice]/check/detail/verify_a", columns)
    assert len(shown) == columns
    assert shown.endswith("_a"[: columns - 1]) or columns == 3
    assert cut_middle("each", 4) == "each"


@st.composite
def dags(draw: st.DrawFn, depth: int = 2) -> Dag:
    """Up to five nodes, any of them a branch or a sub-DAG, with whatever edges."""
    dag = Dag()
    names = "abcde"[: draw(st.integers(1, 5 if depth == 2 else 3))]
    for name in names:
        kind = draw(st.sampled_from(["node", "node", "sub_dag", "foreach", "conditional"]))
        if kind == "node" or not depth:
            dag.node(name)
        elif kind == "sub_dag":
            dag.sub_dag(name, draw(dags(depth=depth - 1)))
        elif kind == "foreach":
            width = draw(st.integers(0, 2))
            dag.foreach_branch(name, lambda data, width=width: range(width)).append(
                draw(dags(depth=depth - 1))
            )
        else:
            chosen = draw(st.sampled_from([[], ["l"], ["r", "l"]]))
            branches = dag.conditional_branch(name, ["l", "r"], lambda data, chosen=chosen: chosen)
            for branch in branches.values():
                branch.append(draw(dags(depth=depth - 1)))
    for number, target in enumerate(names):
        for source in names[:number]:
            if draw(st.sampled_from([True, False, False])):
                dag.edge(source, target, execution_only=draw(st.booleans()))
    return dag


class Traced(Simulation):
    """A simulation that takes random time, and notes what every step of it really waited for."""

    def __init__(self, flow: Flow, times: Iterator[float]) -> None:
        self.times = times
        self.now = 0.0
        self.step = ("", False)
        self.waited: dict[tuple[str, bool], set[tuple[str, bool]]] = {}
        self.begun: dict[tuple[str, bool], float] = {}
        self.ended: dict[tuple[str, bool], float] = {}
        super().__init__(flow)

    def _deliver(self, arrival: Arrival, payload: Payload | None = None) -> None:
        if self.step[0]:
            self.waited.setdefault((arrival.target, arrival.closing), set()).add(self.step)
        super()._deliver(arrival, payload)

    def _execute(self, path: str, closing: bool) -> None:
        self.step = (path, closing)
        if closing:
            self.waited[self.step].add((path, False))
        self.begun[self.step] = self.now
        self.now += next(self.times)
        self.ended[self.step] = self.now
        super()._execute(path, closing)

    def nodes(self) -> list[NodeRun]:
        """What a store would have recorded."""
        found = []
        for path, closing in self.begun:
            if closing:
                continue
            opened = self._opened.get(path)
            more = {} if opened is None else {"width": opened.expects, "keys": opened.keys}
            finished = self.ended.get((path, True), self.ended[path, False])
            found.append(ran(path, self.begun[path, False], finished, **more))
        return found

    def chains(self, step: tuple[str, bool]) -> Iterator[list[tuple[str, bool]]]:
        """Every chain of steps that leads to this one."""
        before = self.waited.get(step, set())
        if not before:
            yield [step]
        for each in before:
            for chain in self.chains(each):
                yield [*chain, step]


@settings(max_examples=60)
@given(dags(), st.lists(st.integers(0, 50), min_size=80, max_size=80), st.data())
def test_the_critical_path_is_what_brute_force_finds(
    dag: Dag, order: list[int], data: st.DataObject
) -> None:
    """Of all chains of what waited for what, the one whose every link ended last, seen from its end."""
    flow = as_flow(dag)
    seed = data.draw(st.randoms(use_true_random=False))
    simulation = Traced(flow, iter(lambda: seed.uniform(0.001, 1.0), None))
    picks = iter(order)
    simulation.run(choose=lambda ready: next(picks, 0) % len(ready))
    opened = simulation._opened
    ends = {(end, True) if end in opened else (end, False) for end in flow.plan.graph.ends}
    chains = [chain for end in ends for chain in simulation.chains(end)]
    best = max(chains, key=lambda chain: [simulation.ended[step] for step in reversed(chain)])
    told = [p for p, _ in best if p not in opened and not p.endswith("]")]
    assert critical_path(flow.plan, simulation.nodes()) == told


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
