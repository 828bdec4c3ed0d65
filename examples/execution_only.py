"""Edges that order nodes but carry no data: goflow run examples/execution_only.py --data 'Tea house'

`folder` must be there before a page is written, and the list waits for every page, but neither needs
the other's result. The pages go to examples/out/site, or to the folder `--query out=FOLDER`.
"""

from html import escape
from pathlib import Path

import goflow

OUT = Path(__file__).parent / "out" / "site"
Options = dict[str, list[str]]


def out(options: Options) -> Path:
    return Path(options.get("out", [str(OUT)])[0])


def prepare(data: bytes, options: Options) -> None:
    out(options).mkdir(parents=True, exist_ok=True)


def render(text: str) -> str:
    title = escape(text)
    return f"<!doctype html>\n<title>{title}</title>\n<h1>{title}</h1>\n"


def write_index(page: str, options: Options) -> None:
    (out(options) / "index.html").write_text(page + "<a href='about.html'>About us</a>\n", "utf-8")


def write_about(page: str, options: Options) -> None:
    (out(options) / "about.html").write_text(page + "<a href='index.html'>Home</a>\n", "utf-8")


def list_pages(data: bytes, options: Options) -> list[str]:
    return sorted(path.name for path in out(options).glob("*.html"))


def define_workflow(workflow: goflow.Workflow, context: goflow.Context) -> None:
    dag = workflow.dag
    dag.node("folder", prepare)
    dag.node("page", render)
    dag.node("index", write_index)
    dag.node("about", write_about)
    dag.node("list", list_pages)
    for page in ("index", "about"):
        dag.edge("page", page)
        dag.edge("folder", page, execution_only=True)
        dag.edge(page, "list", execution_only=True)
