"""What a store keeps, how much of it at a time, and for how long."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Iterable, Iterator, Sequence

import apsw
import pytest

from goflow.backend import Definition, NodeRun, Retry
from goflow.errors import Conflict
from goflow.message import Failure, Item, Outcome, Rewind
from goflow.payload import Payload
from goflow.plan import Graph, Node, Plan
from goflow.testing.store import FLOW, Worker, closes, edge, request, scopes
from goflow.wholesale import AllNodes
from goflow_cli.watching import watch
from goflow_local import LocalBackend, retention
from tests.local.conftest import Open

#: tables whose rows belong to runs
OF_RUNS = ("run", "request", "node", "arrival", "output", "opening", "item", "queue", "context",
           "log", "attempt", "trash")  # fmt: skip


def count(backend: LocalBackend, *tables: str) -> dict[str, int]:
    """How many rows tables have."""

    def rows(table: str) -> int:
        query = f"SELECT count(*) FROM {table}"
        return int(backend._store.read(lambda c: c.execute(query).fetchone()[0]))

    return {table: rows(table) for table in tables}


def execute(backend: LocalBackend, statement: str) -> None:
    """Change the store behind the backend's back."""
    backend._store.write(lambda c: c.execute(statement))


def expire(backend: LocalBackend) -> None:
    """Let everything that has an end have had it long ago."""
    for statement in (
        "UPDATE run SET finished = finished - 1e6 WHERE finished IS NOT NULL",
        "UPDATE worker SET gone = gone - 1e6",
        "UPDATE definition SET registered = registered - 1e6",
    ):
        execute(backend, statement)


def finished_run(backend: LocalBackend, worker: Worker, run_id: str, width: int) -> None:
    """A run that has left something in every table."""
    backend.submit(request(run_id, "each", payload=b"in"))
    keys = tuple(f"k{number}" for number in range(width))
    writes = {"key": Payload(b"value")}
    assert worker.retry(worker.one("each"), at=0)
    backend.tick(worker.id)
    assert worker.open(worker.one("each"), scopes("each", keys), keys=keys)
    for claim in worker.claim(width):
        key = claim.task.path[5:-3]
        assert worker.succeed(claim, b"out", closes("each", key), writes=writes, log=b"said")
    assert worker.succeed(worker.one("each"), b"all", ends=True)


def test_everything_of_a_run_goes_after_its_retention(open_store: Open) -> None:
    backend = open_store()
    worker = Worker(backend)
    finished_run(backend, worker, "old", 3)
    backend.submit(request("live"))
    before = count(backend, *OF_RUNS)
    assert all(before[table] for table in OF_RUNS if table not in ("trash",)), before
    expire(backend)
    backend.tick(worker.id)
    assert count(backend, *OF_RUNS) == dict.fromkeys(OF_RUNS, 0) | {
        "run": 1, "request": 1, "node": 1, "queue": 1,
    }  # fmt: skip
    assert [run.id for run in backend.runs()] == ["live"]


def test_a_large_run_goes_in_bites(open_store: Open) -> None:
    backend = open_store()
    worker = Worker(backend)
    finished_run(backend, worker, "old", 2 * retention.BITE)
    expire(backend)
    rows = [sum(count(backend, *OF_RUNS).values())]
    while (due := backend.tick(worker.id)) is not None and due <= time.time():
        rows.append(sum(count(backend, *OF_RUNS).values()))
        assert rows[-2] - rows[-1] <= 2 * retention.BITE
    assert len(rows) > 5
    assert sum(count(backend, *OF_RUNS).values()) == 0


def test_an_id_is_free_again_and_its_new_run_is_another(open_store: Open) -> None:
    backend = open_store()
    worker = Worker(backend)
    backend.submit(request("r"))
    old = worker.one("a")
    assert worker.succeed(old, b"old", ends=True)
    expire(backend)
    backend.tick(worker.id)
    backend.submit(request("r", payload=b"another"))
    claim = worker.one("a")
    assert claim.task.token != old.task.token
    assert not worker.succeed(old, b"late", ends=True)
    assert worker.succeed(claim, b"new", ends=True)
    assert backend.result("r").data == b"new"


