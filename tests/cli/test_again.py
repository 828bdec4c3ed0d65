"""A recorded node again, and a run as one file."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from goflow.backend import load_backend
from goflow.config import load_config
from goflow.errors import StoreAway
from goflow.recorded import InStore
from goflow.runfile import InFile, export
from goflow_cli.commands.export import write_export
from tests.cli.shell import ask, end_of, goflow, started

AGAIN = '''
import json
import goflow


def tell(data, options, context):
    """Everything a node may see of its run."""
    print("printed by tell")
    told = {
        "data": data.decode(),
        "options": options,
        "attempt": context.attempt,
        "key": context.idempotency_key,
        "node": context.node,
        "stored": context.get("stored"),
        "inputs": {name: value.decode() for name, value in context.node_input.items()},
    }
    if options.get("fail"):
        raise ValueError("asked to fail")
    return told


@goflow.flow("again")
def again(workflow, context):
    dag = workflow.dag
    first = dag.node("first", lambda data, options, context: context.set("stored", 7) or data)
    other = dag.node("other", lambda data: "other")
    join = dag.node("join", tell, aggregator=lambda inputs: b"+".join(inputs.values()),
                    retries=1, retry_delay=0)
    each = dag.foreach_branch("each", lambda data: {"x/y": "1", "z": "2"},
                              aggregator=lambda scopes: "".join(map(bytes.decode, scopes.values())))
    each.node("double", lambda data: data * 2) >> each.node("tell", lambda data, o, c: c.node.encode())
    dag.edge("first", "join", forwarder=lambda data: data + b"!")
    dag.edge("other", "join")
    dag.edge("other", "each")

    @workflow.on_failure
    def failed(error):
        return f"on_failure heard of {error}"

    @workflow.finally_
    def end(state):
        return f"ended as {state}"


@goflow.flow("saved")
def saved(workflow, context):
    def work(data):
        raise OSError("no disk")

    workflow.dag.node("only", work, on_failure=lambda error: f"saved from {error}")
'''


@pytest.fixture(autouse=True)
def flows(home: Path) -> None:
    (home / "flows.py").write_text(AGAIN)


def run(*options: str, flow: str = "again", code: int = 0) -> None:
    goflow("run", "flows.py", "--flow", flow, "--request-id", "r", *options, code=code)


def debug(node: str, *options: str, code: int = 0) -> Any:
    return ask("debug", "r", node, "--json", *options, code=code).json


def test_a_node_gets_again_what_it_got_and_makes_the_same() -> None:
    run("--data", "in", "--query", "q=1")
    told = debug("join")
    (step,) = told["steps"]
    assert told["same"] is True, step
    assert step["result"]["data"] == "in!+other"
    assert step["result"]["inputs"] == {"first": "in!", "other": "other"}
    assert step["result"]["stored"] == 7
    assert step["result"]["options"] == {"q": ["1"]}
    assert json.loads(ask("result", "r").text)["join"] == step["result"]


def test_a_failed_node_fails_again_and_shows_the_authors_lines_alone() -> None:
    run("--data", "in", "--query", "fail=1", code=1)
    told = debug("join", code=1)
    (step,) = told["steps"]
    assert (told["same"], told["attempt"]) == (True, 2)
    assert step["error"]["message"] == "asked to fail"
    assert "flows.py" in step["error"]["detail"]
    assert "goflow_cli" not in step["error"]["detail"]
    ended = ask("debug", "r", "join", code=1)
    assert ended.out == b""
    assert 'raise ValueError("asked to fail")' in ended.err
    assert "recorded as failed in attempt 2" in ended.err


def test_only_the_result_goes_to_stdout() -> None:
    run("--data", "in")
    ended = goflow("debug", "r", "join")
    assert json.loads(ended.out)["data"] == "in!+other"
    assert "printed by tell" in ended.err
    assert "the same as is recorded" in ended.err


def test_nodes_in_scopes_and_branches_run_again_too() -> None:
    run("--data", "in")
    inner = debug("each[x%2Fy]/tell")["steps"][0]
    assert inner["result"] == "each[x%2Fy]/tell"
    opening, closing = debug("each")["steps"]
    assert (opening["role"], opening["keys"]) == ("open", ["x%2Fy", "z"])
    assert closing["result"] == "each[x%2Fy]/telleach[z]/tell"


def test_handlers_run_again_too() -> None:
    run("--data", "in", "--query", "fail=1", code=1)
    (told,) = debug("~on_failure")["steps"]
    assert told["result"] == "on_failure heard of ValueError: asked to fail"
    assert debug("~finally")["steps"][0]["result"] == "ended as failed"


def test_a_nodes_own_handler_follows_its_failure() -> None:
    run(flow="saved")
    work, handler = debug("only")["steps"]
    assert work["error"]["message"] == "no disk"
    assert handler["result"] == "saved from OSError: no disk"
    assert debug("only")["same"] is True


def test_what_runs_again_leaves_no_trace_in_the_store() -> None:
    run("--data", "in")
    before = ask("show", "r", "--json").out, ask("logs", "r").out
    debug("first")
    debug("join")
    assert (ask("show", "r", "--json").out, ask("logs", "r").out) == before


def test_the_debugger_stops_where_the_function_begins() -> None:
    run("--data", "in", "--query", "fail=1", code=1)
    ended = goflow(
        "debug",
        "r",
        "join",
        "--pdb",
        stdin=b"p inputs\nc\np data\nc\np told['stored']\nq\n",
        code=1,
    )
    assert "{'first': b'in!', 'other': b'other'}" in ended.text, "the aggregator comes first"
    assert "b'in!+other'" in ended.text, "stopped in tell, before anything happened"
    assert "\n(Pdb) 7\n" in ended.text, "and again where it raised"
    left = goflow("debug", "r", "first", "--pdb", stdin=b"q\n", code=130)
    assert "left the debugger" in left.err


def test_another_definition_and_other_code_are_told(home: Path) -> None:
    run("--data", "in")
    changed = AGAIN.replace("data * 2", "data * 3").replace('dag.edge("other", "each")', "")
    (home / "changed.py").write_text(changed)
    ended = ask("debug", "r", "first", "--flow-file", "changed.py")
    assert "defines 'again' otherwise than the run had it" in ended.err
    inner = ask("debug", "r", "each[z]/double", "--flow-file", "changed.py")
    assert "its code has changed since" in inner.err
    assert "another end than is recorded" in inner.err
    each = ask("debug", "r", "each", "--flow-file", "changed.py", code=2)
    assert "each gets its input, of which run r has recorded nothing" in each.err


@pytest.mark.parametrize(
    ("node", "words"),
    [
        ("joint", "did you mean 'join'?"),
        ("each[z]", "no node 'each[z]'"),
        ("~on_failure", "run r has not failed"),
    ],
)
def test_what_cannot_run_again_is_refused_with_a_reason(node: str, words: str) -> None:
    run("--data", "in")
    assert words in ask("debug", "r", node, code=2).err


# a run as one file


def test_a_file_tells_what_the_store_tells() -> None:
    run("--data", "in", "--query", "fail=1", code=1)
    store = load_backend("local", load_config("."))
    stored = InStore(store, store.run("r"))
    lines = list(export(stored))
    read = InFile(lines, "run.jsonl")
    assert read.run.failure == stored.run.failure
    assert read.request == replace(stored.request, owner=0, made=read.request.made)
    assert read.plan == stored.plan
    assert list(read.nodes) == list(stored.nodes)
    assert [log.data for log in read.logs] == [log.data for log in stored.logs]
    assert list(read.attempts) == list(stored.attempts)
    assert read.context("stored") == stored.context("stored")
    for path in stored.nodes:
        assert read.output(path) == stored.output(path)
        if not path.startswith("~") and not path.endswith("]"):
            assert read.arrivals(path) == stored.arrivals(path), path
    assert len(b"".join(lines)) < 8000, "each payload is in it once"


def test_a_replay_comes_to_the_same_and_keeps_nothing(home: Path) -> None:
    run("--data", "in", "--query", "fail=1", code=1)
    ask("export", "r", "-o", "run.jsonl")
    (home / "elsewhere").mkdir()
    env = {"GOFLOW_LOCAL_PATH": str(home / "elsewhere" / "store")}
    ended = goflow("replay", "run.jsonl", "--flow-file", "flows.py", env=env)
    assert "every node came to the same" in ended.text
    assert not (home / "elsewhere" / "store").exists()


def test_a_replay_says_what_differs_and_where_that_began(home: Path) -> None:
    run("--data", "in")
    ask("export", "r", "-o", "run.jsonl")
    (home / "changed.py").write_text(AGAIN.replace("data * 2", "data * 3"))
    ended = goflow("replay", "run.jsonl", "--flow-file", "changed.py", "--json", code=1)
    found = {each["path"]: each for each in ended.json["differences"]}
    assert set(found) == {"each[x%2Fy]/double", "each[z]/double"}
    assert found["each[z]/double"]["here"] == "222"
    assert all(each["code"] and each["origin"] for each in found.values())
    (home / "worse.py").write_text(AGAIN.replace('"other")\n', "1 / 0)\n"))
    ended = goflow("replay", "run.jsonl", "--flow-file", "worse.py", code=1)
    assert "differs on the same input:\n  other" in ended.text
    assert "here      failed: ZeroDivisionError" in ended.text
    assert "\n  join" not in ended.text, "the failed run did not get there"


def test_one_node_of_a_file_runs_without_the_store() -> None:
    run("--data", "in")
    ask("export", "r", "-o", "run.jsonl")
    env = {"GOFLOW_BACKEND": "redis://localhost:1"}
    ended = goflow("replay", "run.jsonl", "--node", "join", "--json", env=env)
    assert ended.json["same"] is True
    assert ended.json["steps"][0]["result"]["stored"] == 7


def test_a_file_has_nothing_executed_that_it_names(home: Path) -> None:
    run("--data", "in")
    ask("export", "r", "-o", "run.jsonl")
    (home / "goflow.toml").write_text("")
    (home / "flows.py").write_text("from pathlib import Path\nPath('executed').touch()\n" + AGAIN)
    for more in ((), ("--node", "join")):
        ended = ask("replay", "run.jsonl", *more, code=2)
        assert "no flow named 'again'" in ended.err
        assert "--flow-file FLOW.py" in ended.err
        assert f"where it was recorded that was {home / 'flows.py'}" in ended.err
    assert not (home / "executed").exists()


def test_a_file_has_payloads_of_the_three_media_types_only(home: Path) -> None:
    run("--data", "in")
    ask("export", "r", "-o", "run.jsonl")
    text = (home / "run.jsonl").read_text().replace('"text/plain"', '"blob:text/plain"')
    (home / "bad.jsonl").write_text(text)
    ended = ask("replay", "bad.jsonl", code=2)
    assert "text/plain or application/json, got 'blob:text/plain'" in ended.err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is no run: expected a file that `goflow export RUN` wrote"),
        ('{"format":"goflow-run","version":9}\n', "has version 9 of the format, expected 1"),
        ('{"format":"goflow-run","version":1}\n{"run":{}}\n', "line 2: Object missing required"),
        ('{"format":"goflow-run","version":1}\n', "was cut off"),
        ('{"format":"goflow-run","version":1}\n{"end":0}\n', "expected one record 'run', got 0"),
    ],
)
def test_a_file_that_is_no_run_is_refused(home: Path, text: str, words: str) -> None:
    (home / "bad.jsonl").write_text(text)
    ended = ask("replay", "bad.jsonl", code=2)
    assert words in ended.err


WHOLE = """import goflow

