"""How long a run took is said by one function."""

from __future__ import annotations

from goflow.backend import Run
from goflow.state import RunState
from goflow.took import took


def run(round: int, started: float | None, finished: float | None) -> Run:
    return Run(
        id="r",
        flow="f",
        state=RunState.RUNNING if finished is None else RunState.SUCCEEDED,
        created=100.0,
        started=started,
        finished=finished,
        round=round,
    )


def test_it_is_from_when_the_run_was_accepted_to_its_end() -> None:
    assert took(run(1, 103.0, 110.0), 999.0) == 10.0


def test_one_on_its_way_has_taken_until_now() -> None:
    assert took(run(1, 103.0, None), 104.0) == 4.0
    assert took(run(1, None, None), 99.0) == 0.0, "two clocks may differ"


def test_what_lay_between_rounds_is_left_out() -> None:
    assert took(run(2, 150.0, 160.0), 999.0, [(110.0, 150.0)]) == 20.0
    assert took(run(2, 150.0, 160.0), 999.0) == 10.0, "without attempts the present round alone"
    assert took(run(2, None, None), 999.0) == 0.0, "which nobody has begun"
