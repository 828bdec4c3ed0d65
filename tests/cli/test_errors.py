"""Whatever is wrong, it is one message with the way out, the right exit code, and no traceback."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from goflow import flow_file, loader
from goflow_cli.main import main
from tests.cli.shell import goflow

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def clean_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What loading a flow file does to this process is undone."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(flow_file, "_folders", set())
    monkeypatch.setattr(loader, "_loaded", {})
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", None)).startswith(str(Path.cwd())):
            del sys.modules[name]


def refused(captured: Captured, *arguments: str, code: int = 2) -> str:
    """Run a command line in this process; what it said. It must have printed nothing to stdout."""
    assert main(list(arguments)) == code
    out, err = captured.readouterr()
    assert out == ""
    assert "Traceback" not in err
    assert "mistake in goflow" not in err
    assert err
    return err


NODE = "    workflow.dag.node('a', lambda data: data)\n"


def define(body: str) -> str:
    return f"def define_workflow(workflow, context):\n    dag = workflow.dag\n{body}"


BAD_FILES = {
    "syntax": ("def broken(:\n", "bad.py:1", "syntax error"),
    "raises": ("x = 1\n1 / 0\n", "bad.py:2", "ZeroDivisionError"),
    "exits": ("import sys\nsys.exit(3)\n", "bad.py:2", "exited"),
    "interrupt-like": ("raise BaseException('odd')\n", "bad.py:1", "odd"),
    "empty": ("", "bad.py", "define_workflow"),
    "misnamed": ("def define_workflw(workflow, context): ...\n", "bad.py:1", "define_workflw"),
    "no-module": ("import panda_s\n", "bad.py:1", "no module named 'panda_s'"),
    "signature": ("def define_workflow(workflow): ...\n", "bad.py:1", "(workflow, context)"),
    "async": ("async def define_workflow(workflow, context): ...\n", "bad.py:1", "plain function"),
    "definition-raises": (define("    {}['x']\n"), "bad.py:3", "KeyError"),
    "recursion": (define("    define_workflow(workflow, context)\n"), "bad.py", "RecursionError"),
    "no-nodes": (define("    pass\n"), "bad", "empty"),
    "cycle": (
        define("    dag.node('a') >> dag.node('b') >> 'a'\n"),
        "a -> b -> a",
        "cycle",
    ),
    "unknown-node": (
        define("    dag.node('resize')\n    dag.edge('resiz', 'resize')\n"),
        "'resiz'",
        "did you mean 'resize'",
    ),
    "duplicate-edge": (
        define("    dag.node('a') >> dag.node('b')\n    dag.edge('a', 'b')\n"),
        "'a'",
        "'b'",
    ),
    "illegal-name": (define("    dag.node('a b')\n"), "'a b'", "allowed"),
    "no-conditions": (
        define("    dag.conditional_branch('c', [], lambda data: 'x')\n"),
        "'c'",
        "condition",
    ),
    "bad-option": (define("    dag.node('a', retries='two')\n"), "retries", "'two'"),
    "unknown-option": (define("    dag.node('a', retry=2)\n"), "bad.py:3", "retry"),
    "context-in-definition": (define("    context.get('x')\n"), "bad.py:3", "context"),
    "not-callable": (define("    dag.node('a', 5)\n"), "'a'", "int"),
    "dag-replaced": (define("    workflow.dag = 5\n"), "goflow.Dag", "int"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_flow_file(name: str, capsys: Captured) -> None:
    text, *expected = BAD_FILES[name]
    Path("bad.py").write_text(text)
    err = refused(capsys, "run", "bad.py")
    for words in expected:
        assert words in err
    assert "bad" in err


def test_every_problem_of_a_dag_at_once(capsys: Captured) -> None:
    body = "    dag.node('a b')\n    dag.edge('x', 'y')\n    dag.node('c', retries=-1)\n"
    Path("bad.py").write_text(define(body))
    err = refused(capsys, "run", "bad.py")
    for words in ("'a b'", "'x'", "'y'", "retries"):
        assert words in err


def test_files_that_are_none(capsys: Captured) -> None:
    Path("folder").mkdir()
    Path("bytes.py").write_bytes(b"x = '\xff\xfe'\n")
    Path("locked.py").write_text("x = 1\n")
    assert "did you mean 'flows.py'" in refused(capsys, "run", "flow.py")
    assert "is a folder" in refused(capsys, "run", "folder")
    assert "UTF-8" in refused(capsys, "run", "bytes.py")
    assert "regular file" in refused(capsys, "run", "/dev/null")
    assert "no folder" in refused(capsys, "run", "nowhere/flow.py")
    if os.getuid():
        Path("locked.py").chmod(0)
        assert "cannot read" in refused(capsys, "run", "locked.py")


def test_several_flows_and_no_choice_lists_them(capsys: Captured) -> None:
    err = refused(capsys, "run", "flows.py")
    assert "echo" in err
    assert "--flow NAME" in err
    assert "did you mean 'echo'" in refused(capsys, "run", "flows.py", "--flow", "ecko")


BAD_TOML = {
    "syntax": ("backend = \n", ":1"),
    "unknown-key": ('\nbackendd = "local"\n', ":2", "did you mean 'backend'"),
    "unknown-section": ('[lokal]\npath = "x"\n', ":1", "'local'"),
    "type": ('[worker]\nconcurrency = "five"\n', ":2", "five"),
    "range": ("[worker]\nconcurrency = 0\n", ":2"),
    "lease": ("[worker]\nlease = 1\n", ":2"),
    "not-utf8": ("backend = '\udcff'\n", "UTF-8"),
    "backend": ('backend = "reddis"\n', "did you mean 'redis'"),
}


@pytest.mark.parametrize("name", BAD_TOML)
def test_a_bad_goflow_toml(name: str, capsys: Captured) -> None:
    text, *expected = BAD_TOML[name]
    Path("goflow.toml").write_bytes(text.encode(errors="surrogateescape"))
    err = refused(capsys, "runs")
    for words in expected:
        assert words in err


def test_a_bad_environment(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOFLOW_WORKER_CONCURENCY", "3")
    monkeypatch.setenv("GOFLOW_WORKER_LEASE", "soon")
    err = refused(capsys, "runs")
    assert "GOFLOW_WORKER_CONCURENCY" in err
    assert "GOFLOW_WORKER_LEASE" in err


USAGE = [
    (("shwo", "x"), "did you mean 'show'"),
    (("frobnicate",), "goflow --help"),
    (("run",), "FILE"),
    (("run", "flows.py", "--dta", "x"), "--data"),
    (("run", "flows.py", "--query", "novalue"), "NAME=VALUE"),
    (("run", "flows.py", "--data", "@missing.txt"), "missing.txt"),
    (("run", "flows.py", "--request-id", "a b"), "a b"),
    (("run", "flows.py", "--request-id", "x" * 129), "128"),
    (("run", "flows.py", "--request-id", ""), "run id"),
    (("run", "flows.py", "--flow", "echo", "--detach", "--ephemeral"), "--ephemeral"),
    (("run", "flows.py", "--backend", "lokal"), "did you mean 'local'"),
    (("submit",), "FLOW"),
    (("submit", "ecko"), "did you mean 'echo'"),
    (("submit", "echo", "extra"), "extra"),
    (("submit", "echo", "--wait=soon"), "soon"),
    (("submit", "echo", "--wait=-1"), "-1"),
    (("worker", "flows.py", "--concurrency", "0"), "concurrency"),
    (("worker", "flows.py", "--flow", "ecko"), "did you mean 'echo'"),
    (("worker", "missing.py"), "missing.py"),
    (("runs", "--state", "sucess"), "sucess"),
    (("runs", "--limit", "0"), "0"),
    (("show",), "RUN"),
    (("show", "nope"), "no run 'nope'"),
    (("result", "nope"), "no run 'nope'"),
    (("logs", "nope"), "no run 'nope'"),
    (("explain", "nope"), "no run 'nope'"),
    (("pause", "nope"), "no run 'nope'"),
    (("resume", "nope"), "no run 'nope'"),
    (("stop", "nope"), "no run 'nope'"),
    (("retry", "nope"), "no run 'nope'"),
    (("completion", "tcsh"), "tcsh"),
    (("show", "\udcff"), "expected UTF-8 text, got b'\\xff'"),
    (("runs", "--flow", "\udcff"), "UTF-8"),
    (("submit", "\udcff"), "UTF-8"),
    (("graph", "\udcff"), "UTF-8"),
    (("graph", "flows.py", "--run", "\udcff"), "UTF-8"),
    (("explain", "nope", "\udcff"), "UTF-8"),
    (("logs", "nope", "\udcff"), "UTF-8"),
    (("result", "nope", "\udcff"), "UTF-8"),
    (("debug", "nope", "\udcff"), "UTF-8"),
    (("retry", "nope", "--from", "\udcff"), "UTF-8"),
    (("dead", "drop", "\udcff"), "UTF-8"),
    (("dead", "list", "--limit", "9" * 40), "1<=x<=1000000000"),
    (("runs", "--limit", "9" * 40), "1<=x<=1000000000"),
    (("top", "--interval", "nan"), "seconds >= 1"),
    (("top", "--interval", "1e400"), "seconds <= 86400"),
    (("serve", "\udcff"), "UTF-8"),
    (("show", "r1", "\x1b[31m"), "\\x1b[31m"),
]


@pytest.mark.parametrize(("arguments", "words"), USAGE)
def test_wrong_usage(arguments: tuple[str, ...], words: str, capsys: Captured) -> None:
    assert words in refused(capsys, *arguments)


def test_waiting_longer_than_any_clock_counts_is_waiting(capsys: Captured) -> None:
    goflow("run", "flows.py", "--flow", "echo", "--data", "hallo", "--request-id", "long")
    for seconds in ("1e400", "9" * 40, "inf", "1" * 19):
        assert main(["result", "long", "--wait", seconds]) == 0
        assert capsys.readouterr().out == "hallo"


def test_the_nearest_run_and_node_are_named(capsys: Captured) -> None:
    goflow("run", "flows.py", "--flow", "doubtful", "--request-id", "nightly-7", code=1)
    assert "did you mean 'nightly-7'" in refused(capsys, "show", "nightly-6")
    for command in (("logs",), ("explain",), ("retry", "--from")):
        err = refused(capsys, command[0], "nightly-7", *command[1:], "bb")
        assert "no node 'bb'" in err
        assert "'b'" in err
    assert "no node 'c' yet: it has not been reached" in refused(
        capsys, "retry", "nightly-7", "--from", "c"
    )


def test_an_empty_folder_has_nothing_to_work_on(
    capsys: Captured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    assert "no flows to work on" in refused(capsys, "worker")


def test_a_store_that_cannot_be_opened(capsys: Captured) -> None:
    Path(".goflow").write_text("a file where the folder should be")
    assert ".goflow" in refused(capsys, "runs")


def test_a_store_that_is_no_database(capsys: Captured) -> None:
    Path(".goflow").mkdir()
    Path(".goflow/goflow.db").write_bytes(b"this is no database at all" * 400)
    assert "goflow.db" in refused(capsys, "runs")


def test_debug_shows_the_traceback_wherever_it_stands() -> None:
    Path("bad.py").write_text("1 / 0\n")
    assert main(["run", "bad.py"]) == 2
    for arguments in (("--debug", "run", "bad.py"), ("run", "bad.py", "--debug")):
        done = goflow_debug(*arguments)
        assert "Traceback" in done
        assert "ZeroDivisionError" in done
        assert done.count("goflow: ") >= 1


def goflow_debug(*arguments: str) -> str:
    import subprocess

    from tests.cli.shell import GOFLOW

    done = subprocess.run([*GOFLOW, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    return done.stderr


def test_help_needs_no_store(capsys: Captured) -> None:
    for arguments in ((), ("--help",), ("run", "-h"), ("show", "--help")):
        assert main(list(arguments)) in (0, 2)
        out, err = capsys.readouterr()
        assert "Usage: goflow" in out + err
    assert not Path(".goflow").exists()


def test_check_tells_all_problems_and_ends_with_1(capsys: Captured) -> None:
    Path("cycle.py").write_text(define("    dag.node('a') >> dag.node('b') >> 'a'\n"))
    Path("broken.py").write_text("def x(:\n")
    assert main(["check", "flows.py", "cycle.py", "broken.py"]) == 1
    out, err = capsys.readouterr()
    assert "echo" in out
    assert "cycle" in err
    assert "broken.py:1" in err
    assert main(["check"]) == 0
    Path("goflow.toml").write_text('flows = ["flows.py"]\nnope = 1\n')
    assert main(["check", "flows.py"]) == 1
    assert "nope" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "expected", "way_out"),
    [
        ("show", "a run id", "`goflow runs`"),
        ("debug", "a run id", "`goflow runs`"),
        ("debug r1", "a node's path", "`goflow show RUN`"),
        ("run", "a flow file", "`goflow init`"),
        ("graph", "a flow file", "`goflow flows`"),
        ("submit", "a flow's name", "`goflow flows`"),
        ("replay", "an exported run", "`goflow export RUN -o FILE`"),
        ("dead drop", "runs that failed", "`goflow dead list`"),
        ("completion", "bash", "zsh"),
    ],
)
def test_a_missing_argument_is_told_with_where_one_is_found(
    command: str, expected: str, way_out: str, capsys: Captured
) -> None:
    said = refused(capsys, *command.split())
    assert "Missing argument" in said
    assert expected in said
    assert way_out in said


@pytest.mark.parametrize("command", ["graph --run", "run --data", "graph --nope"])
def test_a_wrong_option_leads_to_the_help_of_its_command(command: str, capsys: Captured) -> None:
    name = command.split()[0]
    said = refused(capsys, *command.split())
    assert said.startswith(f"goflow {name}: ")
    assert said.endswith(f"Try `goflow {name} --help`.\n")