def test_a_failed_run_is_kept_longer(open_store: Open) -> None:
    backend = open_store(retention=10.0, dead=7000 * 86400.0)
    worker = Worker(backend)
    for run_id in ("good", "bad"):
        backend.submit(request(run_id))
        claim = worker.one("a")
        assert worker.succeed(claim, b"A", ends=True) if run_id == "good" else worker.fail(claim)
    expire(backend)
    due = backend.tick(worker.id)
    assert [run.id for run in backend.runs()] == ["bad"]
    finished = backend.run("bad").finished
    assert finished is not None
    assert due == finished + 7000 * 86400.0


def test_an_id_is_free_when_its_run_is_past_its_retention_though_no_worker_came_by(
    open_store: Open,
) -> None:
    backend = open_store(retention=10.0, dead=2e6)
    worker = Worker(backend)
    for run_id in ("good", "bad", "on-its-way"):
        backend.submit(request(run_id))
    for run_id in ("good", "bad"):
        claim = worker.one("a")
        assert worker.succeed(claim, b"A", ends=True) if run_id == "good" else worker.fail(claim)
    with pytest.raises(Conflict):
        backend.submit(request("good", payload=b"another"))
    expire(backend)
    for run_id in ("bad", "on-its-way"):
        with pytest.raises(Conflict):
            backend.submit(request(run_id, payload=b"another"))
    assert backend.submit(request("good", payload=b"another")).state == "queued"
    assert {run.id: run.state for run in backend.runs()} == {
        "good": "queued", "bad": "failed", "on-its-way": "queued",
    }  # fmt: skip
    backend.tick(worker.id)
    claims = {claim.task.run_id: claim for claim in worker.claim(5)}
    assert worker.succeed(claims["good"], b"new", ends=True)
    assert backend.result("good").data == b"new"


def test_a_large_run_is_forgotten_whole(open_store: Open) -> None:
    backend = open_store()
    worker = Worker(backend)
    finished_run(backend, worker, "old", 2 * retention.BITE)
    backend.forget("old")
    assert sum(count(backend, *OF_RUNS).values()) == 0


def test_a_tick_says_when_the_next_run_is_past_its_retention(open_store: Open) -> None:
    backend = open_store(retention=100.0)
    worker = Worker(backend)
    backend.submit(request("r"))
    assert worker.succeed(worker.one("a"), b"A", ends=True)
    finished = backend.run("r").finished
    assert finished is not None
    assert backend.tick(worker.id) == finished + 100.0


def test_a_superseded_definition_goes_when_no_run_needs_it(open_store: Open) -> None:
    backend = open_store()
    worker = Worker(backend)

    def register(fingerprint: str) -> None:
        backend.register(Definition(flow=FLOW[0], fingerprint=fingerprint, plan=b"{}"))

    def known() -> list[str]:
        found = backend._store.read(
            lambda c: c.execute(
                "SELECT fingerprint FROM definition WHERE plan IS NOT NULL"
            ).fetchall()
        )
        return sorted(fingerprint for (fingerprint,) in found)

    register("unused")
    register(FLOW[1])
    backend.submit(request("live"))
    backend.submit(request("old", flow=(FLOW[0], "x")))
    backend.control("old", "stop")
    register("present")
    expire(backend)
    backend.tick(worker.id)
    assert known() == sorted([FLOW[1], "present"])
    assert backend.definition(FLOW[0]).fingerprint == "present"


def test_nonces_are_forgotten(open_store: Open) -> None:
    backend = open_store()
    worker = Worker(backend)
    assert backend.remember("short", 0.0)
    assert backend.remember("long", 1000.0)
    backend.tick(worker.id)
    assert count(backend, "nonce") == {"nonce": 1}
    assert not backend.remember("long", 1000.0)


def test_a_wide_fan_out_needs_no_more_memory_than_its_window(open_store: Open) -> None:
    width, window, chunk = 20_000, 100, 500
    backend = open_store()
    worker = Worker(backend)
    backend.submit(request("r", "each"))
    branch = worker.one("each")
    tracemalloc.start()
    try:
        for first in range(0, width - chunk, chunk):
            some = range(first, first + chunk)
            items = [Item(f"each[{n}]/", ("x",), Payload(b"x" * 100)) for n in some]
            backend.stage(branch.task, items)
        rest = [Item(f"each[{n}]/", ("x",), Payload(b"")) for n in range(width - chunk, width)]
        assert worker.open(branch, rest, window=window, expects=width)
        assert count(backend, "queue", "node") == {"queue": window, "node": window + 1}
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2_000_000, "bytes, for scopes of 2 MB and more"
    for _ in range(10):
        for claim in worker.claim(window):
            key = claim.task.path[5:-3]
            assert worker.succeed(claim, b"", closes("each", key))
        assert count(backend, "queue") == {"queue": window}


