"""The judge finds what it is there to find: a run that went well, and its records tampered with."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple, cast

import msgspec
import pytest

from goflow.backend import Backend, WorkerInfo
from goflow.config import Config, Local
from goflow.engine import request
from goflow.loader import load
from goflow.payload import of_input
from goflow.worker import Worker
from goflow_local import LocalBackend
from tests.chaos.checks import judge
from tests.chaos.expectation import expect
from tests.chaos.load import Load, Submitted
from tests.chaos.oracle import Oracle
from tests.chaos.world import HERE, World

Lines = list[str]


class Case(NamedTuple):
    """A diamond that was executed by a real worker, and what its nodes recorded."""

    backend: Backend
    run: Submitted
    lines: Lines


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    folder = tmp_path_factory.mktemp("judge")
    shutil.copy(HERE / "flow.py", folder)
    flow = load(folder / "flow.py")["diamond"]
    run = Submitted(request(flow.plan, "run", of_input("text"), None), expect(flow, "text"))
    with LocalBackend.open("local", Config(local=Local(path=str(folder / "store")))) as backend:
        me = WorkerInfo(id=0, host="here", pid=os.getpid(), started=0.0, concurrency=2)
        backend.submit(run.request)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("NEMESIS_RECORDS", str(folder / "records"))
            worker = Worker(backend, [flow], backend.enter(me))
            worker.run(until=lambda: backend.run("run").state.terminal)
        run.ended = time.monotonic()
        yield Case(backend, run, (folder / "records").read_text().splitlines())


def verdict(case: Case, folder: Path, lines: Lines, run: Submitted | None = None) -> str:
    """What the judge says if these were the records."""
    (folder / "records").write_text("".join(f"{line}\n" for line in lines))
    found = judge(case.backend, Oracle(folder / "records"), [run or case.run], repeats=0)
    return "\n".join(found)


def test_a_run_that_went_well_is_found_so(case: Case, tmp_path: Path) -> None:
    assert verdict(case, tmp_path, case.lines) == ""


def again(lines: Lines) -> Lines:
    return lines + [line for line in lines if " begin run join " in line]


def unmade(lines: Lines) -> Lines:
    return [line[:-16] + "0" * 16 if " end run left " in line else line for line in lines]


def too_early(lines: Lines) -> Lines:
    late = next(line for line in lines if " end run middle " in line)
    return [line for line in lines if line != late] + [late]


def too_late(lines: Lines) -> Lines:
    moment, *words = lines[-1].split(" ")
    return [*lines, " ".join((str(int(moment) + 60 * 10**9), "begin", *words[1:]))]


@pytest.mark.parametrize(
    ("tamper", "found"),
    [
        (again, "1 executions were repeated, 0 explained"),
        (unmade, "run left has a result that nobody was seen to make"),
        (too_early, "run join began before ['middle'] had ended"),
        (too_late, "s after the run had ended"),
    ],
)
def test_what_did_not_go_well_is_found(
    case: Case, tmp_path: Path, tamper: Callable[[Lines], Lines], found: str
) -> None:
    assert found in verdict(case, tmp_path, tamper(case.lines))


def test_a_late_result_is_found(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts = case.backend.attempts("run")
    taken = [
        msgspec.structs.replace(each, ready=each.started + 1) if each.path == "left" else each
        for each in attempts
    ]
    monkeypatch.setattr(case.backend, "attempts", lambda run_id: taken)
    assert "run left is recorded as executed 1.000 s before" in verdict(case, tmp_path, case.lines)


def test_another_result_and_a_lost_run_are_found(case: Case, tmp_path: Path) -> None:
    flow = load(HERE / "flow.py")["diamond"]
    other = Submitted(case.run.request, expect(flow, "another text"))
    assert "run made" in verdict(case, tmp_path, case.lines, other)
    lost = Submitted(request(flow.plan, "lost", of_input("text"), None), case.run.expected)
    assert "lost was accepted and is gone" in verdict(case, tmp_path, case.lines, lost)


@pytest.mark.parametrize("lost", ["never", "while it is asked", "before"])
def test_an_id_is_taken_by_another_payload_only_where_the_store_has_lost_the_run(
    tmp_path: Path, lost: str
) -> None:
    flows = load(HERE / "flow.py")

    class Asking(Load):
        def _submit(self, backend: Backend, run: Submitted) -> None:
            super()._submit(backend, run)
            self.forgiving = lost != "never"

        def contradict(self, backend: Backend) -> None:
            self.runs["run"] = first = self._asked("run", "diamond", 1, "text")
            first.acknowledged = 1.0
            self._contradict(backend, first)

    asking = Asking(cast("World", SimpleNamespace(flows={1: flows})), seed=1)
    asking.forgiving = lost == "before"
    store = Config(local=Local(path=str(tmp_path / "store")))
    with LocalBackend.open("local", store) as backend:  # which has no run of this id
        asking.contradict(backend)
        accepted = [run.id for run in backend.runs()]
    told = ["run was accepted again with another payload"]
    assert asking.problems == (told if lost == "never" else [])
    assert accepted == ([] if lost == "before" else ["run"])
    assert asking.runs["run"].request.flow == (
        "chain" if lost == "while it is asked" else "diamond"
    )
