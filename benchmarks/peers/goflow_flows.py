"""The flows that goflow's workers execute in the field."""

from common import LENGTH, mark, tail

import goflow


def work(data: str) -> str:
    return tail(data)


@goflow.flow("single")
def single(workflow, context):
    workflow.dag.node("a", work)


@goflow.flow("chain")
def chain(workflow, context):
    workflow.dag.node("n0", work)
    for number in range(1, LENGTH):
        workflow.dag.node(f"n{number}", work)
        workflow.dag.edge(f"n{number - 1}", f"n{number}")


@goflow.flow("fan")
def fan(workflow, context):
    def items(data: str):
        return ["p" * 100] * int(data)

    each = workflow.dag.foreach_branch("each", items, aggregator=len)
    each.node("work", work)


@goflow.flow("diamond")
def diamond(workflow, context):
    def joined(inputs: dict[str, str]) -> str:
        return inputs["b"] + inputs["c"]

    dag = workflow.dag
    dag.node("a", work)
    dag.node("b", work)
    dag.node("c", work)
    dag.node("d", work, aggregator=joined)
    for edge in (("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")):
        dag.edge(*edge)


@goflow.flow("slow")
def slow(workflow, context):
    workflow.dag.node("mark", lambda data: mark(data.decode()))
