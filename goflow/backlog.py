"""What a supervisor has claimed and no child has taken yet."""

from __future__ import annotations

import time
from collections import deque
from typing import Final

from goflow.message import Claim

#: a claimed task that no child has taken after this many seconds goes back to the store
HOARD: Final = 0.05


class Backlog(deque[Claim]):
    """Claimed tasks that wait for a child, until `until` (monotonic): then they go back to the store."""

    until = 0.0

    def patient(self) -> None:
        """Something has moved: from here on they may wait their time."""
        self.until = time.monotonic() + HOARD

    def of_run(self, run_id: str) -> list[Claim]:
        """Take those of one run out."""
        found = [claim for claim in self if claim.task.run_id == run_id]
        for claim in found:
            self.remove(claim)
        return found
