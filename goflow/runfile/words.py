"""The records of the file, one class for each kind of line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from goflow.backend import Access, Attempt
from goflow.state import NodeState, RunState

#: what the header says
FORMAT: Final = "goflow-run"
VERSION: Final = 1


class Bytes(msgspec.Struct, frozen=True, omit_defaults=True):
    """A payload, or what was printed: `text` where it is UTF-8, else `base64`."""

    media_type: str = ""
    text: str | None = None
    base64: bytes | None = None


class Why(msgspec.Struct, frozen=True, omit_defaults=True):
    """A `Failure`, its fields by name."""

    type: str
    message: str
    node: str = ""
    detail: str = ""
    attempt: int = 0


class RunLine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The run. Times are seconds since the epoch."""

    id: str
    flow: str
    fingerprint: str
    state: RunState
    created: float
    started: float | None = None
    finished: float | None = None
    error: str | None = None
    failure: Why | None = None
    ending: RunState | None = None
    round: int = 1


class RequestLine(msgspec.Struct, frozen=True, kw_only=True):
    """What was submitted."""

    payload: Bytes
    query: dict[str, list[str]]
    headers: dict[str, str]
    timeout: float | None = None


class DefinitionLine(msgspec.Struct, frozen=True):
    """The flow as it was registered (as `Plan.to_json` writes it), and the file it came from where it was."""

    plan: msgspec.Raw
    file: str


class ContextLine(msgspec.Struct, frozen=True):
    """A value of the run's store as it is, the `number`-th that its key had."""

    key: str
    value: Bytes
    number: int = 0


class PastLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """A value that was written over, and is kept: the `number`-th that its key had; none where it was deleted."""

    key: str
    number: int
    value: Bytes | None = None


class NodeLine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A node instance. `inputs` is there where they are more than what the nodes before it made."""

    path: str
    state: NodeState
    attempt: int = 0
    round: int = 1
    ready: float | None = None
    started: float | None = None
    finished: float | None = None
    failure: Why | None = None
    width: int | None = None
    done: int = 0
    keys: tuple[str, ...] | None = None
    digest: str = ""
    inputs: dict[str, Bytes | None] | None = None
    output: Bytes | None = None


class LogPiece(msgspec.Struct, frozen=True):
    """A piece of what an attempt printed."""

    path: str
    round: int
    attempt: int
    time: float
    data: Bytes


#: what a line's one key means
LINES: Final[Mapping[str, Any]] = {
    "run": RunLine,
    "request": RequestLine,
    "definition": DefinitionLine,
    "context": ContextLine,
    "node": NodeLine,
    "attempt": Attempt,
    "past": PastLine,
    "access": Access,
    "log": LogPiece,
}
