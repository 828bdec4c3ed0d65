"""SQLite's and the system's errors as ours, each with the path and the way out."""

from __future__ import annotations

import errno

import apsw

from goflow.errors import BackendError, StoreAway, StoreFull
from goflow_local.schema import PATIENCE


def translate(error: Exception, path: str) -> BackendError:
    """What a user is told about an error of the store in `path`."""
    if isinstance(error, apsw.FullError) or _lacks_room(error):
        return StoreFull(f"no space left for the store {path}: free some, then go on")
    if isinstance(error, apsw.BusyError | apsw.LockedError):
        return StoreAway(
            f"another process has kept the store {path} locked for {PATIENCE:.0f} s: see"
            " `goflow workers`, or end the program that has the file open"
        )
    if isinstance(error, apsw.CorruptError | apsw.NotADBError):
        return BackendError(
            f"the store {path} is damaged or no goflow store ({error}): move it away, or set"
            " local.path to another folder"
        )
    if isinstance(error, apsw.ReadOnlyError | apsw.CantOpenError | apsw.PermissionsError):
        return BackendError(
            f"cannot write the store {path} ({error}): make its folder writable, or set local.path"
        )
    if isinstance(error, apsw.TooBigError):
        return StoreFull(f"the store {path} takes no value of more than 1 GB")
    if isinstance(error, OSError):
        reason = error.strerror or str(error)
        return BackendError(
            f"cannot open the store {path}: {reason}. Make its folder writable, or set local.path"
        )
    return BackendError(f"the store {path} refuses: {error}")


def _lacks_room(error: Exception) -> bool:
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
