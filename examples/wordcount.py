"""Word count over a corpus, file by file: goflow run examples/wordcount.py --query top=8

`--data FOLDER` reads the *.txt files of another folder than examples/corpus.
"""

import re
from collections import Counter
from pathlib import Path

import goflow

CORPUS = Path(__file__).parent / "corpus"


def files(folder: str) -> dict[str, str]:
    found = sorted(Path(folder or CORPUS).glob("*.txt"))
    if not found:
        raise FileNotFoundError(f"no *.txt in {folder or CORPUS}")
    return {path.stem: str(path) for path in found}


def count(file: str) -> dict[str, int]:
    return Counter(re.findall(r"[a-z]+(?:'[a-z]+)?", Path(file).read_text().lower()))


def add_up(counts: dict[str, dict[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for words in counts.values():
        total.update(words)
    return total


def top(words: dict[str, int], options: dict[str, list[str]]) -> str:
    wanted = int(options.get("top", ["10"])[0])
    lines = [f"{times:5} {word}" for word, times in Counter(words).most_common(wanted)]
    return "\n".join([*lines, f"{sum(words.values()):5} words, {len(words)} different ones"])


def define_workflow(workflow: goflow.Workflow, context: goflow.Context) -> None:
    dag = workflow.dag
    text = dag.foreach_branch("text", files, aggregator=add_up)
    text.node("count", count)
    "text" >> dag.node("top", top)
