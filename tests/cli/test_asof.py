"""What a node is given of its run's store when it runs again: what the attempt was given, whatever came later."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from goflow.backend import Versioned, load_backend
from goflow.config import load_config
from tests.cli.shell import ask, goflow, worker
from tests.redis.server import RedisServer

STORE = '''
import os
import time
from pathlib import Path

import goflow


def wait_for(name):
    while not Path(name).exists():
        time.sleep(0.005)


@goflow.flow("store")
def store(workflow, context):
    """write >> (flaky, other >> after) >> (poll, push) >> each >> broken >> late >> last"""
    dag = workflow.dag

    def write(data):
        for key, value in {"k": "first", "kept": 1, "deleted": b"raw"}.items():
            context.set(key, value)

    def flaky(data):
        """Meets the first value, then it and the second, and then dies; then the second."""
        seen = context.get("k")
        if context.attempt == 1:
            Path("failed").touch()
            raise ValueError(f"saw {seen}")
        if context.attempt == 2:
            wait_for("written")
            context.get("k")
            os._exit(3)
        return [seen, context.get("absent", "nothing"), context.get("deleted")]

    def other(data):
        wait_for("failed")
        context.set("k", "second")
        context.delete("deleted")

    def poll(data):
        told = [context.get("k") for _ in range(3)]
        Path("polled").touch()
        while context.get("k") == told[-1]:
            time.sleep(0.005)
        return [*told, context.get("k")]

    def push(data):
        wait_for("polled")
        context.set("k", "third")

    def keys(data):
        context.set("chosen", context.get("kept"))
        return {"x": b"", context.get("k"): b""}

    def join(scopes):
        return f"{context.get('k')} {context.get('chosen')} {b' '.join(scopes.values()).decode()}"

    def broken(data):
        raise KeyError(context.get("k"))

    def mend(error):
        return f"{error} {context.get('kept')}"

    def late(data):
        for key in ("k", "kept", "absent", "deleted", "chosen"):
            context.set(key, "too late")
        return context.get("k")

    def last(data, options):
        return 1 / len(options) if context.get("k") == "too late" else "not as it was"

    dag.node("write", write)
    dag.node("flaky", flaky, retries=2, retry_delay=0)
    for name, work in {"other": other, "poll": poll, "push": push, "late": late, "last": last}.items():
        dag.node(name, work)
    dag.node("after", lambda data: Path("written").touch())
    each = dag.foreach_branch("each", keys, aggregator=join)
    each.node("in", lambda data: f"{context.get('k')}{context.get('kept')}")
    dag.node("broken", broken, on_failure=mend)
    for before, after in (("write", "flaky"), ("write", "other"), ("other", "after"), ("flaky", "poll"),
                          ("after", "poll"), ("flaky", "push"), ("after", "push"), ("poll", "each"),
                          ("push", "each"), ("each", "broken"), ("broken", "late"), ("late", "last")):
        dag.edge(before, after, execution_only=True)

    @workflow.on_failure
    def failed(error):
        context.set("k", "written by the handler")
        return context.get("kept")
'''


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="module", params=["local", "redis"])
def run_in(request: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, str]:
    """The run `r`, in one store or the other: which, the project's folder, and the store's URL."""
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "goflow.toml").write_text('flows = ["flows.py"]\n')
    (folder / "flows.py").write_text(STORE)
    run = ("run", "flows.py", "--request-id", "r")
    url = "local"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        if request.param == "local":
            goflow(*run, code=1)
        else:
            server: RedisServer = request.getfixturevalue("server")
            url = server.url
            patch.setenv("GOFLOW_BACKEND", url)
            with worker():
                goflow(*run, code=1)
    return request.param, folder, url


@pytest.fixture
def ran(run_in: tuple[str, Path, str], monkeypatch: pytest.MonkeyPatch) -> str:
    """Where it ran; the folder is its project's again, and its flow file as it was then."""
    store, folder, url = run_in
    monkeypatch.chdir(folder)
    monkeypatch.setenv("GOFLOW_BACKEND", url)
    Path("flows.py").write_text(STORE)
    return store


