"""Ended runs whose traces nobody has told yet: what a teller (goflow/teller.py) asks a backend for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import msgspec

from goflow.backend import Backend
from goflow.state import RunState

if TYPE_CHECKING:
    from goflow.config import Config


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """A round of a run that has ended. `started` is its first task's time, None where it had none; `key` is
    the backend's own."""

    run_id: str
    round: int
    state: RunState
    started: float | None
    finished: float
    key: str = ""


@runtime_checkable
class Tellable(Protocol):
    """A backend that remembers which runs are to be told; one that cannot just lacks the methods.

    A run is to be told once a connection that has it `traced` has handed out its first task or ended it, whoever
    ends it then. It is told at least once, and a second time only where a teller
    vanished between the collector's answer and its own `told`.
    """

    #: whether this connection has runs told, by what its configuration says
    traced: bool

    def elsewhere(self, config: Config) -> Config | None:
        """The configuration with which another process of this machine opens the same store, from that of
        this one; None where none can."""
        ...

    def untold(self, limit: int, lease: float) -> list[Ended]:
        """Up to `limit` rounds, the oldest first, which nobody else gets for `lease` seconds."""
        ...

    def telling(self, ended: Sequence[Ended], lease: float) -> None:
        """The lease of these begins anew; 0 hands them back."""
        ...

    def told(self, ended: Sequence[Ended]) -> None:
        """They need not be told again."""
        ...


class TracedBackend(Backend, Tellable, Protocol):
    """What a process that has traces on works with."""