@goflow.flow("whole")
def whole(workflow, context):
    workflow.dag.node("a", lambda data: data)
"""


def exported(home: Path) -> bytes:
    """The run `w`, as `goflow export` prints it but for when that was."""
    (home / "whole.py").write_text(WHOLE)
    goflow("run", "whole.py", "--request-id", "w")
    return undated(goflow("export", "w", "-o", "-").out)


def undated(written: bytes) -> bytes:
    return written.partition(b"\n")[2]


@pytest.mark.parametrize("output", ["", "."])
def test_an_export_that_cannot_be_written_leaves_no_part_of_it(home: Path, output: str) -> None:
    exported(home)
    assert f"cannot write {output!r}" in goflow("export", "w", "-o", output, code=2).err
    assert not [*home.glob("*.part"), *home.glob(".*part")]


def test_an_export_that_its_store_breaks_off_leaves_no_part_of_it(tmp_path: Path) -> None:
    def lines() -> Iterator[bytes]:
        yield b"{}\n"
        raise StoreAway("the store went away")

    with pytest.raises(StoreAway):
        write_export(str(tmp_path / "run.jsonl"), lines(), force=False)
    assert not list(tmp_path.glob("run*"))


def test_an_export_writes_over_a_file_only_when_forced(home: Path) -> None:
    run = exported(home)
    file = home / "run.jsonl"
    file.write_text("mine")
    refused = goflow("export", "w", "-o", "run.jsonl", code=2)
    assert "'run.jsonl' exists already; nothing was written (--force" in refused.err
    assert file.read_text() == "mine"
    goflow("export", "w", "-o", "run.jsonl", "--force")
    assert undated(file.read_bytes()) == run


def test_an_export_into_what_is_no_file_leaves_it_what_it_is(home: Path) -> None:
    run = exported(home)
    os.mkfifo(home / "pipe")
    with started("export", "w", "-o", "pipe") as process:
        assert undated((home / "pipe").read_bytes()) == run
        assert end_of(process).code == 0
    assert (home / "pipe").is_fifo()
