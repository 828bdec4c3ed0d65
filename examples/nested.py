"""Branches in branches: goflow run examples/nested.py --data '{"ann": [50, -20], "bob": [-5]}'

For each account, for each booking, one of two ways: `account[ann]/booking[1]/kind[debit]/charge`.
"""

import goflow

FEE = 1


def accounts(book: dict[str, list[int]]) -> dict[str, list[int]]:
    return book


def bookings(amounts: list[int]) -> list[int]:
    return amounts


def kind(amount: int) -> str:
    return "credit" if amount >= 0 else "debit"


def charge(amount: int) -> int:
    return amount - FEE


def balance(amounts: dict[str, int]) -> int:
    return sum(amounts.values())


def define_workflow(workflow: goflow.Workflow, context: goflow.Context) -> None:
    account = workflow.dag.foreach_branch("account", accounts)
    booking = account.foreach_branch("booking", bookings, aggregator=balance)
    way = booking.conditional_branch("kind", ["credit", "debit"], kind)
    way["credit"].node("keep")
    way["debit"].node("charge", charge)
