"""What a backend's author supplies so that the suites can run over it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from goflow.backend import Backend


class BackendHooks:
    """The few things that differ between stores. Share one subclass between both suites:

    >>> class LocalHooks(BackendHooks): ...
    >>> class TestLocal(LocalHooks, BackendConformance): ...
    >>> class LocalMachine(LocalHooks, BackendMachine): ...
    """

    #: what `Backend.exclusive` says: whether a run may have one owner that alone executes it
    exclusive: ClassVar[bool] = False
    #: whether the store can lose what was written last, as a Redis does whose replica takes over
    loses: ClassVar[bool] = False
    #: whether some of what is ready is shown and counted only once a worker asks for it
    late: ClassVar[bool] = False
    #: how many scopes the widest fan-out of the suite opens
    wide: ClassVar[int] = 20_000

    def open_backend(self, folder: Path, *, ephemeral: bool = False) -> Backend:
        """A new connection to the store that belongs to `folder`, an empty temporary directory.

        Called again with the same folder, it gives an independent connection to the same store, as
        another process would have. Leases must be long (30 s or more): only `vanish` ends them.
        """
        raise NotImplementedError(f"{type(self).__name__} must define open_backend")

    def vanish(self, backend: Backend, worker: int) -> None:
        """Make a worker look killed (process gone, lease over) without a word of goodbye.

        `backend` is the connection it entered by; it stays usable, since the suites then commit
        through it as a process would that was frozen and came back.
        """
        raise NotImplementedError(f"{type(self).__name__} must define vanish")

    def snapshot(self, backend: Backend) -> object:
        """All that the store holds now; only asked of one that `loses`."""
        raise NotImplementedError(f"{type(self).__name__} must define snapshot")

    def restore(self, backend: Backend, snapshot: object) -> None:
        """Make the store hold that again, and nothing that was written since."""
        raise NotImplementedError(f"{type(self).__name__} must define restore")
