"""Branches chosen at run time: goflow run examples/condition.py --data 'App crashed, refund me'

A ticket about several topics gets several branches, in parallel. Were none chosen, the next node
would get the branch's own input.
"""

import goflow

TOPICS = {
    "billing": ("invoice", "refund", "price"),
    "technical": ("crash", "error", "slow"),
}


def topics(ticket: str) -> list[str]:
    ticket = ticket.lower()
    found = [topic for topic, words in TOPICS.items() if any(word in ticket for word in words)]
    return found or ["other"]


def refund(ticket: str) -> str:
    return "We look into your payment today."


def debug(ticket: str) -> str:
    return "Please send us the log file."


def ask(ticket: str) -> str:
    return f"Could you tell us more about {ticket!r}?"


def letter(answers: dict[str, str]) -> str:
    return " ".join(answers.values())


def sign(text: str) -> str:
    return f"{text}\nYours, the support team"


def define_workflow(workflow: goflow.Workflow, context: goflow.Context) -> None:
    dag = workflow.dag
    branch = dag.conditional_branch("topic", [*TOPICS, "other"], topics, aggregator=letter)
    branch["billing"].node("refund", refund)
    branch["technical"].node("debug", debug)
    branch["other"].node("ask", ask)
    "topic" >> dag.node("sign", sign)
