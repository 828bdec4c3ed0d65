"""Runs whose payloads are too large for the store: real workers, both stores, both kinds of place."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from msgspec.structs import replace

from goflow import wholesale
from goflow.backend import Backend, Run, Versioned, load_backend
from goflow.blobs.backend import WithBlobs
from goflow.blobs.sweep import orphans
from goflow.blobs.words import is_reference
from goflow.client import Client
from goflow.config import Config, PayloadLimits
from goflow.errors import BlobMissing, PayloadError, RunFailed
from goflow.message import Request
from goflow.payload import Payload
from goflow.testing.store import Worker, request
from tests.cli.shell import GOFLOW

FLOWS = """
import hashlib
import time
from pathlib import Path

import goflow


def digest(data):
    return hashlib.sha256(data).hexdigest().encode()


@goflow.flow("large")
def large(workflow, context):
    dag = workflow.dag
    dag.node("double", lambda data: data * 2)
    each = dag.foreach_branch("each", lambda data: {"a": data, "b": data[::-1], "c": b"small"})
    each.node("turn", lambda data: data[::-1] + b"!")

    def keep(data):
        context.set("kept", data)
        return data

    dag.node("keep", keep)
    dag.node("pass")
    dag.node("end", lambda data: data + context.get("kept")[-20:])
    dag.edge("double", "each")
    dag.edge("each", "keep", forwarder=lambda payload: payload)
    dag.edge("keep", "pass")
    dag.edge("pass", "end", forwarder=lambda payload: payload)


@goflow.flow("grow")
def grow(workflow, context):
    def work(data):
        with open("trace.txt", "a") as file:
            file.write("x")
        return data * 1000

    workflow.dag.node("grow", work)
