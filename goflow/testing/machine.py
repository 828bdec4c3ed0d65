"""Random histories over a backend, checked after every step against a plain-Python model.

Hypothesis picks flows and interleaves submits, claims, commits (also late, twice and from workers that
are gone), crashes, controls and new rounds, and shrinks what breaks to a few lines. A backend runs it with:

    class MyMachine(MyHooks, BackendMachine):
        pass

    TestMyMachine = MyMachine.TestCase
    TestMyMachine.settings = SHORT
"""

from __future__ import annotations

import shutil
import sys
from typing import Any, Final

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import invariant

from goflow.state import NodeState, RunState
from goflow.testing.rules.losing import Losing
from goflow.testing.rules.steering import Steering
from goflow.testing.rules.working import Working
from goflow.testing.store import FLOW, OTHER

_COMMON: Final[dict[str, Any]] = {
    "deadline": None,
    "suppress_health_check": list(HealthCheck),
    "print_blob": True,
}
#: seconds of work: the same histories every time, so that a suite does not fail by chance, and
#: not shrunk, since that takes minutes: `LONG` does it
SHORT: Final = settings(
    max_examples=40,
    stateful_step_count=40,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    **_COMMON,
)
#: minutes of work: new histories every time
LONG: Final = settings(max_examples=3000, stateful_step_count=60, **_COMMON)


class BackendMachine(Working, Losing, Steering):
    """Three workers on three connections, up to three runs, and everything that may happen to them; what must
    hold after every step."""

    @invariant()
    def runs_are_as_they_should_be(self) -> None:
        """Run and node states, results and attempts are those of the model."""
        self.history.check()

    @invariant()
    def runs_are_listed_under_their_flow_and_state(self) -> None:
        """Each is found in the lists that it belongs in, and in no other."""
        models = self.history.runs
        backend = self.history.store.backend
        for state in RunState:
            listed = sorted(run.id for run in backend.runs(state=state))
            assert listed == sorted(each for each in models if models[each].state is state), state
        for flow in (FLOW[0], OTHER[0]):
            listed = sorted(run.id for run in backend.runs(flow))
            assert listed == sorted(each for each in models if models[each].key[0] == flow), flow

    @invariant()
    def what_is_ready_waits(self) -> None:
        """The directory counts what workers could claim now."""
        waiting = self.history.store.backend.waiting()
        for key in (FLOW, OTHER):
            models = self.history.runs.values()
            mine = [model for model in models if model.key == key and not model.owner]
            least = sum(len(model.claimable()) for model in mine)
            due = [n for m in mine for n in m.nodes.values() if n.state is NodeState.RETRYING]
            most = least + len(due)
            if self.late:
                least = 0
            assert least <= waiting.get(key, 0) <= most, (
                "what any worker could claim: unowned, unpaused"
            )

    def teardown(self) -> None:
        """With a healthy worker every accepted run ends, and no work is left over."""
        try:
            if sys.exc_info()[1] is self._context:
                self.history.drain()
        finally:
            self.history.store.close()
            shutil.rmtree(self._folder, ignore_errors=True)
