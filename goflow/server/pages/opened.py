"""The node that is opened on a run's page: its error, attempts, inputs and output."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from goflow.backend import Run
from goflow.server.answers import link as run_path
from goflow.server.pages.markup import Child, Markup, tag
from goflow.server.pages.parts import moment, payload, state, table, took


def opened(run: Run, told: dict[str, Any] | None, trouble: str) -> Markup:
    """The node that is opened; always there, so that it can come and go."""
    if told is None:
        body: Child = tag("p", trouble, class_="error") if trouble else None
        return tag("section", body, id="node", data_live=True)
    at, path = run_path(run), told["path"]
    inputs = [
        tag(
            "div",
            tag("h4", each["source"] or "run's input"),
            payload(each, _download(at, path, each)),
        )
        for each in told["inputs"]
    ]
    if told["inputs_total"] > len(inputs):
        inputs.append(tag("p", f"{told['inputs_total'] - len(inputs):,} more inputs", class_="dim"))
    output = told["output"]
    again = tag(
        "button",
        "Retry from here",
        type="button",
        data_post=f"{at}/retry?{urlencode({'from': path})}",
    )
    return tag(
        "section",
        tag("h2", "Node ", tag("span", path, class_="mono")),
        tag("p", state(told["state"]), " ", tag("a", "Close", href=f"/ui/run/{run.id}")),
        tag("p", told["error"], class_="error") if told["error"] else None,
        _traceback(told["detail"]),
        again if run.state.terminal else None,
        tag("h3", "Attempts"),
        _attempts(told["attempts"]),
        tag("h3", "Input"),
        inputs or tag("p", "Nothing has arrived yet.", class_="empty"),
        tag("h3", "Output"),
        payload(output, _download(at, path)) if output else tag("p", "None.", class_="empty"),
        id="node",
        class_="card",
        data_live=True,
    )


def _traceback(text: str) -> Markup | None:
    if not text:
        return None
    return tag("details", tag("summary", "Traceback"), tag("pre", text, tabindex="0"))


def _download(at: str, path: str, told: dict[str, Any] | None = None) -> str:
    given = {"path": path} | ({"source": told["source"]} if told is not None else {})
    return f"{at}/payload?{urlencode(given)}"


def _attempts(attempts: list[dict[str, Any]]) -> Markup:
    lines: list[list[Child]] = [
        [
            each["attempt"] if each["round"] == 1 else f"{each['attempt']} (round {each['round']})",
            each["state"],
            moment(each["started"]),
            took(each["started"], each["finished"]),
            tag("span", each["worker"], class_="mono"),
            tag("span", each["digest"], class_="mono"),
            each["error"],
        ]
        for each in attempts[-50:]
    ]
    head = ["Attempt", "State", "Started", "Took", "Worker", "Code", "Error"]
    return table(head, lines, "None yet.", "Attempts")
