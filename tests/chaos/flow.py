"""The flows that the nemesis puts under load. Copied into a project of its own and loaded by real workers.

Every function appends what it does to the file that $NEMESIS_RECORDS names: when (a clock that all processes
of the machine share and nobody sets), what, run, node path, attempt, process, parent, and a value. A line is
one synced write, so it outlives whoever wrote it. What a node makes depends on its path and its input alone.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from hashlib import sha256

import goflow

#: another definition of the flow `mixed` has another number here
VERSION = 1
#: seconds a `long` node takes: more than the lease of the workers
LONG = 2.6


def record(what: str, context: goflow.Context, value: str = "-") -> None:
    """One line of what happened."""
    file = os.environ.get("NEMESIS_RECORDS")
    if file is None:
        return
    words = (time.monotonic_ns(), what, context.run_id, context.node, context.attempt)
    line = " ".join(map(str, (*words, os.getpid(), os.getppid(), value)))
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_DSYNC)
    os.write(descriptor, f"{line}\n".encode())
    os.close(descriptor)


def made_of(node: str, data: str) -> str:
    """What a node makes of its input."""
    return sha256(f"{node} {data}".encode()).hexdigest()[:16]


def number(data: str, most: int) -> int:
    """A number below `most` that the data decides."""
    return int(sha256(data.encode()).hexdigest()[:8], 16) % most


def work(data: str, options: object, context: goflow.Context, seconds: float = 0.0) -> str:
    """Takes 1 to 9 ms, or so many seconds."""
    record("begin", context)
    value = made_of(context.node, data)
    if os.environ.get("NEMESIS_RECORDS"):
        time.sleep(seconds or 0.001 + number(value, 8) / 1000)
    record("end", context, value)
    return value


def slow(data: str, options: object, context: goflow.Context) -> str:
    """Long enough for something to happen meanwhile."""
    return work(data, options, context, 0.1 + number(data, 8) / 10)


def long(data: str, options: object, context: goflow.Context) -> str:
    """Longer than a lease, and not to be repeated for that."""
    return work(data, options, context, LONG)


def stumbles(data: str, options: object, context: goflow.Context) -> str:
    """Fails twice, then works."""
    if context.attempt < 3:
        record("begin", context)
        record("fail", context)
        raise ValueError(f"attempt {context.attempt} fails")
    return work(data, options, context)


def fails(data: str, options: object, context: goflow.Context) -> str:
    """Never works."""
    record("begin", context)
    record("fail", context)
    raise ValueError("as it must")


def rescue(error: goflow.NodeFailed) -> str:
    """Takes the place of a result."""
    record("rescue", goflow.current_context())
    return "rescued"


def handle(what: object) -> None:
    """A run's handler."""
    record("handle", goflow.current_context())


def join(inputs: dict[str, str]) -> str:
    """What several inputs become, before the node's own work or after a branch."""
    context = goflow.current_context()
    value = made_of("join", " ".join(f"{name}={each}" for name, each in inputs.items()))
    record("join", context, value)
    return value


def spread(fewest: int, most: int) -> Callable[[str], dict[str, str]]:
    """A foreach function that makes so many items."""

    def items(data: str) -> dict[str, str]:
        record("open", goflow.current_context())
        count = fewest + number(data, most - fewest + 1)
        return {f"k{n}": f"{n} {data}" for n in range(count)}

    return items


def choose(data: str) -> list[str]:
    """One or two of three keys."""
    record("open", goflow.current_context())
    return [["x"], ["y", "z"], ["z", "x"]][number(data, 3)]


@goflow.flow
def chain(workflow: goflow.Workflow, context: goflow.Context) -> None:
    previous = workflow.dag.node("n0", work)
    for place in range(1, 6):
        previous = previous >> workflow.dag.node(f"n{place}", work)


@goflow.flow
def diamond(workflow: goflow.Workflow, context: goflow.Context) -> None:
    dag = workflow.dag
    sides = [dag.node("left", slow), dag.node("middle", work), dag.node("right", work)]
    dag.node("start", work) >> sides >> dag.node("join", work, aggregator=join)
    dag.edge("start", "join", execution_only=True)


@goflow.flow
def wide(workflow: goflow.Workflow, context: goflow.Context) -> None:
    dag = workflow.dag
    each = dag.foreach_branch("each", spread(20, 90), aggregator=join, max_parallel=30)
    each.node("item", work)
    dag.node("start", work) >> "each"
    dag.edge("each", dag.node("end", work).name)


@goflow.flow
def nested(workflow: goflow.Workflow, context: goflow.Context) -> None:
    dag = workflow.dag
    outer = dag.foreach_branch("outer", spread(2, 4), aggregator=join)
    inner = outer.foreach_branch("inner", spread(0, 4), aggregator=join)
    kinds = inner.conditional_branch("kind", ["x", "y", "z"], choose, aggregator=join)
    for kind in kinds.values():
        kind.node("a", work) >> kind.node("b", work)
    outer.node("before", work) >> "inner"


@goflow.flow
def parts(workflow: goflow.Workflow, context: goflow.Context) -> None:
    part = goflow.Dag()
    (
        part.node("p", work)
        >> [part.node("q", work), part.node("r", slow)]
        >> part.node("s", work, aggregator=join)
    )
    dag = workflow.dag
    dag.node("start", work) >> [dag.sub_dag("one", part), dag.sub_dag("two", part)]
    dag.node("end", work, aggregator=join)
    dag.edge("one", "end")
    dag.edge("two", "end")


@goflow.flow
def flaky(workflow: goflow.Workflow, context: goflow.Context) -> None:
    dag = workflow.dag
    unlucky = dag.node("unlucky", fails, retries=1, retry_delay=0.05, on_failure=rescue)
    stumbling = dag.node("stumbling", stumbles, retries=4, retry_delay=0.05)
    dag.node("start", work) >> [unlucky, stumbling] >> dag.node("end", work, aggregator=join)
    workflow.finally_(handle)


@goflow.flow
def doomed(workflow: goflow.Workflow, context: goflow.Context) -> None:
    dag = workflow.dag
    dag.node("start", work) >> dag.node("fatal", fails, retries=1, retry_delay=0.05)
    workflow.on_failure(handle)
    workflow.finally_(handle)


@goflow.flow
def lengthy(workflow: goflow.Workflow, context: goflow.Context) -> None:
    workflow.dag.node("long", long) >> workflow.dag.node("slow", slow)


@goflow.flow
def mixed(workflow: goflow.Workflow, context: goflow.Context) -> None:
    """A flow of which workers of two kinds know different definitions."""
    names = ["first", *(f"extra{n}" for n in range(1, VERSION)), "last"]
    previous = workflow.dag.node(names[0], slow)
    for name in names[1:]:
        previous = previous >> workflow.dag.node(name, work)
