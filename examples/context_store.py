"""A store shared by all nodes: goflow run examples/context_store.py --data 'a long, long story'

`shorten` need not carry the original along: `read` has put it into the store, where any later node on
any machine finds it. The context handed to `define_workflow` may be used as here, or asked for as a
function's last argument.
"""

import goflow


def define_workflow(workflow: goflow.Workflow, context: goflow.Context) -> None:
    def read(text: str) -> list[str]:
        context.set("original", text)
        return text.split()

    def shorten(words: list[str]) -> str:
        return " ".join(dict.fromkeys(word.strip(",.") for word in words))

    def report(text: str) -> str:
        original = context.get("original")
        context.delete("original")
        return f"{context.flow}: {len(original)} characters became {len(text)}: {text}"

    dag = workflow.dag
    dag.node("read", read) >> dag.node("shorten", shorten) >> dag.node("report", report)
