"""What doctor finds in a local store, what it repairs, and what it leaves alone."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from goflow.backend import Action, Finding
from goflow.config import Config
from goflow.state import RunState
from goflow.testing.store import Worker, request
from goflow_local import LocalBackend
from tests.local.conftest import Open, Start, said
from tests.local.test_local_bounds import OF_RUNS, count, execute, finished_run


class Usage(NamedTuple):
    """What `shutil.disk_usage` answers."""

    total: int
    used: int
    free: int


def finding(backend: LocalBackend, name: str, *, fix: bool = False) -> Finding:
    """The one finding of that name."""
    (found,) = [each for each in backend.diagnose(fix) if each.name == name]
    return found


def repaired(backend: LocalBackend, name: str, *words: str) -> None:
    """A problem is told with these words, repaired once, and then gone."""
    found = finding(backend, name)
    assert (found.ok, found.fixed) == (False, False)
    assert "goflow doctor --fix" in found.text
    assert all(word in found.text for word in words), found.text
    fixed = finding(backend, name, fix=True)
    assert (fixed.ok, fixed.fixed) == (True, True)
    for fix in (False, True):
        again = finding(backend, name, fix=fix)
        assert (again.ok, again.fixed) == (True, False), again.text


def test_a_store_in_use_has_no_problem_and_a_repair_changes_nothing(open_store: Open) -> None:
    backend = open_store()
    worker = Worker(backend)
    finished_run(backend, worker, "done", 3)
    backend.submit(request("failed", "a", "b"))
    assert worker.fail(worker.one("a"))
    for run_id in ("paused", "retrying", "held", "queued"):
        backend.submit(request(run_id))
    backend.control("paused", "pause")
    assert worker.retry(worker.one("a"), at=1e12)
    worker.one("a")
    watcher = backend.watch("held")
    before, rows = backend.runs(), count(backend, *OF_RUNS)
    for fix in (False, True):
        assert [each for each in backend.diagnose(fix) if not each.ok or each.fixed] == []
    assert (backend.runs(), count(backend, *OF_RUNS)) == (before, rows)
    watcher.close()


def test_a_store_in_memory_can_be_looked_at() -> None:
    with LocalBackend.open("local", Config(), ephemeral=True) as backend:
        Worker(backend)
        backend.submit(request("r"))
        assert all(each.ok for each in backend.diagnose(True))


@pytest.mark.parametrize(("sync", "words"), [("normal", 'sync = "full"'), ("full", "power cut")])
def test_what_a_power_cut_may_take_is_told(open_store: Open, sync: str, words: str) -> None:
    told = finding(open_store(sync=sync), "sync")
    assert told.text.startswith(f"{sync}:")
    assert words in told.text


def test_a_damaged_file_is_told_and_not_written_to(open_store: Open, tmp_path: Path) -> None:
    backend = open_store()
    worker = Worker(backend)
    finished_run(backend, worker, "r", 3)
    execute(backend, "PRAGMA writable_schema = on")
    execute(backend, "UPDATE sqlite_schema SET rootpage = 3 WHERE name = 'node_path'")
    backend.close()
    again = open_store()
    found = finding(again, "integrity", fix=True)
    assert not found.ok
    assert str(tmp_path / "store") in found.text
    assert "backup" in found.text
    assert "queue" not in {each.name for each in again.diagnose(True)}


def test_what_is_left_of_removed_runs_is_cleared(open_store: Open) -> None:
    backend = open_store()
    finished_run(backend, Worker(backend), "old", 3)
    execute(backend, "INSERT INTO trash SELECT id FROM run")
    execute(backend, "DELETE FROM run")
    execute(backend, "DELETE FROM request")
    told = finding(backend, "removed runs")
    assert told.ok, "the next worker does it anyway"
    assert "goflow doctor --fix" in told.text
    assert finding(backend, "removed runs", fix=True).fixed
    assert sum(count(backend, *OF_RUNS).values()) == 0


def test_runs_that_an_older_goflow_has_begun_or_ended_meanwhile_are_counted_again(
    open_store: Open,
) -> None:
    backend = open_store()
    finished_run(backend, Worker(backend), "done", 1)
    for run_id in ("one", "other"):
        backend.submit(request(run_id))
    execute(backend, "UPDATE underway SET runs = runs - 3")
    repaired(backend, "counts", "miscounted")
    assert backend.figures().active == {"flow": 2}
    execute(backend, "INSERT INTO underway VALUES (77, 1)")
    repaired(backend, "counts", "miscounted")
    assert finding(backend, "counts").text == "2 runs on their way"


def test_rows_whose_run_is_gone_are_removed(open_store: Open) -> None:
    backend = open_store()
    finished_run(backend, Worker(backend), "old", 3)
    backend.submit(request("live"))
    execute(backend, "DELETE FROM run WHERE name = 'old'")
    repaired(backend, "orphans", "1 run")
    assert count(backend, "node", "request", "log", "attempt", "context", "trash") == {
        "node": 1, "request": 1, "log": 0, "attempt": 0, "context": 0, "trash": 0,
    }  # fmt: skip


def test_a_queue_without_what_is_ready_and_with_what_is_not_is_put_right(open_store: Open) -> None:
    backend = open_store()
    worker = Worker(backend)
    for run_id in ("held", "lost", "parked"):
        backend.submit(request(run_id))
    held = worker.one("a")
    backend.control("parked", "pause")
    execute(backend, "DELETE FROM queue")
    execute(backend, "INSERT INTO queue SELECT definition, 1, node.id FROM node JOIN run"
                     " ON run.id = node.run WHERE node.state = 2")  # fmt: skip
    repaired(backend, "queue", "1 entry", "2 ready nodes")
    assert [claim.task.run_id for claim in worker.claim()] == ["lost"]
    backend.control("parked", "resume")
    assert [claim.task.run_id for claim in worker.claim()] == ["parked"]
    assert worker.succeed(held, b"A", ends=True)


def test_a_process_that_was_killed_is_noticed_and_what_it_held_taken_back(
    open_store: Open, start: Start
) -> None:
    backend = open_store()
    backend.submit(request("r"))
    process = start(
        "worker = Worker(backend)\nworker.one('a')\nbackend.watch('r')\nsay('held')\ntime.sleep(60)"
    )
    assert said(process) == "held"
    assert finding(backend, "workers").text == "1 process alive"
    process.kill()
    process.wait()
    told = finding(backend, "listeners")
    assert (told.ok, told.text[:10]) == (False, "1 listener")
    repaired(backend, "workers", "1 process has ended")
    assert finding(backend, "listeners").text == "0 alive"
    assert Worker(backend).one("a").task.lost == 1


def test_a_full_disk_is_a_problem(open_store: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = open_store()
    assert finding(backend, "disk").ok
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**9, 10**9, 1000))
    found = finding(backend, "disk")
    assert not found.ok
    assert "make room" in found.text


@pytest.mark.parametrize("action", ["resume", "stop"])
def test_handlers_that_waited_for_the_end_of_a_pause_are_queued_once(
    open_store: Open, action: Action
) -> None:
    backend = open_store()
    worker = Worker(backend)
    backend.submit(request("r", handlers=("~on_failure", "~finally")))
    claim = worker.one("a")
    backend.control("r", "pause")
    assert worker.fail(claim)
    backend.control("r", action)
    assert finding(backend, "queue").text == "1 task in it"
    assert worker.succeed(worker.one("~on_failure"))
    assert worker.succeed(worker.one("~finally"))
    assert backend.run("r").state is RunState.FAILED
    assert finding(backend, "queue").text == "0 tasks in it"
