"""`goflow init`: a first flow and its goflow.toml."""

from __future__ import annotations

from pathlib import Path

import click

from goflow.errors import Conflict
from goflow_cli.session import force_option, note

FLOW = '''\
"""A first flow: three steps, two of them side by side. Try: goflow run flow.py --data hallo"""


def shout(data: str) -> str:
    return data.upper()


def count(data: str) -> int:
    return len(data)


def report(inputs: dict[str, str]) -> str:
    return f"{inputs['shout']} has {inputs['count']} letters"


def define_workflow(workflow, context):
    dag = workflow.dag
    dag.node("read")
    dag.node("shout", shout)
    dag.node("count", count)
    dag.node("report", aggregator=report)
    dag.edge("read", "shout")
    dag.edge("read", "count")
    dag.edge("shout", "report")
    dag.edge("count", "report")
'''

CONFIG = """\
# goflow's settings for this folder; every key is optional.
flows = ["flow.py"]     # so that `goflow graph flow` and `goflow worker` need no file
backend = "local"       # or "redis", or a URL

[local]
path = ".goflow"        # where runs rest, relative to this file
"""


@click.command()
@click.argument("folder", default=".", type=click.Path(file_okay=False))
@force_option
def init(folder: str, force: bool) -> int:
    """Write a starter flow.py and goflow.toml into FOLDER (the current one)."""
    where = Path(folder)
    files = {where / "flow.py": FLOW, where / "goflow.toml": CONFIG}
    taken = [str(path) for path in files if path.exists()]
    if taken and not force:
        exist = "exist" if taken[1:] else "exists"
        raise Conflict(
            f"{' and '.join(taken)} {exist} already; nothing was written (--force writes over what is there)"
        )
    where.mkdir(parents=True, exist_ok=True)
    for path, text in files.items():
        path.write_text(text, encoding="utf-8")
        note(f"goflow: wrote {path}")
    note(f"Try: goflow run {where / 'flow.py'} --data hallo")
    return 0
