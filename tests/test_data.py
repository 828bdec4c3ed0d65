"""--data and --query as people type them, and the exit codes scripts rely on."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pytest

from goflow.errors import GoflowError
from goflow.payload import JSON, OCTETS, TEXT, Payload
from goflow_cli import exit_codes
from goflow_cli.data import read_data, read_query

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def feed(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


@pytest.mark.parametrize(
    ("data", "payload"),
    [
        (None, Payload(b"", OCTETS)),
        ("", Payload(b"", OCTETS)),
        ("hallo", Payload(b"hallo", TEXT)),
        ("{}", Payload(b"{}", TEXT)),
        (" é\n", Payload(" é\n".encode(), TEXT)),
        ("@@x", Payload(b"@x", TEXT)),
        ("@@", Payload(b"@", TEXT)),
        ("@@@x", Payload(b"@@x", TEXT)),
        ("a@b", Payload(b"a@b", TEXT)),
        ("--", Payload(b"--", TEXT)),
        (os.fsdecode(b"caf\xe9"), Payload(b"caf\xe9", OCTETS)),
    ],
)
def test_data_is_the_text_itself(data: str | None, payload: Payload) -> None:
    assert read_data(data) == payload


@pytest.mark.parametrize(
    ("fed", "media_type"), [(b"hallo\r\n", TEXT), (PNG, OCTETS), (b"", OCTETS), (b"{}", TEXT)]
)
def test_a_dash_is_the_bytes_of_stdin(
    monkeypatch: pytest.MonkeyPatch, fed: bytes, media_type: str
) -> None:
    feed(monkeypatch, fed)
    assert read_data("-") == Payload(fed, media_type)


def test_a_closed_stdin_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(GoflowError, match="stdin is closed"):
        read_data("-")


@pytest.mark.parametrize(
    ("name", "data", "media_type"),
    [
        ("order.json", b'{"a": 1}', JSON),
        ("ORDER.JSON", b"[]", JSON),
        ("empty.json", b"", JSON),
        ("broken.json", b"\xff", OCTETS),
        ("notes.txt", b"hallo", TEXT),
        ("latin.txt", b"caf\xe9", OCTETS),
        ("rows.jsonl", b"{}\n{}\n", TEXT),
        ("noending", b"hallo", TEXT),
        ("picture.png", PNG, OCTETS),
        ("ascii.bin", b"hallo", OCTETS),
    ],
)
def test_a_file_s_ending_says_its_media_type(
    folder: Path, name: str, data: bytes, media_type: str
) -> None:
    (folder / name).write_bytes(data)
    assert read_data(f"@{name}") == Payload(data, media_type)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ("@ordr.json", r"^--data @ordr\.json: no such file, did you mean 'order\.json'\?"),
        ("@home", r"^--data @home: no such file \(the text is written @@home\)$"),
        ("@no/order.json", r"^--data @no/order\.json: no such file \("),
        ("@", r"expected a file's name after the @"),
        ("@-", r"stdin is --data -$"),
        ("@.", r"^--data @\.: Is a directory$"),
        ("@a\0b", r"embedded null byte"),
    ],
)
def test_a_file_that_cannot_be_read_is_told(folder: Path, data: str, told: str) -> None:
    (folder / "order.json").touch()
    with pytest.raises(GoflowError, match=told):
        read_data(data)


def test_query_keeps_every_value_in_order() -> None:
    pairs = ["b=2", "a=1", "b=1", "empty=", "formula=x=y", "é=ü"]
    query = read_query(pairs)
    assert list(query.items()) == [
        ("b", ["2", "1"]),
        ("a", ["1"]),
        ("empty", [""]),
        ("formula", ["x=y"]),
        ("é", ["ü"]),
    ]
    assert read_query([]) == {}


def test_every_wrong_query_is_told_at_once() -> None:
    with pytest.raises(GoflowError) as caught:
        read_query(["dry", "a=1", "=x", os.fsdecode(b"k=\xff")])
    assert str(caught.value).splitlines() == [
        "--query dry: expected NAME=VALUE",
        "--query =x: expected NAME=VALUE",
        "--query b'k=\\xff': expected UTF-8 text",
    ]


def test_exit_codes_are_those_scripts_know() -> None:
    codes = {name: code for name, code in vars(exit_codes).items() if name.isupper()}
    assert codes == {
        "DONE": 0,
        "FAILED": 1,
        "USAGE": 2,
        "TIMED_OUT": 3,
        "STOPPED": 4,
        "INTERRUPTED": 130,
        "UNREAD": 141,
    }
