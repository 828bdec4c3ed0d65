"""Plan and records combined: what is told of every node, reached or not."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest

from goflow.backend import NodeRun
from goflow.notable import NOTABLE
from goflow.overview import overview
from goflow.plan import Node, Plan
from goflow.rows import Row, rows
from goflow.state import NodeState, RunState
from tests.views.samples import (
    KIND,
    PLANS,
    RUNS,
    T,
    conditional,
    foreach,
    graph,
    node,
    run,
    seen,
    sub_dag,
)


def states(plan: Plan, state: str, nodes: list[NodeRun]) -> dict[str, str]:
    return {path: each.state.value for path, each in seen(plan, state, nodes).nodes.items()}


def listed(plan: Plan, state: str, nodes: list[NodeRun]) -> dict[str, str]:
    return {row.path: row.state.value for row in rows(plan, run(state), nodes)}


CHAIN = PLANS["chain"]
COND = Plan("c", graph("kind end", "kind>end", kind=KIND))
FAN = Plan("f", graph("each end", "each>end", each=foreach("each", graph("a b", "a>b"))))
SUB = Plan("s", graph("kyc end", "kyc>end", kyc=sub_dag("kyc", graph("a b", "a>b"))))


def test_what_is_not_recorded_waits() -> None:
    assert states(CHAIN, "queued", []) == dict.fromkeys(("fetch", "parse", "store"), "waiting")


def test_what_a_failed_run_did_not_reach_is_skipped() -> None:
    nodes = [node("fetch", "failed", 0, 1, error="E"), node("parse", "waiting")]
    expected = {"fetch": "failed", "parse": "skipped", "store": "skipped"}
    assert states(CHAIN, "failed", nodes) == expected
    assert listed(CHAIN, "failed", nodes) == expected


@pytest.mark.parametrize("state", ["stopping", "stopped"])
def test_what_a_stopped_run_did_not_reach_is_stopped(state: str) -> None:
    nodes = [node("fetch", "succeeded", 0, 1), node("parse", "ready")]
    expected = {"fetch": "succeeded", "parse": "stopped", "store": "stopped"}
    assert states(CHAIN, state, nodes) == expected
    assert listed(CHAIN, state, nodes) == expected


def test_a_run_about_to_fail_starts_nothing_more_but_its_running_nodes_run() -> None:
    ending = msgspec.structs.replace(run("running"), ending=RunState.FAILED)
    nodes = [node("a", "failed", 0, 1), node("b", "running", 0), node("c", "ready")]
    plan = Plan("p", graph("a b c"))
    told = overview(plan, ending, nodes).nodes
    assert [each.state for each in told.values()] == ["failed", "running", "skipped"]


def test_keys_that_were_not_chosen_are_skipped() -> None:
    nodes = [node("kind", "running", 0, width=1, keys=["pass"])]
    told = states(COND, "running", nodes)
    assert told["kind[pass]/face-detect"] == "waiting"
    assert told["kind[fail]/report"] == "skipped"
    assert told["end"] == "waiting"
    assert seen(COND, "running", nodes).nodes["kind"].chosen == frozenset({"pass"})


def test_a_condition_that_chose_nothing_skips_all_its_keys() -> None:
    told = states(COND, "running", [node("kind", "succeeded", 0, 1)])
    assert {told[path] for path in told if path.startswith("kind[")} == {"skipped"}


def test_a_branch_that_is_not_open_leaves_its_nodes_waiting() -> None:
    assert set(states(COND, "running", [node("kind", "running", 0)]).values()) == {
        "waiting",
        "running",
    }


def test_an_empty_foreach_skips_what_is_inside() -> None:
    told = states(FAN, "running", [node("each", "succeeded", 0, 1)])
    assert told["each[]/a"] == "skipped"


def test_a_foreach_is_summed_up() -> None:
    nodes = [
        node("each", "running", 0, width=3, done=1, keys=["x", "y", "z"]),
        node("each[x]/a", "succeeded", 1, 2),
        node("each[x]/b", "succeeded", 2, 3),
        node("each[y]/a", "running", 2),
    ]
    told = seen(FAN, "running", nodes).nodes
    a, b = told["each[]/a"], told["each[]/b"]
    assert (told["each"].width, told["each"].done) == (3, 1)
    assert (a.state, a.instances) == ("running", 3)
    assert a.counts == {"succeeded": 1, "running": 1, "waiting": 1}
    assert (a.started, a.finished) == (T + 1, None)
    assert (b.state, b.counts) == ("running", {"succeeded": 1, "waiting": 2})


def test_one_failed_instance_makes_the_summary_failed() -> None:
    nodes = [
        node("each", "running", 0, width=2),
        node("each[0]/a", "succeeded", 1, 2),
        node("each[1]/a", "failed", 1, 2, error="boom"),
    ]
    told = seen(FAN, "failed", nodes).nodes
    assert (told["each[]/a"].state, told["each[]/a"].error) == ("failed", "boom")
    assert told["each"].state == "failed"
    assert told["each[]/b"].counts == {"skipped": 2}


def test_an_open_branch_of_a_stopped_run_is_stopped() -> None:
    nodes = [node("kyc", "running", 0, width=1), node("kyc/a", "stopped", 0, 1)]
    assert states(SUB, "stopped", nodes)["kyc"] == "stopped"
    everything = dict.fromkeys(("kyc", "kyc/a", "kyc/b", "end"), "stopped")
    assert listed(SUB, "stopped", nodes) == everything


def test_nested_scopes_multiply() -> None:
    inner = foreach("inner", graph("leaf"))
    plan = Plan("p", graph("outer", outer=foreach("outer", graph("inner", inner=inner))))
    nodes = [
        node("outer", "running", 0, width=2),
        node("outer[0]/inner", "running", 0, width=3),
        node("outer[1]/inner", "running", 0, width=4),
        node("outer[1]/inner[2]/leaf", "succeeded", 0, 1),
    ]
    leaf = seen(plan, "running", nodes).nodes["outer[]/inner[]/leaf"]
    assert (leaf.instances, leaf.counts) == (7, {"succeeded": 1, "waiting": 6})


def test_encoded_keys_find_their_node() -> None:
    plan = Plan("p", graph("k", k=Node("k", "conditional", dags={"a b/[c]": graph("x")})))
    nodes = [
        node("k", "running", 0, width=1, keys=["a%20b%2F%5Bc%5D"]),
        node("k[a%20b%2F%5Bc%5D]/x", "succeeded", 0, 1),
    ]
    assert states(plan, "running", nodes)["k[a%20b%2F%5Bc%5D]/x"] == "succeeded"


def test_joins_are_listed_only_where_they_failed() -> None:
    nodes = [
        node("each", "running", 0, width=2),
        node("each[0]", "succeeded", 0, 1),
        node("each[1]", "failed", 0, 1, error="E"),
        node("~result", "succeeded", 0, 1),
        node("~on_failure", "succeeded", 0, 1),
        node("~finally", "running", 0),
    ]
    told = listed(FAN, "running", nodes)
    assert "each[0]" not in told
    assert "~result" not in told
    assert told["each[1]"] == "failed"
    assert (told["~on_failure"], told["~finally"]) == ("succeeded", "running")


def test_rows_are_told_while_the_nodes_are_read() -> None:
    read: list[str] = []

    class Nodes:
        def __iter__(self) -> Iterator[NodeRun]:
            for n in range(3):
                read.append(f"each[{n}]/a")
                yield node(read[-1], "succeeded", 1, 2)

    told = rows(FAN, run("succeeded"), Nodes())
    assert next(told).path == "each[0]/a"
    assert read == ["each[0]/a"], "nothing of a run that has succeeded is looked at before"


def test_rows_are_the_recorded_ones_then_those_to_come_in_known_scopes() -> None:
    nodes = [
        node("each", "running", 0.5, width=2, keys=["x", "y"]),
        node("each[y]/a", "succeeded", 1, 2, attempt=2),
    ]
    told = list(rows(FAN, run("running"), nodes))
    assert [row.path for row in told] == [
        "each", "each[y]/a", "each[x]/a", "each[x]/b", "each[y]/b", "end",
    ]  # fmt: skip
    assert told[1] == Row(
        path="each[y]/a", state=NodeState.SUCCEEDED, attempt=2, started=T + 1, finished=T + 2
    )
    assert set(msgspec.to_builtins(told[0])) == {
        "path", "state", "attempt", "started", "finished", "error",
    }  # fmt: skip


def test_rows_leave_out_scopes_that_are_not_open() -> None:
    assert list(listed(COND, "running", [])) == ["kind", "end"]
    assert list(listed(SUB, "running", [node("kyc", "ready")])) == ["kyc", "end"]


def test_rows_name_what_was_decided_against() -> None:
    nodes = [node("kind", "running", 0, width=1, keys=["fail"])]
    told = listed(COND, "running", nodes)
    assert told["kind[pass]/face-detect"] == "skipped"
    assert told["kind[fail]/report"] == "waiting"


def test_a_node_that_the_plan_no_longer_has_is_listed_but_not_drawn() -> None:
    nodes = [node("gone", "succeeded", 0, 1), node("each[0]/gone", "succeeded", 0, 1)]
    assert "gone" in listed(CHAIN, "running", nodes)
    assert set(states(CHAIN, "running", nodes)) == {"fetch", "parse", "store"}


def test_notable_instances_are_few_and_the_failed_come_first() -> None:
    nodes = [node("each", "running", 0, width=5000)]
    nodes += [node(f"each[{i}]/a", "succeeded", 0, i) for i in range(4990)]
    nodes += [node(f"each[{i}]/a", "running", i) for i in range(4990, 4999)]
    nodes.append(node("each[4999]/a", "failed", 0, 1))
    told = seen(FAN, "running", nodes).notable
    assert told[0].path == "each[4999]/a"
    assert [each.path for each in told[1:3]] == ["each[4990]/a", "each[4991]/a"]
    assert told[11].path == "each[4989]/a"
    assert len(told) <= 3 * NOTABLE


def test_counts_are_a_legend_of_all_states_in_sight() -> None:
    _, told = RUNS["running-conditional"]
    assert told.counts == {
        "waiting": 2,
        "running": 1,
        "retrying": 1,
        "succeeded": 4,
        "skipped": 1,
    }


def test_a_condition_inside_a_foreach_is_told_by_all_its_choices() -> None:
    kind = conditional("kind", yes=graph("a"), no=graph("b"))
    plan = Plan("p", graph("each", each=foreach("each", graph("kind", kind=kind))))
    nodes = [
        node("each", "running", 0, width=2),
        node("each[0]/kind", "running", 0, width=1, keys=["yes"]),
    ]
    told = seen(plan, "running", nodes).nodes
    assert told["each[]/kind[yes]/a"].instances == 1
    assert told["each[]/kind[no]/b"].state == "waiting"
    nodes.append(node("each[1]/kind", "succeeded", 0, 1, width=1, done=1, keys=["yes"]))
    assert seen(plan, "running", nodes).nodes["each[]/kind[no]/b"].state == "skipped"
