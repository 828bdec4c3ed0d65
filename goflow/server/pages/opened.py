"""The node that is opened on a run's page: its error, attempts, inputs, output and prints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from goflow.backend import LogLine, Run
from goflow.server.answers import link as run_path
from goflow.server.pages.markup import Child, Markup, join, tag
from goflow.server.pages.nodes import Asked
from goflow.server.pages.parts import button, cut, moment, payload, state, table, took, wrong
from goflow.server.pages.prints import prints


def opened(
    run: Run, told: dict[str, Any] | None, trouble: str, logs: Sequence[LogLine], asked: Asked
) -> Markup:
    """The node that is opened; always there, so that it can come and go."""
    close = tag(
        "a",
        "Close",
        href=asked.link(run, node="", page=asked.page),
        class_="close",
        data_soft=True,
        data_close=True,
    )
    if told is None:
        if not trouble:
            return tag("section", id="node", data_live=True)
        head = tag("div", tag("h2", "Node"), close, class_="title")
        body = tag("p", trouble, class_="error")
        return tag("section", head, body, id="node", class_="card", data_live=True)
    path = told["path"]
    again = f"{run_path(run)}/retry?{urlencode({'from': path})}"
    return tag(
        "section",
        tag(
            "div",
            tag("h2", "Node ", tag("span", path, class_="mono"), tabindex="-1"),
            close,
            class_="title",
        ),
        tag(
            "div",
            state(told["state"]),
            button("Retry from here", again) if run.state.terminal else None,
            class_="title",
        ),
        wrong(told["error"]),
        _traceback(told["detail"]),
        tag("h3", "Input"),
        _inputs(run, told),
        tag("h3", "Output"),
        _output(run, told),
        tag("h3", "Attempts"),
        _attempts(told["attempts"]),
        join(tag("h3", "Logs"), prints(run, logs, of=path)) if logs else None,
        id="node",
        class_="card",
        data_live=True,
    )


def _traceback(text: str) -> Markup | None:
    if not text:
        return None
    return tag("details", tag("summary", "Traceback"), tag("pre", text, tabindex="0"))


def _inputs(run: Run, told: dict[str, Any]) -> Child:
    """Each under the node that it came from; one from the run needs no title."""
    shown: list[Child] = []
    for each in told["inputs"]:
        if each["source"] or len(told["inputs"]) > 1:
            title = tag("span", each["source"], class_="mono") if each["source"] else "run's input"
            shown.append(tag("h4", "from ", title))
        shown.append(payload(each, _download(run, told["path"], each)))
    left = told["inputs_total"] - len(told["inputs"])
    if left > 0:
        shown.append(tag("p", f"{left:,} more inputs", class_="dim"))
    return shown or tag("p", "Nothing has arrived yet.", class_="empty")


def _output(run: Run, told: dict[str, Any]) -> Markup:
    if not told["output"]:
        return tag("p", "None.", class_="empty")
    return payload(told["output"], _download(run, told["path"]))


def _download(run: Run, path: str, told: dict[str, Any] | None = None) -> str:
    given = {"path": path} | ({"source": told["source"]} if told is not None else {})
    return f"{run_path(run)}/payload?{urlencode(given)}"


def _attempts(attempts: list[dict[str, Any]]) -> Markup:
    lines: list[list[Child]] = [
        [
            each["attempt"] if each["round"] == 1 else f"{each['attempt']} (round {each['round']})",
            join(state(each["state"]), cut(each["error"], bad=True)),
            took(each["started"], each["finished"]),
            join(
                moment(each["started"]),
                tag("div", f"worker {each['worker']}", class_="mono dim")
                if each["worker"]
                else None,
                tag("div", f"code {each['digest']}", class_="mono dim") if each["digest"] else None,
            ),
        ]
        for each in attempts[-50:]
    ]
    return table(["Try", "State", "Took", "Started"], lines, "None yet.", "Attempts")
