"""Which tasks travel together to one child."""

from __future__ import annotations

from collections import deque
from typing import Any

from goflow.message import Claim, Task
from goflow.pace import BATCH_SECONDS, BATCH_TASKS, UNSHARED, Pace
from goflow.workflow import build


def one(workflow: Any, context: Any) -> None:
    workflow.dag.node("a")


FLOW = build("one", one)


def claim(number: int) -> Claim:
    return Claim(Task(f"run-{number}", *FLOW.key, "a", f"{number}"), ())


def batches(count: int, seconds: float, children: int) -> list[int]:
    """How many tasks each of some free children gets, where tasks have taken so long before."""
    pace = Pace({FLOW.key: FLOW})
    pace.learn(claim(0).task, seconds)
    backlog: deque[Claim] = deque(claim(number) for number in range(count))
    sizes: list[int] = []
    while backlog and len(sizes) < children:
        sizes.append(len(pace.batch(backlog, children - len(sizes))))
    return sizes


def test_work_that_is_not_worth_the_waking_of_a_second_child_goes_to_one() -> None:
    assert batches(8, UNSHARED / 10, 2) == [8]


def test_more_work_is_shared_by_the_children() -> None:
    assert batches(32, UNSHARED / 10, 2) == [16, 16]


def test_a_child_gets_no_more_than_a_batch() -> None:
    assert batches(1000, BATCH_SECONDS / 100, 2) == [BATCH_TASKS, BATCH_TASKS]
    assert batches(1000, BATCH_SECONDS / 10, 2) == [9, 9]


def test_tasks_that_take_long_travel_alone() -> None:
    assert batches(4, BATCH_SECONDS, 2) == [1, 1]
