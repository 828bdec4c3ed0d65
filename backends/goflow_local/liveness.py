"""Who is alive on this machine, told by locks that the kernel drops however a process ends.

Worker N holds a POSIX lock on byte N of `workers.lock`, a listener one far behind those. Such a lock
belongs to the process, not to the open file, and closing *any* descriptor of that file drops all of the
process's locks in it. So there is one descriptor per process and file, shared by all stores opened on
it and never closed. A forked child inherits no lock and must not take its parent's for its own.
"""

# ruff: noqa: PTH116 (pathlib costs 5 ms at every start)

from __future__ import annotations

import fcntl
import os
import threading
from typing import Final, Protocol

#: listener N locks this byte plus N
LISTENERS: Final = 1 << 40


class Locks(Protocol):
    """Signs of life, by number."""

    def hold(self, number: int) -> bool:
        """This process lives, and with it whatever has this number. False if another has it."""
        ...

    def drop(self, number: int) -> None:
        """It has ended; harmless when repeated."""
        ...

    def alive(self, number: int) -> bool:
        """Whether any process holds the number."""
        ...


class OwnLocks:
    """For a store in memory: nobody else can see it."""

    def __init__(self) -> None:
        self._held: set[int] = set()

    def hold(self, number: int) -> bool:
        """Remember the number."""
        self._held.add(number)
        return True

    def drop(self, number: int) -> None:
        """Forget the number."""
        self._held.discard(number)

    def alive(self, number: int) -> bool:
        """Whether the number is remembered."""
        return number in self._held


class FileLocks:
    """For a store in a folder: byte locks in one file, see above."""

    def __init__(self, file: int) -> None:
        self._file = file
        self._held: set[int] = set()

    def hold(self, number: int) -> bool:
        """Lock the number's byte. Another process may have it: one that is just looking, or one whose
        store was deleted under it while the lock file stayed."""
        if not self._lock(number):
            return False
        self._held.add(number)
        return True

    def drop(self, number: int) -> None:
        """Unlock the number's byte."""
        if number in self._held:
            self._held.discard(number)
            fcntl.lockf(self._file, fcntl.LOCK_UN, 1, number)

    def alive(self, number: int) -> bool:
        """Whether the byte is locked. Two processes that ask about a dead one at the very same moment
        may see each other; both will ask again."""
        if number in self._held:
            return True
        if not self._lock(number):
            return True
        fcntl.lockf(self._file, fcntl.LOCK_UN, 1, number)
        return False

    def _lock(self, number: int) -> bool:
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, number)
        except (BlockingIOError, PermissionError):
            return False
        return True

    def is_of(self, path: str) -> bool:
        """Whether the path still leads to the file we have open."""
        try:
            found = os.stat(path)
        except FileNotFoundError:
            return False
        mine = os.fstat(self._file)
        return (found.st_dev, found.st_ino) == (mine.st_dev, mine.st_ino)


_registry: dict[str, FileLocks] = {}
#: whose descriptors must stay open: of files that were deleted since, or of a parent process
_retired: list[FileLocks] = []
#: threads that open stores take turns: two FileLocks of one file would take each other's locks for
#: nobody's, since to the kernel they are one process, and drop them by looking
_turn = threading.Lock()


def locks_of(path: str) -> FileLocks:
    """This process's locks in a file, which is made where it is missing. Raises OSError."""
    place = os.path.realpath(path)
    with _turn:
        known = _registry.get(place)
        if known is not None:
            if known.is_of(path):
                return known
            _retired.append(known)
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        locks = _registry[place] = FileLocks(file)
        return locks


def _after_fork() -> None:
    """A child holds none of its parent's locks, and no thread is left that could release the turn."""
    global _turn
    _turn = threading.Lock()
    _retired.extend(_registry.values())
    _registry.clear()


os.register_at_fork(after_in_child=_after_fork)
