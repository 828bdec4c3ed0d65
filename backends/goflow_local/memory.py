"""What a connection remembers from one commit to the next, so that a lone result asks for little.

A worker that commits one result after the other, alone on its store, would read back each time what it has
just written: the run's row, the open branch's, the tasks it holds, who listens. A fifth of its time went there.
The price is a rule: whatever changes one of these rows in a transaction that remembers must change or drop it
here. All other transactions, of this process or another, make it forget everything (see `Store.write_on`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from goflow_local.rows import OPEN, Held, RunRow

if TYPE_CHECKING:
    from goflow_local.counting import Spot

#: rows that are kept of each kind; a worker of many runs begins anew
_MOST: Final = 1000


class Memory:
    """Rows as they are in the store, as long as nobody else writes there."""

    def __init__(self) -> None:
        self.runs: dict[int, RunRow] = {}
        #: branches that are open, by run and path
        self.open: dict[tuple[int, str], Spot] = {}
        #: tasks that were handed out for the first time, by node
        self.held: dict[int, Held] = {}
        #: (port, topic) of whoever listens; None: not known
        self.listeners: list[tuple[int, int]] | None = None

    def keep_run(self, run: RunRow) -> None:
        """A run that was written; not one that ends, which nobody comes back to."""
        if run.ending is not None:
            self.runs.pop(run.key, None)
            return
        run.altered = False
        if len(self.runs) >= _MOST:
            self.runs.clear()
        self.runs[run.key] = run

    def keep_spot(self, run: int, spot: Spot) -> None:
        """A node that was written: one that is open changes only by what closes its scopes."""
        if spot.state == OPEN and spot.width is not None:
            if len(self.open) >= _MOST:
                self.open.clear()
            self.open[run, spot.path] = spot
        else:
            self.open.pop((run, spot.path), None)

    def keep_held(self, held: Held) -> None:
        """A task that was handed out."""
        if len(self.held) >= _MOST:
            self.held.clear()
        self.held[held.id] = held
