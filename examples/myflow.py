"""One node, the smallest flow: goflow run examples/myflow.py --data hallo

The flow is called like its file. Your own first one needs neither annotations nor this docstring.
"""

import goflow


def greet(data: str) -> str:
    return f'you said "{data}"'


def define_workflow(workflow: goflow.Workflow, context: goflow.Context) -> None:
    workflow.dag.node("test", greet)
