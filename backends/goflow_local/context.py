"""Writing into a run's store: every value is a version of its key; and what attempts read from it.

A version that is written over stays as it is. Of each key `first` is the oldest that is kept, and `kept` how
many bytes those before the present one have: both are told by the present one.
"""

from __future__ import annotations

from goflow.backend import HISTORY
from goflow.message import Outcome, pack
from goflow.payload import Payload
from goflow_local.change import Change
from goflow_local.rows import RunRow, code_of

#: the present version of a key: number, oldest that is kept, bytes before it, its own bytes
LAST = (
    "SELECT number, first, kept, coalesce(length(data), 0) FROM context WHERE run = ? AND key = ?"
    " ORDER BY number DESC LIMIT 1"
)
_OLDEST = "SELECT coalesce(length(data), 0) FROM context WHERE run = ? AND key = ? AND number = ?"


def access(change: Change, run: RunRow, path: str, attempt: int, outcome: Outcome) -> None:
    """Record what an attempt read, and write what it wrote."""
    task, step, reads = outcome.task, outcome.step, outcome.reads
    writes = {} if step is None else {k: _write(change, run, k, v) for k, v in step.writes.items()}
    own = task.failure is not None and not path.startswith("~")
    change.execute(
        "INSERT INTO access VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            run.key, run.next(), path, run.round, attempt, task.token, task.closing, own, change.now,
            None if reads is None else pack(reads), pack(writes) if writes else None,
        ),
    )  # fmt: skip


def _write(change: Change, run: RunRow, key: str, value: Payload | None) -> int:
    """The next version of a key; its number."""
    number, first, kept, size = change.execute(LAST, (run.key, key)).fetchone() or (0, 0, 0, 0)
    kept += size
    while kept > HISTORY:
        found = change.execute(_OLDEST, (run.key, key, first)).fetchone()
        kept -= found[0] if found else 0
        gone = "DELETE FROM context WHERE run = ? AND key = ? AND number = ?"
        change.execute(gone, (run.key, key, first))
        first += 1
    stored = (None, None) if value is None else (code_of(value.media_type), value.data)
    row = (run.key, key, number + 1, *stored, first, kept)
    change.execute("INSERT INTO context VALUES (?, ?, ?, ?, ?, ?, ?)", row)
    return int(number) + 1