def test_a_wide_run_is_watched_page_by_page(open_store: Open) -> None:
    """A view sees every node instance, and never holds more than a page of them."""
    backend = open_store()
    worker = Worker(backend)
    keys = tuple(str(number) for number in range(2500))
    backend.submit(request("wide", "each"))
    assert worker.open(worker.one("each"), scopes("each", keys), keys=keys)
    pages = list(backend.node_pages("wide"))
    assert max(map(len, pages)) <= 1000
    assert {node.path for page in pages for node in page} == {
        node.path for node in backend.nodes("wide")
    }
    assert len(list(AllNodes(backend, "wide"))) == 2501


@pytest.mark.parametrize("failing", [False, True])
def test_lines_about_a_wide_run_need_what_is_inside_only_where_something_failed(
    open_store: Open,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    failing: bool,
) -> None:
    backend, width = open_store(), 1200
    worker, keys = Worker(backend), tuple(map(str, range(width)))
    backend.submit(request("r", "each"))
    assert worker.open(worker.one("each"), scopes("each", keys))
    for claim in worker.claim(width):
        if failing and claim.task.path == "each[7]/x":
            assert worker.fail(claim)
        else:
            assert worker.succeed(claim, b"", closes("each", claim.task.path[5:-3]))
    if not failing:
        assert worker.succeed(worker.one("each"), b"", ends=True)
    read: list[int] = []

    def nodes(run_id: str, paths: Iterable[str] | None = None) -> list[NodeRun]:
        found = LocalBackend.nodes(backend, run_id, paths)
        read.append(len(found))
        return found

    def node_pages(run_id: str) -> Iterator[Sequence[NodeRun]]:
        for page in LocalBackend.node_pages(backend, run_id):
            read.append(len(page))
            yield page

    monkeypatch.setattr(backend, "nodes", nodes)
    monkeypatch.setattr(backend, "node_pages", node_pages)
    each = Node("each", "foreach", dags={"": Graph({"x": Node("x")}, ())})
    ended = watch(backend, Plan("flow", Graph({"each": each}, ())), "r", None, None)
    assert ended.state == ("failed" if failing else "succeeded")
    told = capsys.readouterr().err
    if failing:
        assert "each[7]/x failed" in told
        assert max(read) <= 1000
    else:
        assert f"({width}/{width})" in told
        assert sum(read) <= 2 * len(read), "the branch, and no more"


def test_scopes_that_were_staged_in_vain_are_gone(open_store: Open) -> None:
    backend = open_store()
    first, second = Worker(backend), Worker(backend)
    backend.submit(request("r", "each"))
    branch = first.one("each")
    backend.stage(branch.task, scopes("each", "abc"))
    assert count(backend, "item") == {"item": 3}
    assert first.retry(branch, at=0)
    assert count(backend, "item") == {"item": 0}
    backend.tick(second.id)
    branch = first.one("each")
    backend.stage(branch.task, scopes("each", "ab"))
    backend.leave(first.id)
    assert count(backend, "item") == {"item": 0}
    branch = second.one("each")
    backend.stage(branch.task, scopes("each", "a"))
    assert second.open(branch, scopes("each", "b"), expects=2)
    assert [node.path for node in backend.nodes("r")] == ["each", "each[a]/x", "each[b]/x"]


def test_an_unlimited_window_opens_all_scopes_at_once(open_store: Open) -> None:
    backend = open_store()
    worker = Worker(backend)
    backend.submit(request("r", "each"))
    keys = [str(number) for number in range(2500)]
    assert worker.open(worker.one("each"), scopes("each", keys), window=0)
    assert count(backend, "queue") == {"queue": 2500}


def test_a_result_that_many_need_is_stored_once(open_store: Open) -> None:
    backend = open_store()
    worker = Worker(backend)
    backend.submit(request("r"))
    big = b"x" * 1_000_000
    targets = [edge("a", f"b{number}") for number in range(20)]
    assert worker.succeed(worker.one("a"), big, *targets)
    pages = backend._store.read(lambda c: c.execute("PRAGMA page_count").fetchone()[0])
    assert pages * 4096 < 2 * len(big)
    for claim in worker.claim():
        assert worker.data(claim) == {"a": big}


