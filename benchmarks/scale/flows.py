"""The flows of the scale benchmark."""

from __future__ import annotations

import time

import goflow


def nothing(data: bytes) -> bytes:
    return b"x"


def waits(data: bytes) -> bytes:
    """Twenty milliseconds for somebody else."""
    time.sleep(0.020)
    return b"x"


@goflow.flow("single")
def single(workflow: goflow.Workflow, context: goflow.Context) -> None:
    workflow.dag.node("only", nothing)


@goflow.flow("fan")
def fan(workflow: goflow.Workflow, context: goflow.Context) -> None:
    each = workflow.dag.foreach_branch("each", lambda data: range(int(data)), aggregator=len)
    each.node("work", nothing)


@goflow.flow("waiting")
def waiting(workflow: goflow.Workflow, context: goflow.Context) -> None:
    each = workflow.dag.foreach_branch("each", lambda data: range(int(data)), aggregator=len)
    each.node("work", waits)


@goflow.flow("chain")
def chain(workflow: goflow.Workflow, context: goflow.Context) -> None:
    previous = workflow.dag.node("n0", nothing)
    for number in range(1, 100):
        previous = previous >> workflow.dag.node(f"n{number}", nothing)
