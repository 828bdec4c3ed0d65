"""One Dag in two places, and forwarders: goflow run examples/subdag.py --data 'red tea / green tea'

`tokens` is made once and stands in two places: its nodes run as `left/lower`, `right/lower` and so on.
"""

import goflow


def halves(text: str) -> list[str]:
    left, _, right = text.partition("/")
    return [left, right]


def first(pair: list[str]) -> str:
    return pair[0]


def second(pair: list[str]) -> str:
    return pair[1]


def lower(text: str) -> str:
    return text.lower()


def unique(text: str) -> list[str]:
    return sorted(set(text.split()))


def similarity(words: dict[str, list[str]]) -> str:
    left, right = set(words["left"]), set(words["right"])
    both, either = left & right, left | right
    return f"{len(both)} of {len(either)} words in common: {' '.join(sorted(both))}"


def define_workflow(workflow: goflow.Workflow, context: goflow.Context) -> None:
    tokens = goflow.Dag()
    tokens.node("lower", lower) >> tokens.node("unique", unique)

    dag = workflow.dag
    dag.node("halves", halves)
    left = dag.sub_dag("left", tokens)
    right = dag.sub_dag("right", tokens)
    dag.edge("halves", left, forwarder=first)
    dag.edge("halves", right, forwarder=second)
    [left, right] >> dag.node("compare", aggregator=similarity)