def test_a_run_that_ended_with_work_left_over_leaves_no_queue(open_store: Open) -> None:
    backend = open_store()
    worker = Worker(backend)
    backend.submit(request("r", "a", "b", "c"))
    assert worker.fail(worker.one("a"))
    assert backend.waiting() == {}
    assert worker.claim() == []
    expire(backend)
    backend.tick(worker.id)
    assert count(backend, "queue", "node") == {"queue": 0, "node": 0}


def test_a_retry_does_not_wait_for_a_clock_that_was_set_back(open_store: Open) -> None:
    backend = open_store()
    worker = Worker(backend, (FLOW,))
    backend.submit(request("r", "a"))
    claim = worker.one("a")
    ahead = time.time() + 7200  # the clock was two hours fast when the attempt failed
    failed = Outcome(
        claim.task, ahead, ahead, failure=Failure("ValueError", "boom", "a"), retry_at=ahead + 60
    )
    assert backend.commit([failed])[0] == [True]
    backend.tick(worker.id)
    assert worker.one("a").task.attempt == 2


def test_the_time_of_a_run_begins_anew_when_the_clock_is_set_back(
    open_store: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = open_store()
    worker = Worker(backend, (FLOW,))
    backend.submit(request("r", "a", timeout=5.0))
    with monkeypatch.context() as fast:
        fast.setattr("goflow_local.change.now", lambda: time.time() + 7200)
        worker.one("a")
    due = backend.tick(worker.id)
    assert due is not None
    assert 0 < due - time.time() <= 5
    monkeypatch.setattr("goflow_local.change.now", lambda: due + 0.1)
    monkeypatch.setattr("goflow_local.housekeeping.now", lambda: due + 0.1)
    backend.tick(worker.id)
    assert "timed out after 5 s" in str(backend.run("r").error)


def test_what_a_run_that_ended_left_to_retry_holds_up_no_other_runs_retry(open_store: Open) -> None:
    backend = open_store()
    worker = Worker(backend, (FLOW,))
    backend.submit(request("ended", "a", "b"))
    first, second = worker.claim(2)
    assert worker.retry(first, at=time.time() + 60)
    assert worker.fail(second)
    backend.submit(request("r", "a"))
    assert worker.retry(worker.one("a"), at=0)
    backend.tick(worker.id)
    assert worker.one("a").task.run_id == "r"


def test_a_large_output_is_not_held_once_it_is_recorded(open_store: Open) -> None:
    with open_store() as backend:
        for number in range(2):
            backend.submit(request(f"r{number}"))
        worker = Worker(backend, (FLOW,))
        worker.succeed(worker.one("a"), output=Payload(b"x"))
        before = apsw.memory_used()
        worker.succeed(worker.one("a"), output=Payload(bytes(8_000_000)))
        assert apsw.memory_used() - before < 4_500_000, "SQLite's page cache, and no copy of it"


def test_what_waits_is_counted_with_a_look_at_the_nodes_of_ending_runs_alone(
    open_store: Open,
) -> None:
    with open_store() as backend:
        for number in range(50):
            backend.submit(request(f"r{number}"))
        backend.submit(request("ending", *"abcdef", handlers=("~finally",)))
        worker = Worker(backend, (FLOW,))
        claimed = worker.claim(51)
        assert worker.fail(claimed[-1])
        assert backend.waiting() == {FLOW: 1}, "the handler, and none of the other five"
        assert worker.claim(10)[0].task.path == "~finally"
        assert backend.waiting() == {}


def test_runs_that_are_forgotten_or_past_their_retention_are_not_on_their_way(
    open_store: Open,
) -> None:
    backend = open_store()
    worker = Worker(backend)
    for run_id in ("old", "forgotten"):
        finished_run(backend, worker, run_id, 3)
    for run_id in ("old", "forgotten"):
        backend.retry(run_id, Retry(rewind=Rewind(removed=("each",), ready=("each",))))
    assert backend.figures().active == {"flow": 2}
    for run_id in ("old", "forgotten"):
        backend.control(run_id, "stop")
    backend.submit(request("live"))
    backend.control("live", "stop")
    backend.retry("live", Retry(rewind=Rewind(fingerprint="f" * 16)))
    backend.forget("forgotten")
    expire(backend)
    backend.tick(worker.id)
    assert [run.id for run in backend.runs()] == ["live"]
    assert backend.figures().active == {"flow": 1}
    kept = backend._store.read(lambda c: c.execute("SELECT * FROM underway").fetchall())
    assert [number for _, number in sorted(kept)] == [0, 1], "it lives on another definition"
