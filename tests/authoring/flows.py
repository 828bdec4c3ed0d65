"""Small flows and functions for the tests of what a flow computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from goflow import Dag, RunFailed
from goflow.message import Task
from goflow.testing import run
from goflow.testing.driver import as_flow

Work = Callable[..., Any]


def gives(value: object) -> Work:
    """A function that returns this."""
    return lambda data: value


def show(data: bytes) -> str:
    return f"<{data.decode()}>"


def fails(data: bytes) -> bytes:
    raise ValueError("boom")


def parallel(*outputs: object, aggregator: Work | None = None, names: str = "bacdefgh") -> Dag:
    """Nodes side by side that return these, and one named `join` after them all."""
    dag = Dag()
    for name, output in zip(names, outputs, strict=False):
        dag.node(name, gives(output))
    dag.node("join", aggregator=aggregator)
    for name, _ in zip(names, outputs, strict=False):
        dag.edge(name, "join")
    return dag


def failure(flow: Any, data: object = b"") -> str:
    with pytest.raises(RunFailed) as raised:
        run(flow, data)
    return str(raised.value)


def node_plan(**options: Any) -> Any:
    dag = Dag()
    dag.node("n", **options)
    dag.foreach_branch("each", gives([])).node("x")
    return as_flow(dag).plan


def task(path: str, **more: Any) -> Task:
    return Task(run_id="r", flow="test", fingerprint="f", path=path, token="t", **more)


def conditional(chosen: object, **options: Any) -> Dag:
    """A branch over pass, fail and 3, each of whose DAGs marks its input, and a node after it."""
    dag = Dag()
    branches = dag.conditional_branch("kind", ["pass", "fail", 3], gives(chosen), **options)
    for key, inner in branches.items():
        inner.node("mark", lambda data, key=key: f"{key}({data.decode()})")
    dag.edge("kind", dag.node("end"))
    return dag
