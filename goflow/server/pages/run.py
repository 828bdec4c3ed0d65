"""One run: its graph painted, its nodes on a time line, and one of them in detail. Live while it lasts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

from starlette.requests import Request
from starlette.responses import Response

from goflow.backend import Backend, LogLine, NodeRun, Run
from goflow.errors import GoflowError
from goflow.glimpse import Glimpse, cut, last_logs, of_output, of_request
from goflow.overview import Overview, overview
from goflow.payload import EMPTY
from goflow.plan import Plan
from goflow.server.answers import link as run_path
from goflow.server.detail import SHOWN, detail, excerpt
from goflow.server.errors import HttpError, bad
from goflow.server.pages.frame import page
from goflow.server.pages.graph import graph
from goflow.server.pages.markup import Child, Markup, join, tag
from goflow.server.pages.nodes import Asked, nodes_section
from goflow.server.pages.opened import opened
from goflow.server.pages.parts import (
    button,
    duration,
    flow_link,
    moment,
    payload,
    state,
    told_wrong,
    took_run,
    wrong,
)
from goflow.server.pages.prints import READ, prints
from goflow.server.pages.spans import Tries, tries_of
from goflow.server.parameters import only, whole
from goflow.server.service import Service, run_id, service
from goflow.state import NodeState
from goflow.wholesale import nodes_and_tries


class _Seen(NamedTuple):
    """What the page shows."""

    plan: Plan
    run: Run
    view: Overview
    recorded: Sequence[NodeRun]
    tries: Tries
    query: Mapping[str, Sequence[str]]
    input: dict[str, Any]
    result: dict[str, Any] | None
    node: dict[str, Any] | None
    trouble: str
    logs: Sequence[LogLine]
    own: Sequence[LogLine]


async def page_of_run(request: Request) -> Response:
    """The page of a run. `?node=` opens a node; `?under=`, `?state=` and `?find=` list instances."""
    serving = service(request)
    try:
        name = run_id(request)
        asked = _asked(only(request, Asked._fields))

        def read(backend: Backend) -> tuple[Run, list[Child]]:
            seen = _read(serving, backend, name, asked)
            return seen.run, _body(seen, asked)

        run, body = await serving.lanes.slowly(read)
    except (GoflowError, HttpError) as error:
        return told_wrong(request, error)
    return page(
        f"{run.flow} {run.id}",
        body,
        place="Runs",
        leave=bool(serving.secret),
        events=None if run.state.terminal else f"{run_path(run)}/events",
        revision=run.revision,
    )


def _asked(given: dict[str, str]) -> Asked:
    number = whole(given.pop("page", None), "page", 1, 1, 1_000_000)
    asked = Asked(**given, page=number)
    if asked.state and asked.state not in list(NodeState):
        raise bad(f"state: expected one of {', '.join(NodeState)}, got {asked.state[:100]!r}")
    return asked


def _read(serving: Service, backend: Backend, name: str, asked: Asked) -> _Seen:
    run = backend.run(name)
    plan = serving.plan(backend, run.flow, run.fingerprint)
    recorded, attempts = nodes_and_tries(backend, name)
    request, size = of_request(backend, name, SHOWN)
    node, trouble = None, ""
    if asked.node:
        try:
            node = detail(backend, plan, run, asked.node)
        except GoflowError as error:
            trouble = str(error)
    return _Seen(
        plan=plan,
        run=run,
        view=overview(plan, run, recorded),
        recorded=recorded,
        tries=tries_of(attempts),
        query=request.query,
        input=excerpt(Glimpse(request.payload, size)),
        result=excerpt(of_output(backend, name, None, SHOWN) or cut(EMPTY, SHOWN))
        if run.state == "succeeded"
        else None,
        node=node,
        trouble=trouble,
        logs=last_logs(backend, name, None, READ),
        own=last_logs(backend, name, node["path"], READ) if node else (),
    )


def _body(seen: _Seen, asked: Asked) -> list[Child]:
    run = seen.run
    listed = nodes_section(seen.plan, run, seen.view, seen.recorded, seen.tries, asked)
    drawing = graph(seen.plan, seen.view, lambda **at: asked.link(run, **at))
    return [
        tag(
            "div",
            tag("h1", flow_link(run.flow), " ", tag("span", run.id, class_="mono id")),
            _actions(run, seen.query),
            class_="title",
        ),
        tag("section", _summary(seen), id="summary", data_live=True),
        tag(
            "div",
            tag("section", tag("h2", "Graph"), drawing, id="graph", data_live=True),
            opened(run, seen.node, seen.trouble, seen.own, asked),
            listed,
            class_="split",
        ),
        tag("section", _payloads(seen), id="payloads", class_="columns", data_live=True),
        tag("section", tag("h2", "Logs"), prints(run, seen.logs), id="logs", data_live=True),
    ]


def _summary(seen: _Seen) -> Markup:
    run = seen.run
    # a later round starts when somebody asks for it: what lies before did not wait
    waits = run.started is not None and run.round == 1
    facts: list[tuple[str, Child]] = [
        ("State", state(str(run.state))),
        ("Created", moment(run.created)),
        ("Waited", duration((run.started or 0.0) - run.created) if waits else None),
        ("Took", took_run(run)),
        ("Round", run.round if run.round > 1 else None),
        ("Definition", tag("span", run.fingerprint, class_="mono dim")),
    ]
    listed = [
        tag("div", tag("dt", name), tag("dd", told))
        for name, told in facts
        if told not in (None, "")
    ]
    lost = "Its owner is gone. `goflow retry` continues it." if run.abandoned else None
    return join(
        tag("dl", listed, class_="facts"),
        tag("p", lost, class_="warning") if lost else None,
        wrong(run.error, role="alert"),
    )


def _actions(run: Run, query: Mapping[str, Sequence[str]]) -> Markup:
    at = run_path(run)
    going, paused = not run.state.terminal, run.state == "paused"
    shown = {
        "pause": going and not paused and run.state != "stopping" and run.ending is None,
        "resume": paused,
        "stop": going,
        "retry": run.state in ("failed", "stopped") or run.abandoned,
    }
    buttons = [
        button(
            name.capitalize(),
            f"{at}/{name}",
            ask=f"Stop run {run.id}?" if name == "stop" else None,
            main=name in ("resume", "retry"),
        )
        for name, fits in shown.items()
        if fits
    ]
    if run.state.terminal:
        asked = f"?{urlencode(query, doseq=True)}" if query else ""
        again = tag(
            "button",
            "Run again",
            type="button",
            title="a new run with the same input",
            data_start_again=f"/flow/{quote(run.flow)}{asked}",
            data_payload=f"{at}/payload",
        )
        buttons.insert(0, again)
    return tag("div", buttons, class_="actions", id="actions", data_live=True)


def _payloads(seen: _Seen) -> Markup:
    at = run_path(seen.run)
    none = "None." if seen.run.state.terminal else "Not yet."
    result = payload(seen.result, f"{at}/result") if seen.result else tag("p", none, class_="empty")
    return join(
        tag("div", tag("h2", "Input"), payload(seen.input, f"{at}/payload")),
        tag("div", tag("h2", "Result"), result),
    )
