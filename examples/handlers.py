"""Retries, on_failure and finally when nodes fail: goflow run examples/handlers.py --data 20

With `--data twenty` the run fails: the flow's own handlers are told, and the exit code is 1.
"""

import goflow


def exchange(euros: float, context: goflow.Context) -> float:
    """A service that does not answer before it is asked a third time."""
    if context.attempt < 3:
        raise ConnectionError(f"no answer to attempt {context.attempt}")
    return euros * 1.08


def fee(euros: float) -> float:
    raise TimeoutError("the fee service is asleep")


def usual_fee(error: goflow.NodeFailed) -> float:
    print(f"{error.node} failed ({error}): taking the usual fee")
    return 0.5


def total(parts: dict[str, float]) -> str:
    return f"{sum(parts.values()):.2f} dollars"


def define_workflow(workflow: goflow.Workflow, context: goflow.Context) -> None:
    dag = workflow.dag
    dag.node("exchange", exchange, retries=2, retry_delay=0.1, timeout=10)
    dag.node("fee", fee, on_failure=usual_fee)
    dag.node("total", aggregator=total)
    dag.edge("exchange", "total")
    dag.edge("fee", "total")

    @workflow.on_failure
    def apologise(error: goflow.NodeFailed) -> None:
        print(f"no quote today: {error.node} gave up after attempt {error.attempt}")

    @workflow.finally_
    def close(state: str) -> None:
        print(f"the quote has {state}")
