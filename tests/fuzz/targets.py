"""Every decoder as a function of bytes: what it may raise is its own kind of error, anything else is found.

`make fuzz` drives them by coverage (tests/fuzz/__main__.py); test_targets.py tries the seeds and what is near them.
"""

from __future__ import annotations

import dataclasses
import os
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Final, NamedTuple, TypedDict

import msgspec

from goflow.config import load_config
from goflow.errors import ConfigError, GoflowError, PayloadError, UnknownNode
from goflow.message import UNREADABLE, Claim, Outcome, Request, Task, pack
from goflow.payload import JSON, OCTETS, TEXT, Payload, decode, encode
from goflow.plan import Plan
from goflow.runfile import InFile
from goflow.runid import checked
from goflow.server.errors import HttpError
from goflow.server.login import COOKIE, holds
from goflow.server.signature import Signed
from goflow.signature import NONCE, SIGNATURE, TIMESTAMP
from goflow.tracing import trace_of
from goflow.wire import Garbled, Wire
from goflow.workflow import Workflow, build
from goflow_redis.address import parse
from goflow_redis.exchange import read_claims
from goflow_redis.records import read_line, read_node, read_run
from goflow_redis.words import disclose, escape, read_failure, read_inbox, read_keys, unescape


class Target(NamedTuple):
    """A decoder, and inputs it takes."""

    check: Callable[[bytes], None]
    seeds: Sequence[bytes]


@dataclasses.dataclass
class Point:
    x: int
    y: float = 0.0


class Person(TypedDict, total=False):
    name: str
    age: int


TYPES: Final[list[Any]] = [
    bytes, str, int, float, bool, list, dict, list[int], dict[str, float], int | None, Point, Person,
]  # fmt: skip
MEDIA: Final = [OCTETS, TEXT, JSON]


def decoded_or_refused(data: bytes, kind: Any, media: str) -> None:
    """A payload is what the annotation says, and can be encoded again, or is refused in few words."""
    try:
        value = decode(Payload(data, media), kind)
    except PayloadError as error:
        told = str(error)
    else:
        told = ""
        encode(value)
    assert len(told) < 1000


def payload(data: bytes) -> None:
    """The first two bytes choose annotation and media type."""
    kind, media = (data + b"\0\0")[:2]
    decoded_or_refused(data[2:], TYPES[kind % len(TYPES)], MEDIA[media % 3])


def config(data: bytes) -> None:
    (_FOLDER / "goflow.toml").write_bytes(data)
    try:
        told = load_config(_FOLDER, environ={}).file
    except ConfigError as error:
        told = str(error)
    assert told
    assert "goflow.toml" in told


def run_id(data: bytes) -> None:
    with suppress(GoflowError):
        assert checked(_text(data)).isascii()


def exported(data: bytes) -> None:
    with suppress(GoflowError):
        InFile(data.split(b"\n"), "some file")


def messages(data: bytes) -> None:
    """What travels between processes; a supervisor reads what its own children wrote."""
    for kind in (Request, Claim, Task, Outcome):
        with suppress(*UNREADABLE):
            found = msgspec.msgpack.decode(data, type=kind)
            assert msgspec.msgpack.decode(pack(found), type=kind) == found


def frames(data: bytes) -> None:
    """Frames on a pipe: messages as they were sent, or its end."""
    ours, theirs = socket.socketpair()
    ours.sendall(data[:60_000])
    ours.close()
    wire = Wire(Connection(theirs.detach()))
    read = 0
    with suppress(EOFError, Garbled):
        while True:
            read += 8 + len(wire.receive())
    assert read <= len(data)


def plan(data: bytes) -> None:
    with suppress(*UNREADABLE, GoflowError):
        found = Plan.from_json(data)
        assert Plan.from_json(found.to_json()) == found


def path(data: bytes) -> None:
    text = _text(data)
    with suppress(UnknownNode):
        assert PLAN.locate(text).path == text


