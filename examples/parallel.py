"""Parallel nodes and an aggregator that joins them: goflow run examples/parallel.py --data '3 1 8 4'

Without the aggregator `report` would get a JSON object, {"mean": 4.0, "median": 3.5, "spread": 7.0}.
"""

import statistics

import goflow


def numbers(text: str) -> list[float]:
    return [float(word) for word in text.split()]


def mean(numbers: list[float]) -> float:
    return statistics.mean(numbers)


def median(numbers: list[float]) -> float:
    return statistics.median(numbers)


def spread(numbers: list[float]) -> float:
    return max(numbers) - min(numbers)


def report(results: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in results.items())


def define_workflow(workflow: goflow.Workflow, context: goflow.Context) -> None:
    dag = workflow.dag
    figures = [dag.node("mean", mean), dag.node("median", median), dag.node("spread", spread)]
    dag.node("numbers", numbers) >> figures >> dag.node("report", aggregator=report)
