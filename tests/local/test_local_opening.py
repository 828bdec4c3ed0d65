"""Opening a store: what is made, what is refused, and what the message says."""

from __future__ import annotations

import os
import sqlite3
from hashlib import sha256
from pathlib import Path

import apsw
import pytest

from goflow.config import Config, Local
from goflow.errors import BackendError, ConfigError, StoreFull
from goflow.payload import JSON, Payload
from goflow.state import RunState
from goflow.testing.store import FLOW, Worker, request
from goflow_local import LocalBackend, schema
from tests.local.conftest import Open, Start, said


def at(folder: Path) -> Config:
    return Config(local=Local(path=str(folder)))


def test_a_fresh_store_is_a_folder_that_git_ignores(open_store: Open, tmp_path: Path) -> None:
    open_store()
    assert (tmp_path / "store" / ".gitignore").read_text() == "*\n"
    assert (tmp_path / "store" / "goflow.db").exists()


def test_a_fresh_store_is_its_owners_alone(open_store: Open, tmp_path: Path) -> None:
    open_store()
    assert (tmp_path / "store").stat().st_mode & 0o077 == 0


def test_a_file_url_names_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "with space"
    with LocalBackend.open(f"file://{tmp_path}/with%20space", at(tmp_path)) as backend:
        assert backend.name == str(folder)
        assert (folder / "goflow.db").exists()


@pytest.mark.parametrize("url", ["file://elsewhere/store", "file:relative", "locale"])
def test_other_urls_are_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected local or file:///"):
        LocalBackend.open(url, at(tmp_path))


def test_an_ephemeral_store_leaves_nothing(tmp_path: Path) -> None:
    with LocalBackend.open("local", at(tmp_path / "store"), ephemeral=True) as backend:
        worker = Worker(backend)
        backend.submit(request("r"))
        assert worker.succeed(worker.one("a"), b"A", ends=True)
        assert backend.result("r").data == b"A"
    assert list(tmp_path.iterdir()) == []


def test_full_sync_is_heeded(open_store: Open) -> None:
    def level(backend: LocalBackend) -> object:
        return backend._store.read(lambda c: c.execute("PRAGMA synchronous").fetchone()[0])

    assert (level(open_store()), level(open_store(sync="full"))) == (1, 2)


def test_a_sqlite_that_can_corrupt_the_store_is_refused(
    open_store: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apsw, "sqlite_lib_version", lambda: "3.51.2")
    with pytest.raises(BackendError, match=r"expected SQLite 3\.51\.3 or newer, got 3\.51\.2"):
        open_store()


@pytest.mark.parametrize(("version", "word"), [(schema.VERSION + 1, "newer"), (-1, "older")])
def test_tables_of_another_version_are_left_alone(
    open_store: Open, tmp_path: Path, version: int, word: str
) -> None:
    open_store().close()
    with apsw.Connection(str(tmp_path / "store" / "goflow.db")) as connection:
        connection.pragma("user_version", version)
    connection.close()
    with pytest.raises(BackendError, match=f"made by an? {word} goflow") as caught:
        open_store()
    assert str(tmp_path / "store") in str(caught.value)


#: what version 2 had otherwise
VERSION_2 = """
DROP TABLE underway;
DROP INDEX run_listed; CREATE INDEX run_active ON run (flow) WHERE finished IS NULL;
DROP TABLE context; DROP TABLE access;
CREATE TABLE context (
    run INTEGER, key TEXT, media, data BLOB NOT NULL, PRIMARY KEY (run, key)) WITHOUT ROWID;
INSERT INTO context VALUES (1, 'k', 2, CAST('old' AS BLOB));
"""


def make_older(store: Path) -> None:
    """Let the store be one of version 2, with a context value."""
    with apsw.Connection(str(store / "goflow.db")) as connection:
        connection.execute(VERSION_2)
        connection.pragma("user_version", 2)
    connection.close()


def test_a_store_that_numbers_no_context_values_begins_to(open_store: Open, tmp_path: Path) -> None:
    with open_store() as backend:
        backend.submit(request("r"))
    make_older(tmp_path / "store")
    with open_store() as store:
        assert store.present("r", "k") == (0, Payload(b"old", JSON))
        worker = Worker(store, (FLOW,))
        assert worker.succeed(worker.one("a"), writes={"k": Payload(b"new")})
        assert store.present("r", "k") == (1, Payload(b"new"))
        assert store.version("r", "k", 0) == Payload(b"old", JSON)


def test_a_store_without_an_index_by_state_gets_one(open_store: Open, tmp_path: Path) -> None:
    with open_store() as backend:
        backend.submit(request("r"))
    make_older(tmp_path / "store")
    with open_store() as one, open_store() as other:
        assert [run.id for run in one.runs(state=RunState.QUEUED)] == ["r"]
        assert other.figures().active == {FLOW[0]: 1}
    with apsw.Connection(str(tmp_path / "store" / "goflow.db")) as connection:
        names = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema")}
    connection.close()
    with apsw.Connection(":memory:") as fresh:
        fresh.execute(schema.TABLES)
        assert names == {name for (name,) in fresh.execute("SELECT name FROM sqlite_schema")}
    fresh.close()


