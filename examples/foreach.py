"""One Dag for each item of the input: goflow run examples/foreach.py --data '[60, 97, 1001]'

The keys name the items in node paths (`each[60]/factors`); at most two are on their way at a time.
"""

import goflow


def items(numbers: list[int]) -> dict[int, int]:
    return {number: number for number in numbers}


def factors(number: int) -> list[int]:
    found, divisor = [], 2
    while divisor * divisor <= number:
        while number % divisor == 0:
            found.append(divisor)
            number //= divisor
        divisor += 1
    return [*found, number] if number > 1 else found


def table(results: dict[str, list[int]]) -> str:
    return "\n".join(f"{n} = {' x '.join(map(str, found))}" for n, found in results.items())


def define_workflow(workflow: goflow.Workflow, context: goflow.Context) -> None:
    each = workflow.dag.foreach_branch("each", items, aggregator=table, max_parallel=2)
    each.node("factors", factors)
