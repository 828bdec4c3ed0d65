"""What a run's end looks like: the result's bytes on stdout, all else on stderr, and the exit code."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from pathlib import Path

import pytest

from tests.cli.shell import FLOWS, GOFLOW, goflow, nodes, runs

EVERY_BYTE = bytes(range(256)) * 3


def test_the_result_goes_to_stdout_byte_for_byte() -> None:
    ended = goflow("run", "flows.py", "--flow", "echo", "--data", "-", stdin=EVERY_BYTE)
    assert ended.out == EVERY_BYTE
    run_id = runs()[0]["run_id"]
    assert goflow("result", run_id).out == EVERY_BYTE


def test_a_pipe_gets_no_newline_and_a_terminal_one() -> None:
    command = ("run", "flows.py", "--flow", "echo", "--ephemeral", "--data", "hallo")
    assert goflow(*command).out == b"hallo"
    parent, child = pty.openpty()
    with subprocess.Popen([*GOFLOW, *command], stdout=child, stderr=subprocess.DEVNULL) as process:
        os.close(child)
        shown = b""
        try:
            while piece := os.read(parent, 4096):
                shown += piece
        except OSError:  # how a terminal says that its other side is closed
            pass
    os.close(parent)
    assert process.returncode == 0
    assert shown.endswith(b"hallo\r\n")


def test_what_nodes_print_goes_to_stderr_and_into_the_logs() -> None:
    ended = goflow("run", "flows.py", "--flow", "loud")
    assert ended.out == b"quiet result"
    assert "said aloud" in ended.err
    assert "and complained" in ended.err
    logged = goflow("logs", runs()[0]["run_id"])
    assert logged.text == "== speak\nsaid aloud\nand complained\n"


def test_an_empty_result_prints_nothing() -> None:
    assert goflow("run", "flows.py", "--flow", "echo").out == b""


def test_a_failed_run_ends_with_1_and_says_why_and_what_next() -> None:
    ended = goflow("run", "flows.py", "--flow", "doubtful", "--request-id", "r1", code=1)
    assert ended.out == b""
    assert "run r1 failed" in ended.err
    assert "ValueError: no luck" in ended.err
    assert "goflow retry r1" in ended.err
    again = goflow("result", "r1", code=1)
    assert again.out == b""
    assert "ValueError: no luck" in again.err


def test_json_tells_the_run_and_its_result() -> None:
    told = goflow("run", "flows.py", "--flow", "options", "--query", "a=1", "--json").json
    assert told["state"] == "succeeded"
    assert told["flow"] == "options"
    assert told["result"] == {"a": ["1"]}
    assert told["media_type"] == "application/json"


@pytest.mark.parametrize(("code", "told"), [("{bad", "{bad"), ("\\xff", {"base64": "/w=="})])
def test_json_tells_a_result_that_was_called_json_and_is_none_as_the_bytes_it_is(
    code: str, told: object
) -> None:
    Path("called.py").write_text(
        "import goflow\n\n\ndef define_workflow(workflow, context):\n"
        f"    made = goflow.Payload(b'{code}', 'application/json')\n"
        "    workflow.dag.node('call', lambda data: made)\n"
    )
    ran = goflow("run", "called.py", "--request-id", "r1", "--json")
    assert ran.json["state"] == "succeeded"
    assert ran.json["result"] == told
    assert goflow("result", "r1", "--json").json["result"] == told
    assert goflow("result", "r1", "call", "--json").json["result"] == told


def test_json_of_a_failed_run_has_its_error() -> None:
    told = goflow("run", "flows.py", "--flow", "doubtful", "--json", code=1).json
    assert told["state"] == "failed"
    assert "no luck" in told["error"]
    assert "result" not in told


def test_show_json_has_the_promised_shape() -> None:
    goflow("run", "flows.py", "--flow", "doubtful", "--request-id", "r1", code=1)
    told = goflow("show", "r1", "--json").json
    first = ("run_id", "flow", "state", "created", "started", "finished", "error")
    assert tuple(told)[:7] == first
    assert told["run_id"] == "r1"
    assert told["flow"] == "doubtful"
    assert told["state"] == "failed"
    assert "no luck" in told["error"]
    assert told["created"] <= told["started"] <= told["finished"]
    keys = {"path", "state", "attempt", "started", "finished", "error"}
    assert all(set(node) == keys for node in told["nodes"])
    a, b, c = told["nodes"]
    assert (a["path"], a["state"], a["attempt"], a["error"]) == ("a", "succeeded", 1, None)
    assert a["started"] <= a["finished"]
    assert (b["path"], b["state"], b["attempt"]) == ("b", "failed", 1)
    assert "no luck" in b["error"]
    assert c == {
        "path": "c",
        "state": "skipped",
        "attempt": 0,
        "started": None,
        "finished": None,
        "error": None,
    }


@pytest.mark.parametrize("where", ["option", "environment", "file"])
def test_an_ephemeral_run_is_executed_here_whatever_the_backend(where: str) -> None:
    """In a shared store it would be out of sight of every worker, and wait for ever."""
    url = "redis://127.0.0.1:1/0"
    if where == "file":
        Path("goflow.toml").write_text(f'backend = "{url}"\n')
    ended = goflow(
        *("run", "flows.py", "--flow", "echo", "--data", "x", "--ephemeral"),
        *(("--backend", url) if where == "option" else ()),
        env={"GOFLOW_BACKEND": url} if where == "environment" else {},
    )
    assert ended.out == b"x"


def test_an_ephemeral_run_leaves_nothing(home: Path) -> None:
    assert goflow("run", "flows.py", "--flow", "echo", "--data", "x", "--ephemeral").out == b"x"
    failed = goflow("run", "flows.py", "--flow", "doubtful", "--ephemeral", code=1)
    assert "goflow retry" not in failed.err
    left = {path.relative_to(home).as_posix() for path in home.rglob("*")}
    assert left == {"goflow.toml", "flows.py", "trace.txt"}
    assert not (home.parent / "state").exists()


@pytest.mark.parametrize(
    ("data", "payload", "media_type"),
    [
        ("hallo", b"hallo", "text/plain"),
        ("@@home", b"@home", "text/plain"),
        ("@note.txt", b"a note\n", "text/plain"),
        ("@order.json", b'{"n": 1}', "application/json"),
        ("@raw.dat", b"\xff\x00", "application/octet-stream"),
        ("@text.bin", b"text", "application/octet-stream"),
        ("-", b"from stdin", "text/plain"),
        (b"\xff", b"\xff", "application/octet-stream"),
    ],
)
def test_data_forms(data: str | bytes, payload: bytes, media_type: str) -> None:
    Path("note.txt").write_bytes(b"a note\n")
    Path("order.json").write_bytes(b'{"n": 1}')
    Path("raw.dat").write_bytes(b"\xff\x00")
    Path("text.bin").write_bytes(b"text")
    Path("typed.py").write_text(TYPED)
    ended = goflow("run", "typed.py", "--ephemeral", "--data", data, stdin=b"from stdin")
    assert ended.out == media_type.encode() + b" " + payload


TYPED = """
from goflow.payload import Payload