def debug(node: str, *options: str, code: int = 0) -> Any:
    told = ask("debug", "r", node, "--json", *options, code=code).json
    assert told["same"] is True, told
    assert not any("notes" in step for step in told["steps"]), told
    return told["steps"]


def test_each_attempt_gets_again_what_it_read(ran: str) -> None:
    (flaky,) = debug("flaky")
    assert flaky["result"] == ["second", "nothing", None]
    (poll,) = debug("poll")
    assert poll["result"] == ["second", "second", "second", "third"]
    opening, closing = debug("each")
    assert opening["keys"] == ["x", "third"]
    assert closing["result"] == "third 1 third1 third1"
    assert debug("each[third]/in")[0]["result"] == "third1"
    failed, mended = debug("broken")
    assert failed["error"]["message"] == "'third'"
    assert mended["result"] == "KeyError: 'third' 1"
    assert debug("late")[0]["result"] == "too late"
    assert debug("last", code=1)[0]["error"]["type"] == "ZeroDivisionError"
    assert debug("~on_failure")[0]["result"] == "too late"
    (first,) = debug("flaky", "--attempt", "1", code=1)
    assert first["error"]["message"] == "saw first"


def test_what_is_no_recorded_attempt_is_refused(ran: str) -> None:
    told = ask("debug", "r", "flaky", "--attempt", "4", code=2).err
    assert "flaky has no attempt 4 (recorded: 1, 2, 3)" in told
    assert "each is a branch" in ask("debug", "r", "each", "--attempt", "1", code=2).err


def test_what_a_process_read_before_it_died_is_known(ran: str) -> None:
    with load_backend(load_config(".").backend, load_config(".")) as store:
        found = [a for a in cast(Versioned, store).accesses("r") if a.path == "flaky"]
    seen = [access.reads.seen for access in found]
    assert seen[0] == {"k": ((1, 1),)}
    assert seen[1]["k"] in (((1, 1), (2, 1)), ((2, 2),)), (
        "attempt 2 may begin after other has written"
    )
    assert seen[2] == {"k": ((2, 1),), "absent": ((0, 1),), "deleted": ((2, 1),)}


def test_a_file_carries_what_each_attempt_read(ran: str) -> None:
    ask("export", "r", "-o", "run.jsonl")
    for node in ("poll", "flaky", "each", "broken"):
        assert ask("replay", "run.jsonl", "--node", node, "--json").json["same"] is True, node
    told = ask("replay", "run.jsonl", "--node", "flaky", "--attempt", "1", "--json", code=1).json
    assert told["same"] is True
    lines = map(json.loads, Path("run.jsonl").read_text().splitlines())
    past = [line["past"] for line in lines if "past" in line]
    told = {p["number"]: p.get("value", {}).get("text") for p in past if p["key"] == "k"}
    assert told == {0: None, 1: "first", 2: "second", 3: "third", 4: "too late"}, "one is its value"


def test_a_key_that_the_attempt_did_not_read_is_as_it_was_when_it_began(ran: str) -> None:
    changed = STORE.replace(
        'return [seen, context.get("absent", "nothing")', 'return [context.get("kept")'
    )
    Path("flows.py").write_text(changed)
    told = goflow("debug", "r", "flaky", "--json").json
    (step,) = told["steps"]
    assert told["same"] is False
    assert step["result"][0] == 1, "not `too late`"
    assert step["notes"] == [
        "context 'kept': this attempt did not read it; it is given as it was when that began"
    ]


def test_a_round_that_repeats_a_node_keeps_what_was_written(ran: str) -> None:
    """And the attempts of the round before tell what they read all the same."""
    if ran == "redis":
        with worker():
            goflow("retry", "r", "--from", "broken")
            goflow("result", "r", "--wait", "30", code=1)
    else:
        goflow("retry", "r", "--from", "broken", code=1)
    failed, mended = debug("broken")
    assert failed["error"]["message"] == "'written by the handler'"
    assert mended["result"] == "KeyError: 'written by the handler' too late"
    assert debug("each[x]/in")[0]["result"] == "third1", "it was not repeated"
