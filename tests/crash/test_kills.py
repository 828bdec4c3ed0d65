"""An accepted run is never lost, and what is recorded is never executed again: kill -9 at any moment."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.hammer import Hammer, seed


@pytest.fixture
def hammer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hammer]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for name in [n for n in os.environ if n.startswith("GOFLOW_") and "CHAOS" not in n]:
        monkeypatch.delenv(name)
    folder = tmp_path / "project"
    folder.mkdir()
    made = Hammer(folder, seed())
    yield made
    made.close()


def expected_of(hammer: Hammer, text: str) -> str:
    """The result of an undisturbed run that leaves nothing."""
    done = hammer.do("run", "flow.py", "--flow", "chaos", "--data", text, "--ephemeral")
    assert done.code == 0, done.err
    (hammer.folder / "trace.txt").unlink()
    return done.out


def test_a_killed_run_is_finished_by_retry(hammer: Hammer) -> None:
    _kill_and_retry(hammer, rounds=3)


def test_runs_survive_their_workers(hammer: Hammer) -> None:
    _kill_workers(hammer, seconds=4.0)


@pytest.mark.chaos
def test_killed_runs_for_a_long_while(hammer: Hammer) -> None:
    ends = time.monotonic() + _long() / 2
    while time.monotonic() < ends:
        _kill_and_retry(hammer, rounds=hammer.random.randrange(1, 12))
        hammer.kills = 0
        hammer.settled.clear()
        (hammer.folder / "trace.txt").unlink(missing_ok=True)


@pytest.mark.chaos
def test_killed_workers_for_a_long_while(hammer: Hammer) -> None:
    _kill_workers(hammer, seconds=_long() / 2)


def _long() -> float:
    return float(os.environ.get("GOFLOW_CHAOS_SECONDS") or 120)


def _kill_and_retry(hammer: Hammer, rounds: int) -> None:
    """One foreground run, killed at random moments and continued, the last time to its end."""
    text = f"text {hammer.random.random()}"
    expected = expected_of(hammer, text)
    run_id = f"run-{hammer.random.randrange(10**9)}"
    begin = ("run", "flow.py", "--flow", "chaos", "--request-id", run_id, "--data", text)
    process = hammer.start(*begin)
    for _ in range(rounds):
        hammer.nap(1.2)
        if hammer.random.random() < 0.5:
            hammer.look(run_id)
        hammer.kill(process)
        state = hammer.look(run_id)
        if state == "succeeded":
            break
        process = hammer.start("retry", run_id) if state else hammer.start(*begin)
    else:
        ended = hammer.end(process)
        if ended.code != 0:  # it had succeeded between the last kill and the look
            assert hammer.look(run_id) == "succeeded"
    result = hammer.do("result", run_id)
    assert (result.code, result.out) == (0, expected), result.err
    hammer.judge()


def _kill_workers(hammer: Hammer, seconds: float) -> None:
    """Workers, submitters and foreground runs come and are killed; in the end all that began has ended."""
    chance = hammer.random
    expected = {text: expected_of(hammer, text) for text in ("one", "two")}
    accepted: dict[str, str] = {}
    workers = [hammer.start("worker") for _ in range(2)]
    ends = time.monotonic() + seconds
    number = 0
    while time.monotonic() < ends or not accepted:
        number += 1
        text = chance.choice(list(expected))
        flow = chance.choice(["chaos", "chaos", "handled"])
        request = ("--request-id", f"r{number}", "--data", text)
        match chance.choice(["submit", "submit", "kill a submit", "run", "kill", "kill", "look"]):
            case "submit":
                done = hammer.do("submit", flow, *request)
                assert done.out == f"r{number}\n", done.err
                accepted[done.out.strip()] = text if flow == "chaos" else ""
            case "kill a submit":
                process = hammer.start("submit", flow, *request)
                hammer.nap(0.3)
                hammer.kill(process)
                hammer.kills -= 1  # it executes nothing
            case "run":
                process = hammer.start("run", "flow.py", "--flow", flow, *request)
                hammer.nap(1.0)
                hammer.look(f"r{number}")
                hammer.kill(process)
            case "kill":
                hammer.nap(0.5)
                if accepted:
                    hammer.look(chance.choice(list(accepted)))
                victim = workers.pop(chance.randrange(len(workers)))
                hammer.kill(victim)
                workers.append(hammer.start("worker"))
            case "look" if accepted:
                hammer.look(chance.choice(list(accepted)))
    states = hammer.wait_for_all()
    assert accepted.keys() <= states.keys()
    for run_id, text in accepted.items():
        result = hammer.do("result", run_id)
        if text:
            assert (result.code, result.out) == (0, expected[text]), result.err
        else:
            assert result.code == 1
            assert "as it must" in result.err
        hammer.look(run_id)
    hammer.judge()
    stderr = (hammer.folder / "stderr.txt").read_text()
    assert "Traceback" not in stderr
    assert "mistake" not in stderr
