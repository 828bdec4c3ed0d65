"""An accepted run is never lost, and what is recorded is never executed again: kill -9 at any moment."""

from __future__ import annotations

import os
import signal
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
    _kill_workers(hammer, seconds=3.0)


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


@pytest.mark.chaos
def test_frozen_workers_for_a_long_while(hammer: Hammer) -> None:
    _kill_workers(hammer, seconds=_long() / 2, freeze=True)


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


def _kill_workers(hammer: Hammer, seconds: float, freeze: bool = False) -> None:
    """Workers, submitters and foreground runs come and are killed; in the end all that began has ended.

    With `freeze` workers are also stopped for longer than their lease: what they hold is then executed
    by others too, even where it is recorded meanwhile.
    """
    storm = Storm(hammer)
    actions = [storm.submit, storm.submit, storm.kill_a_submit, storm.kill_a_run, storm.look]
    actions += [storm.kill_a_worker] * 2 + [storm.freeze_a_worker] * (2 * freeze)
    ends = time.monotonic() + seconds
    while time.monotonic() < ends or not storm.accepted:
        hammer.random.choice(actions)()
    storm.account()
    if freeze:
        hammer.settled.clear()
    hammer.judge()


class Storm:
    """What may happen to a store that two workers share, and what must have come of it."""

    def __init__(self, hammer: Hammer) -> None:
        self.hammer = hammer
        self.expected = {text: expected_of(hammer, text) for text in ("one", "two")}
        #: the text of every accepted run; "" for those that fail
        self.accepted: dict[str, str] = {}
        self.workers = [hammer.start("worker") for _ in range(2)]
        self._count = 0

    def submit(self) -> None:
        run_id, flow, text, options = self._request()
        done = self.hammer.do("submit", flow, *options)
        assert done.out == f"{run_id}\n", done.err
        self.accepted[run_id] = text if flow == "chaos" else ""

    def kill_a_submit(self) -> None:
        _, flow, _, options = self._request()
        process = self.hammer.start("submit", flow, *options)
        self.hammer.nap(0.3)
        kills = self.hammer.kills
        self.hammer.kill(process)
        self.hammer.kills = kills  # it executes nothing

    def kill_a_run(self) -> None:
        run_id, flow, _, options = self._request()
        process = self.hammer.start("run", "flow.py", "--flow", flow, *options)
        self.hammer.nap(1.0)
        self.hammer.look(run_id)
        self.hammer.kill(process)

    def kill_a_worker(self) -> None:
        self.hammer.nap(0.5)
        self.look()
        self.hammer.kill(self.workers.pop(self.hammer.random.randrange(2)))
        self.workers.append(self.hammer.start("worker"))

    def freeze_a_worker(self) -> None:
        frozen = self.hammer.random.choice(self.workers)
        frozen.send_signal(signal.SIGSTOP)
        self.hammer.nap(5.0)
        frozen.send_signal(signal.SIGCONT)
        self.hammer.kills += 1

    def look(self) -> None:
        if self.accepted:
            self.hammer.look(self.hammer.random.choice(list(self.accepted)))

    def account(self) -> None:
        """Every accepted run is there and has ended as it must."""
        states = self.hammer.wait_for_all()
        assert self.accepted.keys() <= states.keys()
        for run_id, text in self.accepted.items():
            result = self.hammer.do("result", run_id)
            if text:
                assert (result.code, result.out) == (0, self.expected[text]), result.err
            else:
                assert result.code == 1
                assert "as it must" in result.err
            self.hammer.look(run_id)
        stderr = (self.hammer.folder / "stderr.txt").read_text()
        assert "Traceback" not in stderr
        assert "mistake" not in stderr

    def _request(self) -> tuple[str, str, str, tuple[str, ...]]:
        """A new run's id, flow, text and options."""
        self._count += 1
        run_id = f"r{self._count}"
        text = self.hammer.random.choice(list(self.expected))
        flow = self.hammer.random.choice(["chaos", "chaos", "handled"])
        return run_id, flow, text, ("--request-id", run_id, "--data", text)
