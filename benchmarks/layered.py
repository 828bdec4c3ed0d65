"""A flow of 1,000 nodes in 40 layers, each node after two of the layer before."""

from __future__ import annotations

import goflow


def first(inputs: dict[str, bytes]) -> bytes:
    return next(iter(inputs.values()))


def define_workflow(workflow: goflow.Workflow, context: goflow.Context) -> None:
    dag = workflow.dag
    for layer in range(40):
        for i in range(25):
            dag.node(f"n{layer}-{i}", aggregator=first if layer else None)
            for source in {i, (i * 7 + layer) % 25} if layer else ():
                dag.edge(f"n{layer - 1}-{source}", f"n{layer}-{i}")
