"""Attempts as people count them: every store tells the same."""

from __future__ import annotations

from goflow.backend import Attempt
from goflow.tries import counted


def tried(path: str, started: float, attempt: int = 1, state: str = "succeeded") -> Attempt:
    return Attempt(
        path=path, round=1, attempt=attempt, state=state, started=started, finished=started + 1
    )


def test_opening_and_closing_of_a_branch_are_one_attempt() -> None:
    opening, inner, closing = tried("each", 1.0), tried("each[0]/a", 2), tried("each", 1.0004)
    assert counted([opening, inner, closing]) == [inner, closing]


def test_an_opening_whose_branch_is_open_is_told() -> None:
    assert len(counted([tried("each", 1)])) == 1


def test_a_closing_that_failed_once_is_two_attempts() -> None:
    opening, failed, closed = tried("each", 1), tried("each", 5, 1, "failed"), tried("each", 1, 2)
    assert counted([opening, failed, closed]) == [failed, closed]


def test_attempts_that_failed_or_were_lost_stay() -> None:
    tries = [tried("a", 1, 1, "lost"), tried("a", 3, 1, "failed"), tried("a", 5, 2)]
    assert counted(tries) == tries


def test_a_node_that_was_made_again_in_a_later_round_has_two() -> None:
    again = Attempt(path="a", round=2, attempt=1, state="succeeded", started=9, finished=10)
    assert len(counted([tried("a", 1), again])) == 2
