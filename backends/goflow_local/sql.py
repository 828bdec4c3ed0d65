"""SQLite as the other modules see it: rows are `Any`, since schema.py alone knows their types."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol


class Cursor(Protocol):
    """Rows of a query."""

    def fetchone(self) -> Any: ...

    def fetchall(self) -> list[Any]: ...

    def __iter__(self) -> Iterator[Any]: ...


class Blob(Protocol):
    """A stored value, read piece by piece."""

    def read(self, length: int) -> bytes: ...

    def length(self) -> int: ...

    def __enter__(self) -> Blob: ...

    def __exit__(self, *error: Any) -> Any: ...


class Connection(Protocol):
    """What is used of `apsw.Connection`."""

    def blob_open(
        self, database: str, table: str, column: str, rowid: int, writeable: bool
    ) -> Blob: ...

    def execute(self, statements: str, bindings: Any = None) -> Cursor: ...

    def executemany(
        self, statements: str, sequenceofbindings: Iterable[Any], *, can_cache: bool = True
    ) -> Cursor: ...

    def last_insert_rowid(self) -> int: ...

    def changes(self) -> int: ...

    def total_changes(self) -> int: ...
