"""What every rule stands on: three workers on three connections, and what to pick from."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine

from goflow.errors import Conflict
from goflow.testing.history import SKILLS, Held, History
from goflow.testing.hooks import BackendHooks
from goflow.testing.store import Worker

PICKS: Final = st.integers(0, 40)
ACTORS: Final = st.integers(0, len(SKILLS) - 1)
ENDINGS: Final = st.sampled_from(
    ["succeed", "succeed", "succeed", "succeed", "fail", "fail", "retry", "rescue"]
)


class Rules(BackendHooks, RuleBasedStateMachine):
    """Three workers on three connections, and what has happened to them."""

    def __init__(self) -> None:
        super().__init__()
        self._context = sys.exc_info()[1]
        self._folder = Path(tempfile.mkdtemp(prefix="goflow-machine-"))
        self.history = History(self, self._folder)

    def _actor(self, number: int) -> Worker:
        return self.history.workers[number]

    def _live(self) -> list[Held]:
        """What is held by workers that are there."""
        gone = self.history.gone
        return [held for held in self.history.held.values() if held.worker.id not in gone]

    def _anybodys(self) -> bool:
        """Whether a worker that knows every definition would get something."""
        models = self.history.runs.values()
        return any(model.claimable() for model in models if not model.owner)

    def _refused(self, call: Any) -> None:
        try:
            call()
        except Conflict:
            return
        raise AssertionError("expected a Conflict")
