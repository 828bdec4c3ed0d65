"""The flows that the server's tests call."""

from __future__ import annotations

import os
import time
from typing import Any

import goflow

#: as long as a flow's name may be
LONGEST = "the-longest-name-that-a-flow-may-have-is-one-of-64-characters-ok"


@goflow.flow("echo")
def echo(workflow: goflow.Workflow, context: goflow.Context) -> None:
    """One node: answered in the request."""
    workflow.dag.node("echo", lambda data: data)


@goflow.flow("asked")
def asked(workflow: goflow.Workflow, context: goflow.Context) -> None:
    """Tells what it was asked with."""

    def tell(data: bytes, options: dict[str, list[str]]) -> dict[str, Any]:
        return {
            "options": options,
            "headers": context.headers,
            "run": context.run_id,
            "secret": os.environ.get("GOFLOW_SERVE_SECRET"),
        }

    workflow.dag.node("tell", tell)


@goflow.flow("failing")
def failing(workflow: goflow.Workflow, context: goflow.Context) -> None:
    """Fails in its second node."""

    def fail(data: bytes) -> None:
        print("about to fail")
        raise ValueError("no <b>good</b>")

    workflow.dag.node("first")
    workflow.dag.node("second", fail)
    workflow.dag.edge("first", "second")


@goflow.flow("wavering")
def wavering(workflow: goflow.Workflow, context: goflow.Context) -> None:
    """A sub-DAG, declared from its end, whose first node fails the first time; it prints a progress bar."""

    def waver(data: bytes) -> bytes:
        print("10 %\r20 %\rdone")
        if goflow.current_context().attempt == 1:
            raise ValueError("not yet")
        return data

    inner = goflow.Dag()
    inner.node("adds-up")
    inner.node("wavers", waver, retries=1, retry_delay=0.01)
    inner.edge("wavers", "adds-up")
    workflow.dag.sub_dag("inner", inner)


@goflow.flow("gated")
def gated(workflow: goflow.Workflow, context: goflow.Context) -> None:
    """Its first node waits until the file exists that its input names."""

    def wait(data: str) -> str:
        print("waiting for", data)
        while not os.path.exists(data):  # noqa: PTH110
            time.sleep(0.01)
        return data

    workflow.dag.node("gate", wait)
    workflow.dag.node("after")
    workflow.dag.edge("gate", "after")


@goflow.flow("each")
def each(workflow: goflow.Workflow, context: goflow.Context) -> None:
    """A foreach and a condition."""
    dag = workflow.dag
    items = dag.foreach_branch("each", lambda data: [str(i) for i in range(int(data or b"3"))])
    items.node("square", lambda data: int(data) ** 2)
    kinds = dag.conditional_branch("kind", ["small", "large"], lambda data: ["small"])
    kinds["small"].node("fine")
    kinds["large"].node("split")
    dag.edge("each", "kind")


#: what tries to be more than text wherever a page shows it
HOSTILE = "\"><img src=x onerror=alert(1)><script>alert(2)</script>'`${1}\x1b[31m\u202e"


@goflow.flow("wordy")
def wordy(workflow: goflow.Workflow, context: goflow.Context) -> None:
    """An error longer than a screen."""

    def fail(data: bytes) -> None:
        raise ValueError("word " * 2000)

    workflow.dag.node("fail", fail)


@goflow.flow(LONGEST)
def longest(workflow: goflow.Workflow, context: goflow.Context) -> None:
    """A name as long as is allowed, and an error that is one word."""

    def fail(data: bytes) -> None:
        raise ValueError("y" * 300)

    workflow.dag.node("fail", fail)


@goflow.flow("hostile")
def hostile(workflow: goflow.Workflow, context: goflow.Context) -> None:
    """Keys, payloads, prints and an error that try to be markup."""
    dag = workflow.dag

    def fail(data: bytes) -> None:
        print(HOSTILE)
        raise ValueError(f"{HOSTILE} {'y' * 200}")

    items = dag.foreach_branch("each", lambda data: {HOSTILE: HOSTILE})
    items.node("pass")
    dag.node("fail", fail)
    dag.edge("each", "fail")