def test_an_older_store_counts_the_runs_that_have_not_ended(
    open_store: Open, tmp_path: Path
) -> None:
    with open_store() as backend:
        for run_id in ("going", "ended"):
            backend.submit(request(run_id))
        backend.control("ended", "stop")
    make_older(tmp_path / "store")
    with open_store() as store:
        assert store.run("ended").state == RunState.STOPPED
        assert store.figures().active == {FLOW[0]: 1}
        store.control("going", "stop")
        assert store.figures().active == {}


def test_other_tables_have_another_version() -> None:
    """Else a store of an older goflow is opened, and met by `no such column` somewhere. When this fails:
    raise `schema.VERSION`, and put the new pair here."""
    digest = sha256(" ".join(schema.TABLES.split()).encode()).hexdigest()[:16]
    assert (schema.VERSION, digest) == (5, "ae422e71a0d811ad")


def test_somebody_elses_database_is_left_alone(open_store: Open, tmp_path: Path) -> None:
    file = tmp_path / "store" / "goflow.db"
    file.parent.mkdir()
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE mine (a)")
    connection.close()
    before = file.read_bytes()
    with pytest.raises(BackendError, match="no goflow store"):
        open_store()
    assert file.read_bytes() == before


def test_a_damaged_file_is_named(open_store: Open, tmp_path: Path) -> None:
    file = tmp_path / "store" / "goflow.db"
    file.parent.mkdir()
    file.write_bytes(b"not a database, " * 1000)
    with pytest.raises(BackendError, match="damaged or no goflow store") as caught:
        open_store()
    assert str(file) in str(caught.value)


def test_damage_found_later_is_named(open_store: Open, tmp_path: Path) -> None:
    backend = open_store()
    for number in range(200):
        backend.submit(request(f"r{number}", payload=b"x" * 1000))
    backend.close()
    file = tmp_path / "store" / "goflow.db"
    content = bytearray(file.read_bytes())
    half = len(content) // 2
    content[half:] = os.urandom(len(content) - half)
    file.write_bytes(content)
    backend = open_store()
    with pytest.raises(BackendError, match="damaged") as caught:
        backend.runs(limit=200)
    assert str(file) in str(caught.value)


def test_a_folder_that_cannot_be_made_is_named() -> None:
    with pytest.raises(BackendError, match=r"cannot open the store /dev/null/store/goflow.db"):
        LocalBackend.open("local", at(Path("/dev/null/store")))


def test_a_full_disk_refuses_the_run_and_keeps_the_store(open_store: Open) -> None:
    backend = open_store()
    backend.submit(request("small"))
    backend._store._connection.execute("PRAGMA max_page_count = 60")
    with pytest.raises(StoreFull, match="no space left for the store"):
        backend.submit(request("large", payload=b"x" * 1_000_000))
    assert [run.id for run in backend.runs()] == ["small"]
    worker = Worker(backend)
    assert worker.succeed(worker.one("a"), b"A", ends=True)


def test_a_file_that_stays_locked_is_reported(
    open_store: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = open_store()
    monkeypatch.setattr(schema, "PATIENCE", 0.05)
    other = apsw.Connection(str(tmp_path / "store" / "goflow.db"))
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(BackendError, match="locked") as caught:
        backend.submit(request("r"))
    assert str(tmp_path / "store") in str(caught.value)
    other.execute("ROLLBACK")
    other.close()
    assert backend.submit(request("r")).id == "r"


def test_a_closed_store_says_so(open_store: Open) -> None:
    backend = open_store()
    backend.close()
    backend.close()
    with pytest.raises(BackendError, match="closed"):
        backend.runs()


def test_several_processes_may_make_the_same_store_at_once(start: Start) -> None:
    script = "worker = Worker(backend); backend.submit(request(f'r{os.getpid()}')); say('done')"
    processes = [start(script) for _ in range(4)]
    assert [said(process) for process in processes] == ["done"] * 4


def test_a_forked_child_must_open_its_own(open_store: Open) -> None:
    backend = open_store()
    worker = Worker(backend)
    backend.submit(request("r"))
    claim = worker.one("a")
    child = os.fork()
    if child == 0:
        try:
            backend.run("r")
        except BackendError as error:
            backend.close()
            os._exit(0 if "forked child must open its own" in str(error) else 1)
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert worker.lost(claim) == [], "the parent's lock has survived its child"
    assert backend.workers()[0].alive
    assert worker.succeed(claim, b"A", ends=True)


def test_a_forked_child_has_locks_of_its_own(open_store: Open, tmp_path: Path) -> None:
    backend = open_store()
    worker = Worker(backend)
    backend.submit(request("r"))
    claim = worker.one("a")
    child = os.fork()
    if child == 0:
        with LocalBackend.open("local", at(tmp_path / "store")) as own:
            mine = Worker(own)
            own.tick(mine.id)
            alive = [info.alive for info in own.workers()]
            os._exit(0 if alive == [True, True] and mine.claim() == [] else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    backend.tick(worker.id)
    assert [info.id for info in backend.workers()] == [worker.id], "the child is gone"
    assert worker.succeed(claim, b"A", ends=True)
