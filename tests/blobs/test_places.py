"""What a folder and an S3-compatible store do alike."""

from __future__ import annotations

import logging
import os
import pickle
import sys
import time
from pathlib import Path

import pytest

from goflow.backend import load_backend
from goflow.blobs import janitor
from goflow.blobs.carrier import Carrier
from goflow.blobs.place import Place, open_place
from goflow.blobs.words import is_reference
from goflow.config import Config, PayloadLimits
from goflow.errors import BlobMissing, BlobsAway, ConfigError, PayloadError
from goflow.glimpse import Glimpse, cut
from goflow.message import Input
from goflow.payload import JSON, Payload
from tests.redis.server import free_port


@pytest.fixture
def place(location: str) -> Place:
    return open_place(location, "store1")


def test_what_is_put_comes_back_and_goes_when_it_is_removed(place: Place, location: str) -> None:
    place.check()
    assert list(place.all()) == []
    assert place.get("r", "a") is None
    place.put("r", "a", b"one")
    place.put("r", "a", b"one")
    place.put("r", "b", b"two" * 3_000_000)
    place.put("r2", "a", b"three")
    assert place.get("r", "a") == b"one"
    assert place.get("r", "b", 8) == b"twotwotw"
    assert place.get("r", "a", 8) == b"one"
    assert place.get("r", "c", 8) is None
    assert place.get("r", "b") == b"two" * 3_000_000
    found = {blob.name: blob for blob in place.of_run("r")}
    assert {name: blob.size for name, blob in found.items()} == {"a": 3, "b": 9_000_000}
    assert all(abs(blob.stored - time.time()) < 30 for blob in found.values())
    assert sorted(len(blobs) for blobs in place.all()) == [1, 2]
    assert list(open_place(location, "store2").all()) == [], "another store's are its own"
    for _ in range(2):
        place.remove(found.values())
    assert place.of_run("r") == []
    assert [[blob.run_id for blob in blobs] for blobs in place.all()] == [["r2"]]
    again: Place = pickle.loads(pickle.dumps(place))
    assert again.get("r2", "a") == b"three", "a child that was spawned has it too"


def test_what_a_place_does_is_nothing_that_a_node_said(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        place.put("r", "a", b"one")
    assert caplog.messages == []


def test_of_a_large_payload_as_much_is_fetched_as_is_shown(place: Place) -> None:
    carrier = Carrier(place, inline_limit=10, max_size=1000)
    large = Payload(b"0123456789abc", JSON)
    reference = carrier.put_out("r", large)
    seen = carrier.glimpse("r", cut(reference, 8192), 4)
    assert seen == Glimpse(Payload(b"0123", JSON), 13)
    assert carrier.glimpse("r", cut(reference, 8192), 8192) == cut(large, 8192)
    assert carrier.glimpse("r", cut(Payload(b"small"), 3), 3) == Glimpse(Payload(b"sma"), 5)
    with pytest.raises(BlobMissing):
        carrier.glimpse("r2", cut(reference, 8192), 4)


def test_a_large_payload_is_put_out_once_and_fetched_whole(place: Place) -> None:
    carrier = Carrier(place, inline_limit=10, max_size=1000)
    small = Payload(b"0123456789", JSON)
    assert carrier.put_out("r", small) is small
    large = Payload(b"x" * 11, JSON)
    reference = carrier.put_out("r", large)
    assert is_reference(reference)
    again = carrier.put_out("r", large)
    assert again != reference, "a name is never used again"
    assert carrier.fetch("r", again) == large
    child = Carrier(place, inline_limit=10, max_size=1000)
    assert child.inputs("r", [Input("a", reference)]) == [Input("a", large)]
    assert child.put_out("r", large) == reference, "a task hands it on as it came"
    made = child.put_out("r", Payload(b"y" * 11))
    assert child.put_out("r", Payload(b"y" * 11)) == made
    assert len(place.of_run("r")) == 3
    assert carrier.fetch("r", reference) == large
    with pytest.raises(PayloadError, match=r"1001 bytes, payload\.max_size allows 1000"):
        carrier.put_out("r", Payload(b"x" * 1001))
    with pytest.raises(BlobMissing, match="was it removed"):
        carrier.fetch("r2", reference)
    place.put("r", reference.data.decode().partition(":")[0], b"x" * 10)
    with pytest.raises(BlobMissing, match="not what was stored"):
        carrier.fetch("r", reference)
    with pytest.raises(BlobMissing, match=r"payload\.blobs is not set here"):
        Carrier(None, 10, 1000).fetch("r", reference)


@pytest.mark.parametrize(
    "said",
    [b"../../secret:3", b"", b"\xff:1", b"a" * 64 + b":1", b"a" * 64 + b"-" + b"b" * 16 + b":-1"],
)
def test_what_is_no_reference_names_nothing(place: Place, said: bytes) -> None:
    with pytest.raises(BlobMissing, match="is no reference: expected a blob's name and its size"):
        Carrier(place, 10, 1000).fetch("r", Payload(said, "blob:text/plain"))


def test_a_file_that_was_not_finished_is_no_blob(tmp_path: Path) -> None:
    place = open_place(str(tmp_path), "s")
    place.put("r", "a", b"one")
    (tmp_path / "s" / "r" / "half.part").write_bytes(b"on")
    assert [blob.name for blob in place.of_run("r")] == ["a"]
    place.remove(place.of_run("r"))
    assert (tmp_path / "s" / "r").exists(), "somebody writes into it"


def test_a_folder_that_is_none_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BlobsAway, match="no place to write to"):
        open_place(str(tmp_path / "file"), "s").check()


