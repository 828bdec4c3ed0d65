"""How a store stands: what two looks make of counters, queues and workers."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from goflow.backend import WorkerInfo
from goflow.figures import Figures, Name, place
from goflow.standing import Look, standing
from goflow.why.workers import silence
from goflow_cli.views.drawing import Screen
from goflow_cli.views.top import page

FLOW = ("f", "0123")


def worker(doing: int, *, alive: bool = True) -> WorkerInfo:
    return WorkerInfo(
        id=1,
        host="box",
        pid=1,
        started=0.0,
        concurrency=4,
        flows=(FLOW,),
        doing=tuple(f"r/{number}" for number in range(doing)),
        alive=alive,
    )


def look(
    at: float, numbers: dict[Name, int] | None, *workers: WorkerInfo, waiting: int = 0
) -> Look:
    figures = None
    if numbers is not None:
        figures = Figures(numbers=numbers, active={"f": 3}, oldest={"f": at - 5} if waiting else {})
    return Look(
        at=at,
        flows=("f", "idle"),
        workers=workers,
        waiting={"f": waiting} if waiting else {},
        figures=figures,
        runs=(),
    )


def counted(**numbers: int) -> dict[Name, int]:
    return {("f", name.replace("_", ":")): value for name, value in numbers.items()}


def test_rates_are_what_was_counted_between_two_looks() -> None:
    before = counted(runs_succeeded=100, runs_failed=1, attempts_succeeded=1000, retries=5)
    after = counted(runs_succeeded=140, runs_failed=3, attempts_succeeded=1200, retries=15)
    now = standing(look(110.0, after), look(100.0, before))
    rates = now.flows[0].rates
    assert rates is not None
    assert (rates.runs, rates.failed, rates.attempts, rates.retries) == (4.2, 0.2, 20.0, 1.0)
    assert now.rates == rates
    assert now.flows[1].rates is not None
    assert now.flows[1].rates.runs == 0.0


def test_percentiles_are_upper_bounds_of_what_ran_meanwhile() -> None:
    quick, slow = f"attempt_{place(3)}", f"attempt_{place(900)}"
    before = counted(**{quick: 7000})
    after = counted(**{quick: 7080, slow: 20})
    rates = standing(look(2.0, after), look(1.0, before)).rates
    assert rates is not None
    assert (rates.ran_p50, rates.ran_p90) == (0.004, 1.024)
    assert rates.waited_p50 is None


def test_what_waits_longest_comes_first_and_lost_workers_hold_no_slots() -> None:
    now = standing(look(9.0, {}, worker(2), worker(1, alive=False), waiting=7), None)
    assert [flow.flow for flow in now.flows] == ["f", "idle"]
    assert (now.flows[0].waiting, now.flows[0].oldest, now.flows[0].workers) == (7, 5.0, 1)
    assert (now.busy, now.slots, now.waiting, now.oldest) == (2, 4, 7, 5.0)
    assert now.rates is None


@pytest.mark.parametrize("waiting", [0, 2])
def test_a_backend_without_figures_is_told_without_them(waiting: int) -> None:
    now = standing(look(2.0, None, waiting=waiting), look(1.0, None))
    assert (now.flows[0].active, now.flows[0].rates, now.rates) == (None, None, None)
    assert now.waiting == waiting


@pytest.mark.parametrize(
    ("silent", "alive", "told"),
    [(0.0, True, "alive"), (10.9, True, "alive"), (11.1, True, "silent"), (31.0, False, "gone")],
)
def test_a_worker_that_missed_a_renewal_is_silent_before_it_is_gone(
    silent: float, alive: bool, told: str
) -> None:
    one = replace(worker(1, alive=alive), silent=silent, lease=30.0)
    assert one.standing == told
    assert replace(one, lease=0.0).standing != "silent", "its store knows at once who is gone"
    assert one.up(100.0) == (100.0 if alive else 100.0 - silent)


def test_what_to_expect_of_a_silent_worker_is_said() -> None:
    said = silence(replace(worker(1), silent=11.0, lease=30.0))
    assert said.startswith("last sign of life 11 s ago; its tasks go to another worker in 19 s")


def test_idle_flows_beyond_a_few_are_one_line_and_doing_has_room() -> None:
    flows = tuple(f"a_flow_with_a_long_name_{number}" for number in range(9))
    one = replace(worker(1), flows=tuple((flow, "0") for flow in flows))
    seen = replace(look(1.0, None, one), flows=flows)
    lines = page(standing(seen, None), "redis://a.host.with.a.long.name:6379/0", Screen(80, 40))
    text = "\n".join("".join(part for part, _ in line) for line in lines)
    assert "6 more idle flows" in text
    assert "r/0" in text, "what the worker does"
    assert "goflow top" in text.splitlines()[0]
    assert "waiting" in text.splitlines()[0], "the head is one line"
