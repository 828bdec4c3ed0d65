"""What an undisturbed run does: the same flow with the same payload, executed in this process."""

from __future__ import annotations

from typing import NamedTuple

from goflow.errors import RunFailed
from goflow.message import Step
from goflow.payload import Payload, of_input
from goflow.testing import Simulation
from goflow.workflow import Flow


class Expectation(NamedTuple):
    """A run as it must come out. `before` holds what leads straight to a node, by path; the closing of a
    branch is called by its path and a `!`."""

    result: Payload | None
    error: str
    outputs: dict[str, Payload]
    before: dict[str, set[str]]


def expect(flow: Flow, text: str) -> Expectation:
    """Run it in memory."""
    run = _Traced(flow, of_input(text))
    try:
        result, error = run.run(), ""
    except RunFailed as failed:
        result, error = None, failed.error or ""
    return Expectation(result, error, run.outputs, run.before)


class _Traced(Simulation):
    """Notes what leads to what."""

    def __init__(self, flow: Flow, payload: Payload) -> None:
        self.before: dict[str, set[str]] = {}
        self._now = ""
        super().__init__(flow, payload)

    def _execute(self, path: str, closing: bool) -> None:
        self._now = f"{path}!" if closing else path
        super()._execute(path, closing)

    def _record(self, path: str, made: Step) -> None:
        targets = [f"{each.target}!" if each.closing else each.target for each in made.arrivals]
        if made.opened is not None:
            targets.append(f"{path}!")
            targets += [item.prefix + start for item in made.opened.items for start in item.starts]
        for target in targets:
            self.before.setdefault(target, set()).add(self._now)
        super()._record(path, made)