def tell(data: Payload):
    return data.media_type.encode() + b" " + data.data


def define_workflow(workflow, context):
    workflow.dag.node("tell", tell)
"""


def test_queries_are_lists_in_order() -> None:
    ended = goflow(
        "run", "flows.py", "--flow", "options", "--query", "k=1", "--query", "k=2", "--query", "e="
    )
    assert json.loads(ended.out) == {"k": ["1", "2"], "e": [""]}


def test_the_same_request_id_again_is_the_same_run() -> None:
    command = ("run", "flows.py", "--flow", "doubtful", "--request-id", "r1")
    Path("fine").touch()
    first = goflow(*command, "--data", "x")
    again = goflow(*command, "--data", "x")
    assert first.out == again.out == b"xabc"
    assert Path("trace.txt").read_text() == "a\nb\nc\n"
    assert len(runs()) == 1


def test_a_request_id_with_other_data_is_a_conflict() -> None:
    command = ("run", "flows.py", "--flow", "echo", "--request-id", "r1")
    goflow(*command, "--data", "x")
    for other in (("--data", "y"), ("--data", "x", "--query", "k=v")):
        ended = goflow(*command, *other, code=2)
        assert ended.out == b""
        assert "r1" in ended.err
    assert len(runs()) == 1


def test_a_detached_run_outlives_its_command(home: Path) -> None:
    ended = goflow("run", "flows.py", "--flow", "gate", "--data", "x", "--detach")
    run_id = ended.text.strip()
    assert ended.err == ""
    assert goflow("result", run_id, code=3).out == b""
    Path("open").touch()
    waited = goflow("result", run_id, "--wait")
    assert waited.out == b"x!?"
    assert nodes(run_id)["~finally"] == "succeeded"


def test_a_detached_run_that_is_not_accepted_says_so() -> None:
    goflow("run", "flows.py", "--flow", "echo", "--request-id", "r1", "--data", "x")
    ended = goflow(
        "run", "flows.py", "--flow", "echo", "--request-id", "r1", "--data", "y", "--detach", code=2
    )
    assert ended.out == b""
    assert "r1" in ended.err


def test_prints_are_echoed_up_to_a_limit() -> None:
    Path("flood.py").write_text(
        "def define_workflow(workflow, context):\n"
        "    workflow.dag.node('flood', lambda data: print('x' * 300_000))\n"
    )
    ended = goflow("run", "flood.py")
    assert len(ended.err) < 70_000
    assert "more is not shown" in ended.err
    logged = goflow("logs", runs()[0]["run_id"]).text
    assert len(logged) > 300_000


def test_what_a_file_prints_while_it_is_loaded_stays_out_of_the_result() -> None:
    Path("flows.py").write_text("print('loading')\n" + FLOWS)
    ended = goflow("run", "flows.py", "--flow", "echo", "--data", "x", "--ephemeral")
    assert ended.out == b"x"
    assert ended.err.startswith("loading\n")


def test_what_a_single_node_recorded_is_a_result_too() -> None:
    goflow("run", "flows.py", "--flow", "doubtful", "--data", "x", "--request-id", "r1", code=1)
    assert goflow("result", "r1", "a").out == b"xa"
    told = json.loads(goflow("result", "r1", "a", "--json").out)
    assert (told["run_id"], told["node"], told["result"]) == ("r1", "a", "xa")
    nothing = goflow("result", "r1", "b", code=2)
    assert nothing.out == b""
    assert "node b of run r1 has recorded nothing: it is failed" in nothing.err
    unknown = goflow("result", "r1", "zz", code=2)
    assert "zz" in unknown.err
    assert "Traceback" not in unknown.err
    assert "--wait" in goflow("result", "r1", "a", "--wait", code=2).err
