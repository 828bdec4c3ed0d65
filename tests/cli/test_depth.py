"""A flow nested deeper than Python's stack and any JSON: every command does with it what it does with others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.shell import ask, goflow, worker
from tests.redis.server import RedisServer

DEEP = """
import goflow


@goflow.flow("deep")
def deep(workflow, context):
    dag = goflow.Dag()
    dag.node("leaf", lambda data, options, context: data + b"!")
    for level in range(400):
        outer = goflow.Dag()
        outer.node("a", lambda data: data)
        if level % 3 == 0:
            outer.sub_dag("s", dag)
        elif level % 3 == 1:
            outer.foreach_branch("s", lambda data: [data], aggregator=lambda made: made["0"]).append(dag)
        else:
            outer.conditional_branch("s", ["x"], lambda data: "x")["x"].append(dag)
        outer.edge("a", "s")
        dag = outer
    workflow.dag = dag
"""
LEAF = "/".join(["s", "s[x]", "s[0]"] * 134)[: -len("/s[x]/s[0]")] + "/leaf"


@pytest.fixture(autouse=True)
def flows(home: Path) -> None:
    (home / "flows.py").write_text(DEEP)


def test_a_run_of_four_hundred_levels_is_shown_exported_replayed_and_retried() -> None:
    assert goflow("run", "flows.py", "--data", "x", "--request-id", "r").out == b"x!"
    nodes = ask("show", "r", "--json").json["nodes"]
    assert len(nodes) == 801
    assert {node["state"] for node in nodes} == {"succeeded"}
    (leaf,) = (node["path"] for node in nodes if node["path"].endswith("leaf"))
    assert leaf == LEAF
    assert "601 more" in ask("show", "r").text
    assert LEAF in {bar["path"] for bar in ask("trace", "r", "--json").json["bars"]}
    assert ask("explain", "r", "leaf").text
    for format in ("terminal", "mermaid", "dot", "json", "svg"):
        assert ask("graph", "deep", "--run", "r", "--format", format).out
    assert ask("debug", "r", "leaf", "--json").json["same"] is True
    ask("export", "r", "-o", "r.run")
    assert goflow("replay", "r.run", "--json").json["same"] is True
    assert goflow("retry", "r", "--from", "leaf").out == b"x!"
    again = json.loads(ask("show", "r", "--json").out)
    assert len(again["nodes"]) == 801


def test_workers_on_redis_run_it_and_repeat_its_deepest_node(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with RedisServer() as server:
        monkeypatch.setenv("GOFLOW_BACKEND", server.url)
        with worker():
            submit = ("submit", "deep", "--data", "x", "--request-id", "r", "--wait", "60")
            assert goflow(*submit).out == b"x!"
            ask("retry", "r", "--from", "leaf")
            assert goflow("result", "r", "--wait", "60").out == b"x!"
        told = ask("show", "r", "--json").json
        assert {node["state"] for node in told["nodes"]} == {"succeeded"}
        assert len(told["nodes"]) == 801
        assert "round 2" in ask("show", "r").text
        assert ask("explain", "r", "leaf").text.startswith(f"{LEAF} succeeded")
        assert ask("debug", "r", "leaf", "--json").json["same"] is True
