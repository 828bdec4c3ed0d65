"""What surrounds a command: folders, environment, closed pipes, shells, and what reading shows."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.shell import FLOWS, GOFLOW, ask, goflow, nodes, runs


def test_the_package_is_the_command_too() -> None:
    """For whoever has several interpreters, or none of their scripts on the PATH."""
    asked = (sys.executable, "-m", "goflow_cli", "run", "flows.py", "--flow", "echo", "--data", "x")
    done = subprocess.run(asked, capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (0, b"x"), done.stderr
    usage = subprocess.run([*asked[:3], "run"], capture_output=True, text=True, check=False)
    assert usage.returncode == 2
    assert "Try `goflow run --help`" in usage.stderr


def test_init_then_run(home: Path) -> None:
    wrote = goflow("init", "first")
    assert wrote.out == b""
    assert {path.name for path in Path("first").iterdir()} == {"flow.py", "goflow.toml"}
    os.chdir("first")
    assert goflow("run", "flow.py", "--data", "hallo").out == b"HALLO has 5 letters"
    assert Path(".goflow/goflow.db").exists()
    assert not (home / ".goflow").exists()
    assert goflow("check").code == 0


def test_init_overwrites_nothing() -> None:
    refused = goflow("init", code=2)
    assert "goflow.toml exists already; nothing was written (--force" in refused.err
    assert not Path("flow.py").exists()


def test_init_writes_over_what_is_there_when_forced() -> None:
    goflow("init", "--force")
    assert 'flows = ["flow.py"]' in Path("goflow.toml").read_text()
    assert goflow("run", "flow", "--data", "hallo").out == b"HALLO has 5 letters"


def test_without_a_goflow_toml_runs_rest_in_the_users_state_folder(home: Path) -> None:
    Path("goflow.toml").unlink()
    run_id = "r1"
    goflow("run", "flows.py", "--flow", "doubtful", "--request-id", run_id, code=1)
    assert not Path(".goflow").exists()
    assert (home.parent / "state/goflow/goflow.db").exists()
    Path("fine").touch()
    (home.parent / "elsewhere").mkdir()
    os.chdir(home.parent / "elsewhere")
    assert nodes(run_id)["b"] == "failed"
    os.chdir(home)
    assert goflow("retry", run_id).out == b"abc"


def test_a_flow_of_goflow_toml_runs_by_its_name_unless_there_is_such_a_file() -> None:
    assert goflow("run", "echo", "--data", "by name").out == b"by name"
    missed = goflow("run", "ecko", code=2)
    assert "no flow named 'ecko', did you mean 'echo'?" in missed.err
    twice = goflow("run", "echo", "--flow", "loud", code=2)
    assert "'echo' is a flow" in twice.err
    Path("deep").mkdir()
    os.chdir("deep")
    assert goflow("run", "echo", "--data", "from below").out == b"from below"
    Path("echo").write_text("def define_workflow(w, c): w.dag.node('n', lambda data: 'a file')")
    assert goflow("run", "echo").out == b"a file"


def test_running_a_recorded_run_again_says_that_nothing_was_executed() -> None:
    first = goflow("run", "echo", "--data", "once", "--request-id", "r1")
    assert "recorded earlier" not in first.err
    again = goflow("run", "echo", "--data", "once", "--request-id", "r1")
    assert again.out == b"once"
    assert "run r1 was recorded earlier (succeeded); nothing was executed again" in again.err


def test_a_run_that_is_not_there_is_told_with_the_store_that_was_looked_in(home: Path) -> None:
    assert f"no run 'r9' in {home / '.goflow'}" in goflow("show", "r9", code=2).err
    assert f"no runs yet in {home / '.goflow'}" in goflow("runs").err


def test_goflow_alone_is_its_help() -> None:
    assert b"Commands:" in goflow().out


def test_commands_find_goflow_toml_from_the_folder_upwards() -> None:
    goflow("run", "flows.py", "--flow", "echo", "--request-id", "r1")
    Path("deep/down").mkdir(parents=True)
    os.chdir("deep/down")
    assert [run["run_id"] for run in runs()] == ["r1"]


def test_the_environment_beats_the_file_and_an_option_beats_both(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    goflow("run", "flows.py", "--flow", "echo", env={"GOFLOW_LOCAL_PATH": str(elsewhere)})
    assert (elsewhere / "goflow.db").exists()
    assert not Path(".goflow").exists()
    url = f"file://{tmp_path}/third"
    nobody = {"GOFLOW_BACKEND": "redis://127.0.0.1:1"}
    goflow("run", "flows.py", "--flow", "echo", "--backend", url, env=nobody)
    assert (tmp_path / "third/goflow.db").exists()
    assert len(goflow("runs", "--backend", url, "--json").json) == 1


@pytest.mark.parametrize(
    "command",
    [
        "runs", "runs --json", "show r1", "show r1 --json", "flows", "trace r1",
        "graph echo --run r1", "graph flows.py --flow echo", "explain r1", "export r1", "doctor", "check",
        "--help", "completion bash",
    ],
)  # fmt: skip
def test_a_reader_that_has_gone_is_no_error(command: str) -> None:
    goflow("run", "flows.py", "--flow", "echo", "--request-id", "r1")
    done = _into_a_closed_pipe(tuple(command.split()))
    assert done.stderr == b""
    assert done.returncode == 141


def test_a_result_that_nobody_reads_is_no_traceback() -> None:
    Path("big.py").write_text(
        "def define_workflow(workflow, context):\n"
        "    workflow.dag.node('big', lambda data: b'x' * 1_000_000)\n"
    )
    done = _into_a_closed_pipe(("run", "big.py", "--request-id", "r1"))
    for words in (b"Traceback", b"mistake", b"Broken pipe"):
        assert words not in done.stderr
    assert done.returncode == 141
    assert [run["state"] for run in runs()] == ["succeeded"]


def _into_a_closed_pipe(command: tuple[str, ...]) -> subprocess.CompletedProcess[bytes]:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        return subprocess.run(
            [*GOFLOW, *command], stdout=writing, stderr=subprocess.PIPE, timeout=60, check=False
        )
    finally:
        os.close(writing)


def test_a_run_goes_on_when_nobody_reads_its_stderr_any_more() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    for flow in ("loud", "doubtful"):
        done = subprocess.run(
            [*GOFLOW, "run", "flows.py", "--flow", flow],
            stdout=subprocess.PIPE,
            stderr=writing,
            timeout=60,
            check=False,
        )
        expected = (0, b"quiet result") if flow == "loud" else (1, b"")
        assert (done.returncode, done.stdout) == expected
    os.close(writing)
    assert [run["state"] for run in runs()] == ["failed", "succeeded"]


def test_closed_standard_streams_are_no_traceback() -> None:
    shell = "exec " + " ".join([*GOFLOW, "run", "flows.py", "--flow", "loud", "--ephemeral"])
    for closed in ("<&-", ">&-", "2>&-"):
        done = subprocess.run(
            ["sh", "-c", f"{shell} {closed}"], capture_output=True, timeout=60, check=False
        )
        assert b"Traceback" not in done.stderr
        assert b"mistake" not in done.stderr
        if closed != ">&-":
            assert (done.returncode, done.stdout) == (0, b"quiet result")
    stdin = subprocess.run(
        ["sh", "-c", f"{shell} --data - <&-"], capture_output=True, timeout=60, check=False
    )
    assert stdin.returncode == 2
    assert b"stdin is closed" in stdin.stderr


@pytest.mark.parametrize(
    "env",
    [
        {"LC_ALL": "C"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ],
)
def test_any_language_setting_shows_every_letter(env: dict[str, str]) -> None:
    """Not ASCII in the data, the output, the log, a node's error and a run's table."""
    Path("umlauts.py").write_text(
        "def work(data):\n"
        "    print('gedruckt: ü€')\n"
        "    if data == 'kaputt €'.encode(): raise ValueError('kaputt: ü€')\n"
        "    return data\n"
        "def define_workflow(workflow, context):\n"
        "    workflow.dag.node('a', work)\n",
        encoding="utf-8",
    )
    ended = goflow("run", "umlauts.py", "--data", "grün €", env=env)
    assert ended.text == "grün €"
    failed = goflow("run", "umlauts.py", "--data", "kaputt €", env=env, code=1)
    assert "ValueError: kaputt" in failed.err
    run_id = ask("runs", "--limit", "1", "--json").json[0]["run_id"]
    for command in (("show", run_id), ("logs", run_id)):
        assert goflow(*command, env=env).out
    assert "kaputt: ü€" in goflow("show", run_id, "--json", env=env).json["error"]


def test_a_path_that_is_not_utf8_is_refused_with_a_reason() -> None:
    name = b"gr\xfc\xdfe.py"
    Path(os.fsdecode(name)).write_text(FLOWS)
    refused = goflow("run", name, "--flow", "echo", code=2)
    assert "UTF-8" in refused.err


def test_errors_cannot_drive_a_terminal() -> None:
    Path("evil.py").write_text(
        "def work(data): raise ValueError('\\x1b[2J\\x1b]0;owned\\x07')\n"
        "def define_workflow(workflow, context):\n"
        "    workflow.dag.node('a', work)\n"
    )
    ended = goflow("run", "evil.py", "--request-id", "r1", code=1)
    assert "\x1b" not in ended.err
    for command in (("show", "r1"), ("runs",), ("explain", "r1"), ("explain", "r1", "a")):
        assert "\x1b" not in ask(*command).text


def test_reading_commands_show_a_run() -> None:
    goflow("run", "flows.py", "--flow", "doubtful", "--request-id", "r1", code=1)
    goflow("run", "flows.py", "--flow", "loud", "--request-id", "r2")
    listed = goflow("runs").text.splitlines()
    assert [line.split()[0] for line in listed] == ["RUN", "r2", "r1"]
    assert [run["run_id"] for run in ask("runs", "--flow", "loud", "--json").json] == ["r2"]
    assert [run["run_id"] for run in ask("runs", "--state", "failed", "--json").json] == ["r1"]
    assert len(ask("runs", "--limit", "1", "--json").json) == 1
    assert "no runs of 'echo'" in ask("runs", "--flow", "echo").err
    assert "did you mean 'loud'" in ask("runs", "--flow", "lout").err
    shown = goflow("show", "r1").text
    for words in ("doubtful r1: failed", "no luck", "flows.py", "skipped"):
        assert words in shown
    assert "failed: ValueError: no luck" in goflow("explain", "r1", "b").text
    assert "was skipped" in ask("explain", "r1", "c").text
    assert ask("explain", "r1", "--json").json["run_id"] == "r1"
    [piece] = (goflow("logs", "r2", "speak", "--json").json,)
    assert piece["text"] == "said aloud\nand complained\n"
    assert ask("logs", "r2", "-f").text == "== speak\nsaid aloud\nand complained\n"
    assert ask("logs", "r1").out == b""


def test_version_is_the_distributions() -> None:
    from importlib.metadata import version

    assert goflow("--version").text == f"goflow, version {version('goflow-cli')}\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: str) -> None:
    script = ask("completion", shell).text
    assert "_GOFLOW_COMPLETE" in script
    program = shutil.which(shell)
    if program:
        checked = subprocess.run(
            [program, "-n"], input=script, text=True, capture_output=True, timeout=60, check=False
        )
        assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("goflow sub", ["submit"]),
        ("goflow show night", ["nightly-7"]),
        ("goflow submit dou", ["doubtful"]),
        ("goflow run dou", ["dou", "doubtful"]),  # the first is for the shell: files it knows
        ("goflow runs --st", ["--state"]),
        ("goflow runs --state succ", ["succeeded"]),
    ],
)
def test_completion_knows_commands_options_flows_and_runs(words: str, expected: list[str]) -> None:
    if "night" in words:
        goflow("run", "flows.py", "--flow", "echo", "--request-id", "nightly-7")
    env = {
        "_GOFLOW_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
    }
    told = subprocess.run(
        [Path(GOFLOW[0]).with_name("goflow")],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert [line.partition(",")[2] for line in told.stdout.splitlines()] == expected
    assert (told.returncode, told.stderr) == (0, "")


def test_completion_of_a_broken_project_is_silent() -> None:
    Path("goflow.toml").write_text("nope = 1\n")
    env = {"_GOFLOW_COMPLETE": "bash_complete", "COMP_WORDS": "goflow show ", "COMP_CWORD": "2"}
    told = subprocess.run(
        [Path(GOFLOW[0]).with_name("goflow")],
        env={**os.environ, **env},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (told.returncode, told.stdout.strip(), told.stderr) == (0, b"", b"")


def test_check_lists_flows_and_is_clean() -> None:
    told = goflow("check", "--json").json
    assert told["ok"] is True
    assert {flow["flow"] for flow in told["flows"]} >= {"echo", "gate"}
    Path("flows.py").write_text(FLOWS + "\n1 / 0\n")
    refused = goflow("check", "--json", code=1)
    assert refused.json["ok"] is False
    assert "ZeroDivisionError" in refused.json["problems"][0]


def test_a_command_leaves_no_compiled_files_beside_the_flows() -> None:
    goflow("run", "flows.py", "--flow", "echo", "--ephemeral")
    assert {path.name for path in Path.cwd().iterdir()} == {"flows.py", "goflow.toml"}


@pytest.mark.parametrize("command", ["runs --json", "--help", "run echo --data hallo", "check"])
def test_output_that_has_no_room_is_told_in_a_sentence(command: str) -> None:
    with open("/dev/full", "wb") as full:  # noqa: PTH123
        done = subprocess.run(
            [*GOFLOW, *command.split()], stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert done.returncode == 1
    assert done.stderr.endswith(b"goflow: No space left on device: write to what has room\n")


def test_a_lack_of_descriptors_is_told_with_the_way_out() -> None:
    done = subprocess.run(
        ["/bin/sh", "-c", 'ulimit -n 12; exec "$@"', "sh", *GOFLOW, "run", "echo"],
        capture_output=True,
        check=False,
    )
    assert done.returncode == 1
    assert b"Too many open files: raise the limit (`ulimit -n`)" in done.stderr
    assert b"mistake" not in done.stderr


def test_children_are_waited_for_though_whoever_started_us_ignores_theirs() -> None:
    done = subprocess.run(
        ["/bin/sh", "-c", "trap '' CHLD; exec \"$@\"", "sh", *GOFLOW, "run", "echo", "--data", "x"],
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, b"x")
