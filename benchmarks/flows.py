"""The flows that are measured: as little user code as possible, so that what remains is goflow's."""

from __future__ import annotations

import time

import goflow


def nothing(data: bytes) -> bytes:
    return b"x"


def waits(data: bytes) -> bytes:
    """Twenty milliseconds for somebody else."""
    time.sleep(0.020)
    return b"x"


def burn(data: bytes) -> bytes:
    """Ten milliseconds of processor time."""
    end = time.process_time() + 0.010
    while time.process_time() < end:
        pass
    return b"x"


@goflow.flow("single")
def single(workflow: goflow.Workflow, context: goflow.Context) -> None:
    workflow.dag.node("only", nothing)


@goflow.flow("fan-out")
def fan_out(workflow: goflow.Workflow, context: goflow.Context) -> None:
    each = workflow.dag.foreach_branch("each", lambda data: range(int(data)), aggregator=len)
    each.node("work", nothing)


@goflow.flow("burn")
def burning(workflow: goflow.Workflow, context: goflow.Context) -> None:
    each = workflow.dag.foreach_branch("each", lambda data: range(int(data)), aggregator=len)
    each.node("work", burn)


@goflow.flow("waiting")
def waiting(workflow: goflow.Workflow, context: goflow.Context) -> None:
    each = workflow.dag.foreach_branch("each", lambda data: range(int(data)), aggregator=len)
    each.node("work", waits)


@goflow.flow("chain")
def chain(workflow: goflow.Workflow, context: goflow.Context) -> None:
    _chain(workflow, 1000)


@goflow.flow("chain-100")
def short_chain(workflow: goflow.Workflow, context: goflow.Context) -> None:
    _chain(workflow, 100)


def _chain(workflow: goflow.Workflow, length: int) -> None:
    last = workflow.dag.node("n0", nothing)
    for number in range(1, length):
        last = last >> workflow.dag.node(f"n{number}", nothing)


@goflow.flow("discard")
def discard(workflow: goflow.Workflow, context: goflow.Context) -> None:
    """A fan-out whose results nobody gathers: memory shows what goflow itself keeps."""
    each = workflow.dag.foreach_branch("each", lambda data: range(int(data)), execution_only=True)
    each.node("work", nothing)


@goflow.flow("held")
def held(workflow: goflow.Workflow, context: goflow.Context) -> None:
    """A fan-out, and beside it a node that stays: what is looked at is a run on its way."""
    fan_out(workflow, context)
    workflow.dag.node("hold", lambda data: time.sleep(3600))