"""

LIMITS = PayloadLimits(inline_limit=1000, max_size=2_000_000)


def config(location: str, url: str) -> Config:
    return Config(backend=url, payload=replace(LIMITS, blobs=location))


#: not every pair: what a place does is tests/blobs/test_places.py's
PAIRS = (("folder", "local"), ("folder", "redis"), ("bucket", "redis"))
pairs = pytest.mark.parametrize(("location", "store_url"), PAIRS, indirect=True)
in_a_folder = pytest.mark.parametrize(("location", "store_url"), PAIRS[:2], indirect=True)


@pytest.fixture
def backend(location: str, store_url: str) -> Iterator[Backend]:
    """The store as a client sees it."""
    with load_backend(store_url, config(location, store_url)) as opened:
        yield opened


@contextmanager
def worker(folder: Path, url: str, **settings: str) -> Iterator[Any]:
    """A real worker with these [payload] settings."""
    (folder / "flow.py").write_text(FLOWS)
    process = subprocess.Popen(
        [*GOFLOW, "worker", "flow.py", "--backend", url],
        cwd=folder,
        stderr=subprocess.PIPE,
        text=True,
        env={
            **os.environ,
            "GOFLOW_PAYLOAD_INLINE_LIMIT": "1000",
            "GOFLOW_PAYLOAD_MAX_SIZE": "2MB",
            **{f"GOFLOW_PAYLOAD_{key.upper()}": value for key, value in settings.items()},
        },
    )
    try:
        yield process
        process.terminate()
        _, told = process.communicate(timeout=20)
        assert process.returncode == 0, told
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


def until(true: Callable[[], object]) -> None:
    """Wait for it."""
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def bare(backend: Backend) -> WithBlobs:
    """What is behind it."""
    assert isinstance(backend, WithBlobs)
    return backend


def submit(backend: Backend, flow: str, data: bytes) -> str:
    until(lambda: any(each.flow == flow for each in backend.definitions()))
    return Client(backend).submit(flow, data).id


@pairs
def test_large_payloads_pass_through_every_kind_of_node_and_go_with_their_run(
    backend: Backend, location: str, store_url: str, tmp_path: Path
) -> None:
    data = bytes(range(65, 91)) * 2000
    with worker(tmp_path, store_url, blobs=location):
        run_id = submit(backend, "large", data)
        result = Client(backend).wait(run_id, timeout=30)
    doubled = data * 2
    turned = (doubled[::-1] + b"!", doubled + b"!", b"llams!")
    joined = (
        "{" + ",".join(f'"{k}":"{v.decode()}"' for k, v in zip("abc", turned, strict=True)) + "}"
    )
    assert result.data == joined.encode() + joined.encode()[-20:]
    assert backend.request(run_id).payload.data == data
    assert backend.output(run_id, "double") == Payload(doubled)
    assert backend.output(run_id, "each[c]/turn") == Payload(b"llams!")
    assert dict(backend.arrivals(run_id, "each")) == {"double": Payload(doubled)}
    kept = backend.context(run_id, "kept")
    assert kept is not None
    assert kept.data == joined.encode()
    assert cast(Versioned, backend).present(run_id, "kept") == (1, kept)
    assert cast(Versioned, backend).version(run_id, "kept", 1) == kept
    below = bare(backend).bare
    for payload in (
        below.output(run_id, "double"),
        below.result(run_id),
        below.context(run_id, "kept"),
    ):
        assert payload is not None
        assert is_reference(payload), "the store holds a reference"
        assert len(payload.data) < 100
    contents = {data, doubled, doubled[::-1], *turned[:2], joined.encode(), result.data}
    place = bare(backend).place
    assert len(place.of_run(run_id)) == len(contents), (
        "each content once, however often it is handed on"
    )
    assert list(orphans(below, place, young=-60)) == []
    backend.forget(run_id)
    assert place.of_run(run_id) == []


@in_a_folder
def test_a_new_round_has_what_the_last_one_put_out(
    backend: Backend, location: str, store_url: str, tmp_path: Path
) -> None:
    with worker(tmp_path, store_url, blobs=location):
        run_id = submit(backend, "large", b"x" * 5000)
        client = Client(backend)
        first = client.wait(run_id, timeout=30)
        client.retry(run_id, from_node="keep")
        assert client.wait(run_id, timeout=30) == first
        assert backend.run(run_id).round == 2


@in_a_folder
def test_more_than_a_payload_may_hold_fails_the_node_with_or_without_a_place(
    backend: Backend, location: str, store_url: str, tmp_path: Path
) -> None:
    with worker(tmp_path, store_url, blobs=location):
        run_id = submit(backend, "grow", b"x" * 2001)
        with pytest.raises(RunFailed, match=r"2001000 bytes, payload\.max_size allows 2000000"):
            Client(backend).wait(run_id, timeout=30)
        assert len(bare(backend).place.of_run(run_id)) == 1, "its input alone"


@in_a_folder
def test_doctor_finds_what_no_run_owns_and_removes_it(backend: Backend) -> None:
    place, store = bare(backend).place, bare(backend).bare
    backend.submit(request("r", payload=b"x" * 2000))
    place.put("gone", "a", b"y" * 2000)
    told = {each.name: each for each in backend.diagnose(False)}["blobs"]  # type: ignore[attr-defined]
    assert told.ok, "it may be of a run that is submitted right now"
    assert [blobs[0].run_id for blobs in orphans(store, place, young=-60)] == ["gone"]
    for blobs in orphans(store, place, young=-60):
        place.remove(blobs)
    assert [blobs[0].run_id for blobs in place.all()] == ["r"]


@pairs
@pytest.mark.parametrize("overtaken", ["the submission", "the forgetting"])
def test_forgetting_a_run_takes_nothing_from_a_new_one_of_its_id(
    backend: Backend, monkeypatch: pytest.MonkeyPatch, overtaken: str
) -> None:
    store = bare(backend).bare
    asked = request("r", payload=b"x" * 2000)
    backend.submit(asked)
    w = Worker(store)
    made = bare(backend).carrier.put_out("r", Payload(b"y" * 2000))
    assert w.succeed(w.one(), made, ends=True)
    submit, forget = store.submit, store.forget

    def late_submit(new: Request) -> Run:
        """After it put out its payload, before the store has it."""
        backend.forget("r")
        return submit(new)

    def early_forget(run_id: str) -> None:
        """After the store forgot, before what the run left is removed."""
        forget(run_id)
        backend.submit(asked)

    if overtaken == "the submission":
        monkeypatch.setattr(store, "submit", late_submit)
    else:
        monkeypatch.setattr(store, "forget", early_forget)
        backend.forget("r")
    assert backend.submit(asked).state == "queued"
    assert backend.request("r").payload == asked.payload
    left = [blob.name for blob in bare(backend).place.of_run("r")]
    assert made.data.decode().partition(":")[0] not in left, "what the first run made is gone"


@pairs
def test_a_sweep_takes_nothing_from_a_run_that_came_after_it_looked(backend: Backend) -> None:
    store, place = bare(backend).bare, bare(backend).place
    asked = request("r", payload=b"x" * 2000)
    bare(backend).carrier.put_out("r", asked.payload)
    left = [blob for blobs in orphans(store, place, young=-60) for blob in blobs]
    assert len(left) == 1
    backend.submit(asked)
    place.remove(left)
    assert backend.request("r").payload == asked.payload


@in_a_folder
def test_many_at_once_are_carried_as_well(backend: Backend) -> None:
    place = bare(backend).place
    large = [request(name, payload=name.encode() * 2000) for name in ("r1", "r2")]
    first, refused, second = wholesale.submit_all(
        backend, [large[0], request("r3", payload=b"x" * 3_000_000), large[1]]
    )
    assert isinstance(first, Run)
    assert isinstance(second, Run)
    assert isinstance(refused, PayloadError)
    assert [len(place.of_run(name)) for name in ("r1", "r2", "r3")] == [1, 1, 0]
    w = Worker(bare(backend).bare)
    for claim in w.claim():
        (payload,) = w.inputs(claim).values()
        assert payload is not None
        assert w.succeed(claim, payload, ends=True)
    place.remove(place.of_run("r1"))
    missing, found = wholesale.results(backend, ["r1", "r2"])
    assert isinstance(missing, BlobMissing)
    assert isinstance(found, tuple)
    assert found[1] == large[1].payload


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "blobs"


@pytest.mark.parametrize("store_url", ["redis"], indirect=True)
def test_a_worker_that_cannot_reach_the_place_says_so_and_goes_on_when_it_can(
    folder: Path, store_url: str, tmp_path: Path
) -> None:
    with (
        load_backend(store_url, config(str(folder), store_url)) as backend,
        worker(tmp_path, store_url, blobs=str(folder)) as process,
    ):
        run_id = submit(backend, "grow", b"x" * 100)
        Client(backend).wait(run_id, timeout=30)
        aside = folder.rename(tmp_path / "aside")
        folder.write_text("no folder any more")
        second = Client(backend).submit("grow", b"x" * 101).id
        while "cannot be written to" not in process.stderr.readline():
            pass
        folder.unlink()
        aside.rename(folder)
        assert len(Client(backend).wait(second, timeout=30).data) == 101_000
        (node,) = backend.nodes(second)
        assert node.attempt == 1, "it was no failure of the node"


def test_a_worker_that_does_not_know_the_place_says_what_is_missing(
    folder: Path, store_url: str, tmp_path: Path
) -> None:
    with (
        load_backend(store_url, config(str(folder), store_url)) as backend,
        worker(tmp_path, store_url),
    ):
        run_id = submit(backend, "grow", b"x" * 1001)
        with pytest.raises(RunFailed, match=r"payload\.blobs is not set here"):
            Client(backend).wait(run_id, timeout=30)


def test_a_place_that_cannot_be_written_to_keeps_a_worker_from_starting(
    store_url: str, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "flow.py").write_text(FLOWS)
    ended = subprocess.run(
        [*GOFLOW, "worker", "flow.py", "--backend", store_url],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "GOFLOW_PAYLOAD_BLOBS": str(tmp_path / "file")},
        timeout=30,
    )
    assert ended.returncode == 2
    assert "payload.blobs" in ended.stderr
    assert "no place to write to" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_an_ephemeral_store_keeps_everything_itself(folder: Path, store_url: str) -> None:
    with load_backend(store_url, config(str(folder), store_url), ephemeral=True) as backend:
        backend.submit(request("r", payload=b"x" * 5000))
        assert backend.request("r").payload.data == b"x" * 5000
    assert not folder.exists()
