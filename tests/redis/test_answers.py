"""What people ask about runs, asked of Redis from another process than the one that works."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from tests.cli.shell import Ended, end_of, goflow, started, until
from tests.redis.server import RedisServer

FLOWS = """
import time
from pathlib import Path
import goflow


@goflow.flow("told")
def told(workflow, context):
    def first(data, options, context):
        print("first", context.attempt)
        context.set("key", {"a": 1})
        return data

    def second(data: str, options, context):
        print("second")
        while not Path("go").exists():
            time.sleep(0.01)
        if not Path("fine").exists():
            raise ValueError("not fine")
        return [data, context.get("key"), context.idempotency_key]

    first = workflow.dag.node("first", first)
    first >> workflow.dag.node("second", second)
"""


@pytest.fixture
def env(server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "flows.py").write_text(FLOWS)
    return {"GOFLOW_BACKEND": server.url, "XDG_STATE_HOME": str(tmp_path)}


def test_logs_are_followed_to_the_end_and_a_failed_node_runs_again_elsewhere(
    env: dict[str, str],
) -> None:
    def ask(*arguments: str, code: int = 0) -> Ended:
        return goflow(*arguments, env=env, code=code)

    with started("worker", "flows.py", env=env) as worker:
        until(lambda: "told" in ask("flows").text)
        ask("submit", "told", "--data", "in", "--request-id", "r")
        with started("logs", "r", "-f", env=env) as follower:
            until(lambda: "second is running" in ask("explain", "r").text)
            Path("go").touch()
            assert end_of(follower).out == b"== first\nfirst 1\n== second\nsecond\n"
        worker.send_signal(signal.SIGTERM)
        end_of(worker)
    assert "second failed: ValueError: not fine" in ask("explain", "r").text
    Path("fine").touch()
    again = ask("debug", "r", "second", "--json").json
    data, stored, key = again["steps"][0]["result"]
    assert (data, stored, len(key), again["same"]) == ("in", {"a": 1}, 32, False)
    ask("export", "r", "-o", "r.jsonl")
    Path("fine").unlink()
    replayed = ask("replay", "r.jsonl", "--flow-file", "flows.py", "--json")
    assert replayed.json["same"] is True
    traced = json.loads(ask("trace", "r", "--json").out)
    assert traced["critical_path"] == ["first", "second"]
    seen = ask("top", "--json").json
    assert [flow["flow"] for flow in seen["flows"]] == ["told"]
    assert [run["run_id"] for run in seen["runs"]] == ["r"]