def signature(data: bytes) -> None:
    """Signature, nonce and timestamp, one a line."""
    given, nonce, timestamp = (*_text(data).split("\n"), "", "", "")[:3]
    headers = {SIGNATURE: given, NONCE: nonce, TIMESTAMP: timestamp}
    try:
        Signed(headers, 0.0).check("secret", "POST", "/", "", b"")
    except HttpError as error:
        status = error.status
    else:
        status = 200
    assert status == 401


def cookie(data: bytes) -> None:
    assert not holds("secret", f"{COOKIE}={_text(data)}")


def traceparent(data: bytes) -> None:
    trace = trace_of("run", {"traceparent": _text(data)})
    assert 0 < trace.id < 1 << 128
    assert 0 <= trace.parent < 1 << 64


def address(data: bytes) -> None:
    with suppress(ConfigError):
        assert parse(_text(data)).name


def redis_words(data: bytes) -> None:
    """Records as scripts write them: a record, or DecodeError."""
    head, _, tail = data.partition(b"\n")
    for read in (read_line, read_node, read_failure, read_keys):
        with suppress(*UNREADABLE):
            read(data)
    with suppress(*UNREADABLE):
        read_run(head, tail)
    if data:
        disclose(data)
    text = _text(data)
    assert unescape(escape(text)) == text
    list(read_inbox(text))


def claims(data: bytes) -> None:
    """A task as CLAIM tells it, its words one a line."""
    with suppress(*UNREADABLE, ValueError, IndexError, TypeError):
        read_claims(data.split(b"\n"))


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _branches(workflow: Workflow, context: object) -> None:
    workflow.dag.foreach_branch("each", lambda data: [data]).node("work")
    for dag in workflow.dag.conditional_branch("kind", ["a b", "ä"], lambda data: "ä").values():
        dag.node("work")


_FOLDER: Final = Path(mkdtemp(prefix="goflow-fuzz-"))
PLAN: Final = build("branches", _branches).plan
_REQUEST: Final = Request("r", "f", "p", Payload(b"x"), {"q": ["1"]}, "d", ("a",))
_LINES: Final = b'{"goflow-run": 1}\n{"run": {}}\n{"end": {}}'

TARGETS: Final = {
    "payload": Target(payload, [b"\x05\x02[1, 2]", b"\x06\x02{}", b"\x02\x0212", b"\x01\x01text"]),
    "config": Target(config, [b'backend = "local"\n[worker]\nlease = 30\n', b"flows = [1]\n"]),
    "run-id": Target(run_id, [b"run-1", b".", b"a" * 129]),
    "exported": Target(exported, [_LINES, b"null", b"{}\n[]"]),
    "messages": Target(messages, [pack(_REQUEST)]),
    "frames": Target(frames, [(3).to_bytes(8, "big") + b"abc" + (0).to_bytes(8, "big")]),
    "plan": Target(plan, [PLAN.to_json()]),
    "path": Target(path, [b"each[0]/work", b"kind[a%20b]/work", b"~finally"]),
    "signature": Target(signature, [b"v1=" + b"0" * 64 + b"\nnonce\n0"]),
    "cookie": Target(cookie, [b"99999999999.abc"]),
    "traceparent": Target(traceparent, [b"00-" + b"1" * 32 + b"-" + b"1" * 16 + b"-01"]),
    "address": Target(address, [b"redis://u:p@h:1/2?x=y", b"redis+sentinel://h/s", b"unix:///x"]),
    "redis-words": Target(redis_words, [b"\x94\x01\x02\x03\x04", b"\0a\1=\0b\1o:x", b"jx"]),
    "claims": Target(claims, [b"\x93\x01\x02\x03\n\x90\nox"]),
}


def leave() -> None:
    """Remove what the targets made."""
    (_FOLDER / "goflow.toml").unlink(missing_ok=True)
    os.rmdir(_FOLDER)  # noqa: PTH106