def test_a_bucket_that_is_away_or_missing_says_so_without_credentials(
    bucket_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret")
    monkeypatch.setattr("goflow.blobs.s3._ATTEMPTS", 1)
    for url, says in (
        (f"s3://none?endpoint={bucket_server}&region=us-east-1", "bucket does not exist"),
        (f"s3://none?endpoint=http://127.0.0.1:{free_port()}&region=x", "Could not connect"),
    ):
        with pytest.raises(BlobsAway, match=says) as caught:
            open_place(url, "s").check()
        assert "s3://none" in str(caught.value)
        assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "says"), [("s3://b?regio=x", "region"), ("s3://key:pw@b", "AWS_SECRET_ACCESS_KEY")]
)
def test_a_url_that_means_nothing_is_refused(url: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        open_place(url, "s")


def test_a_janitor_that_hangs_is_killed_at_its_workers_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As over a place that does not answer."""
    ready = tmp_path / "ready"
    hangs = (
        "import os, pathlib, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        f" pathlib.Path({str(ready)!r}).write_text(str(os.getpid())); time.sleep(600)"
    )
    monkeypatch.setattr(janitor, "command", lambda module: [sys.executable, "-c", hangs])
    monkeypatch.setattr(janitor, "_PATIENCE", 0.1)
    url = f"file://{tmp_path}/store"
    config = Config(backend=url, payload=PayloadLimits(blobs=str(tmp_path / "blobs")))
    with load_backend(url, config) as store, janitor.sweeping(store, config):
        until = time.monotonic() + 20
        while not (ready.exists() and ready.read_text()):
            assert time.monotonic() < until
            time.sleep(0.01)
    with pytest.raises(ProcessLookupError):
        os.kill(int(ready.read_text()), 0)


def test_a_sweep_that_fails_is_told_and_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(self: object) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr("goflow.blobs.folder.FolderPlace.all", broken)
    url = f"file://{tmp_path}/store"
    janitor._sweep(Config(backend=url, payload=PayloadLimits(blobs=str(tmp_path / "blobs"))))
    assert "is tried again: RuntimeError: a defect" in capsys.readouterr().err
