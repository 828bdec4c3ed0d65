"""`goflow doctor`: one line a check, and 1 where a problem remains."""

from __future__ import annotations

import platform
import sqlite3
from pathlib import Path

from tests.cli.shell import Ended, ask, goflow, worker
from tests.redis.server import RedisServer


def lines(ended: Ended) -> dict[str, str]:
    """The first word of each line by what the line is about."""
    split = [line.partition(":")[0].split(maxsplit=1) for line in ended.text.splitlines()]
    return {name: word for word, name in split}


def test_a_healthy_project_is_told_check_by_check(home: Path) -> None:
    goflow("run", "flows.py", "--flow", "echo")
    told = goflow("doctor")
    assert set(lines(told).values()) == {"ok"}
    assert f"Python {platform.python_version()}" in told.text
    assert all(package in told.text for package in ("goflow-cli", "msgspec", "apsw", "redis"))
    assert str(home / "goflow.toml") in told.text
    assert "SQLite" in told.text
    assert "echo" in told.text
    assert told.err == ""


def test_everything_wrong_is_told_at_once() -> None:
    Path("goflow.toml").write_text('flows = ["flows.py", "broken.py", "nowhere/*.py"]\n')
    Path("broken.py").write_text("def define_workflow(workflow, context):\n    oops(\n")
    told = ask("doctor", code=1)
    problems = [line for line in told.text.splitlines() if line.startswith("problem")]
    assert len(problems) == 2
    assert any("broken.py" in line for line in problems)
    assert any("nowhere/*.py" in line for line in problems)
    assert lines(told)["integrity"] == "ok", "the rest is looked at all the same"


def test_a_configuration_that_cannot_be_read_is_the_first_thing_to_mend() -> None:
    Path("goflow.toml").write_text("flwos = []\n")
    told = ask("doctor", code=1)
    assert lines(told)["configuration"] == "problem"
    assert "did you mean 'flows'?" in told.text
    assert "backend" not in lines(told)


def test_a_store_that_is_away_is_a_problem_and_flows_are_looked_at_all_the_same() -> None:
    told = ask("doctor", "--backend", "redis://user:s3cret@127.0.0.1:1/0", code=1)
    assert lines(told)["backend"] == "problem"
    assert "127.0.0.1:1" in told.text
    assert "s3cret" not in told.text
    assert lines(told)["flows"] == "ok"


def test_a_key_of_somebody_else_is_named_wherever_it_is() -> None:
    """Also where it hides the workers, whom other checks ask for."""
    with RedisServer() as server:
        ask("submit", "echo", "--backend", server.url)
        server.client.set("gf:{goflow}:alive", "mine")
        told = ask("doctor", "--backend", server.url, code=1)
    assert "gf:{goflow}:alive holds a string, expected a zset" in told.text
    problems = [line for line in told.text.splitlines() if line.startswith("problem")]
    assert [line.split(":")[0].split(maxsplit=1)[1] for line in problems] == ["key types"]


def test_what_is_wrong_is_repaired_when_asked() -> None:
    goflow("run", "flows.py", "--flow", "echo", "--request-id", "r1")
    with sqlite3.connect(".goflow/goflow.db") as store:
        store.execute("DELETE FROM run")
    store.close()
    before = ask("doctor", code=1)
    assert lines(before)["orphans"] == "problem"
    assert "goflow doctor --fix" in before.text
    assert lines(ask("doctor", "--fix"))["orphans"] == "fixed"
    assert lines(ask("doctor"))["orphans"] == "ok"


def test_findings_as_json() -> None:
    told = ask("doctor", "--json").json
    assert told["ok"] is True
    assert {"versions", "configuration", "backend", "flows"} <= {
        f["name"] for f in told["findings"]
    }
    assert all(finding["ok"] and not finding["fixed"] for finding in told["findings"])
    Path("goflow.toml").write_text('flows = ["nowhere.py"]\n')
    told = ask("doctor", "--json", code=1).json
    assert told["ok"] is False
    assert [f["name"] for f in told["findings"] if not f["ok"]] == ["flows"]


def test_work_that_no_worker_knows_is_told() -> None:
    goflow("submit", "echo", "--request-id", "r1")
    told = ask("doctor")
    assert lines(told)["waiting work"] == "warning"
    assert "1 task waits and no worker knows 'echo'" in told.text
    with worker():
        goflow("result", "r1", "--wait")
        assert lines(ask("doctor"))["waiting work"] == "ok"


def test_a_shared_store_is_looked_at_and_repaired_too() -> None:
    with RedisServer("--appendonly", "yes") as server:
        assert set(lines(ask("doctor", "--backend", server.url)).values()) == {"ok"}
        ask("submit", "echo", "--request-id", "r1", "--backend", server.url)
        server.client.expire("gf:{goflow.0}:r:r1", 1000)
        assert lines(ask("doctor", "--backend", server.url, code=1))["endangered"] == "problem"
        assert lines(ask("doctor", "--backend", server.url, "--fix"))["endangered"] == "fixed"
        assert server.client.ttl("gf:{goflow.0}:r:r1") == -1


def test_dead_letters_of_a_shared_store_are_listed_retried_and_dropped() -> None:
    with RedisServer() as server:
        shared = ("--backend", server.url)
        with worker(*shared):
            failed = goflow("submit", "doubtful", "--request-id", "r1", "--wait", *shared, code=1)
            assert "no luck" in failed.err
            assert "b" in ask("dead", "list", *shared).text.split()
            again = ask("dead", "retry", "r1", *shared)
            assert again.out == b"r1\n", "workers execute it"
            goflow("result", "r1", "--wait", *shared, code=1)
        (told,) = ask("dead", "list", "--json", *shared).json
        assert told["round"] == 2
        ask("dead", "drop", "r1", *shared)
        assert ask("runs", "--json", *shared).json == []
