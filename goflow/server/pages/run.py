"""One run: its graph painted, a timeline, its nodes, and one of them in detail. Live while it lasts."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from goflow.backend import Backend, LogLine, Run
from goflow.errors import GoflowError, UnknownNode
from goflow.overview import Overview, Row, overview, rows
from goflow.plan import Plan
from goflow.server.answers import link as run_path
from goflow.server.detail import detail, excerpt
from goflow.server.errors import HttpError, bad
from goflow.server.pages.frame import page
from goflow.server.pages.graph import graph
from goflow.server.pages.markup import Child, Markup, join, tag
from goflow.server.pages.opened import opened
from goflow.server.pages.parts import (
    duration,
    flow_link,
    link,
    moment,
    payload,
    state,
    table,
    told_wrong,
    took,
)
from goflow.server.pages.prints import prints
from goflow.server.pages.timeline import timeline
from goflow.server.parameters import only
from goflow.server.service import Service, run_id, service
from goflow.state import NodeState

#: instances that a page lists
MOST_ROWS: Final = 200


class _Asked(NamedTuple):
    """What the URL asks for: a node to open, and which instances to list."""

    node: str
    state: str
    under: str


class _Seen(NamedTuple):
    """What the page shows."""

    run: Run
    view: Overview
    listed: list[Row]
    total: int
    input: dict[str, Any]
    result: dict[str, Any] | None
    node: dict[str, Any] | None
    trouble: str
    logs: list[LogLine]
    drawing: Markup
    timeline: Markup


async def page_of_run(request: Request) -> Response:
    """The page of a run. `?node=PATH` opens a node, `?state=` narrows the list of nodes."""
    serving = service(request)
    try:
        name = run_id(request)
        given = only(request, ("node", "state", "under"))
        asked = _Asked(given.get("node", ""), given.get("state", ""), given.get("under", ""))
        if asked.state and asked.state not in list(NodeState):
            raise bad(f"state: expected one of {', '.join(NodeState)}, got {asked.state[:100]!r}")
        seen = await serving.lanes.slowly(lambda backend: _read(serving, backend, name, asked))
    except (GoflowError, HttpError) as error:
        return told_wrong(request, error)
    run = seen.run
    live = None if run.state.terminal else f"{run_path(run)}/events"
    return page(
        f"{run.flow} {run.id}",
        tag("h1", flow_link(run.flow), " ", tag("span", run.id, class_="mono")),
        tag("section", _summary(seen), id="summary", data_live=True),
        _actions(run),
        tag("section", tag("h2", "Graph"), seen.drawing, id="graph", data_live=True),
        opened(run, seen.node, seen.trouble),
        tag(
            "section",
            tag("h2", "Nodes"),
            _states(run, seen.view, asked),
            *(
                (_nodes(run, seen.listed), _more(seen))
                if asked.state or asked.under
                else (_definition(run, seen.view),)
            ),
            id="nodes",
            data_live=True,
        ),
        tag("section", tag("h2", "Timeline"), seen.timeline, id="timeline", data_live=True),
        tag("section", tag("h2", "Payloads"), _payloads(seen), id="payloads", data_live=True),
        tag("section", _logs_title(seen), prints(run, seen.logs), id="logs", data_live=True),
        place="Runs",
        leave=bool(serving.secret),
        events=live,
        revision=run.revision,
    )


def _read(serving: Service, backend: Backend, name: str, asked: _Asked) -> _Seen:
    """Everything, in one call of a lane."""
    run = backend.run(name)
    plan = serving.plan(backend, run.flow, run.fingerprint)
    recorded = backend.nodes(name)
    view = overview(plan, run, recorded)
    listed = [row for row in rows(plan, run, recorded) if _fits(plan, row, asked)]
    node, trouble = None, ""
    if asked.node:
        try:
            node = detail(backend, plan, run, asked.node)
        except GoflowError as error:
            trouble = str(error)
    path = node["path"] if node else None
    result = excerpt(backend.result(name)) if run.state == "succeeded" else None
    return _Seen(
        run=run,
        view=view,
        listed=listed[:MOST_ROWS],
        total=len(listed),
        input=excerpt(backend.request(name).payload),
        result=result,
        node=node,
        trouble=trouble,
        logs=backend.logs(name, path),
        drawing=graph(plan, view, f"/ui/run/{name}"),
        timeline=timeline(run, recorded, view.now),
    )


def _fits(plan: Plan, row: Row, asked: _Asked) -> bool:
    if asked.state and row.state != asked.state:
        return False
    if not asked.under:
        return True
    try:
        return plan.locate(row.path).static == asked.under
    except UnknownNode:
        return False


def _summary(seen: _Seen) -> Markup:
    run = seen.run
    waited = None if run.started is None else duration(run.started - run.created)
    ended = run.finished if run.state.terminal else None
    facts: list[tuple[str, Child]] = [
        ("State", state(str(run.state))),
        ("Created", moment(run.created)),
        ("Waited", waited),
        ("Took", took(run.started, ended)),
        ("Round", run.round if run.round > 1 else None),
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
        tag("p", run.error, class_="error", role="alert") if run.error else None,
    )


def _actions(run: Run) -> Markup:
    at = run_path(run)
    going, paused = not run.state.terminal, run.state == "paused"
    shown = {
        "pause": going and not paused and run.state != "stopping" and run.ending is None,
        "resume": paused,
        "stop": going,
        "retry": run.state in ("failed", "stopped") or run.abandoned,
    }
    buttons = [
        tag(
            "button",
            name.capitalize(),
            type="button",
            data_post=f"{at}/{name}",
            data_ask=f"Stop run {run.id}?" if name == "stop" else None,
        )
        for name, fits in shown.items()
        if fits
    ]
    return tag("div", buttons, class_="actions", id="actions", data_live=True)


def _states(run: Run, view: Overview, asked: _Asked) -> Markup:
    at = f"/ui/run/{run.id}"
    narrowed = asked.state or asked.under
    links = [tag("a", "all", href=at, aria_current=None if narrowed else "true")]
    if asked.under:
        here = link(at, under=asked.under)
        links.append(tag("a", asked.under, href=here, class_="mono", aria_current="true"))
    links += [
        tag(
            "a",
            state(str(each)),
            f" {count:,}",
            href=link(at, state=str(each), under=asked.under),
            aria_current="true" if each == asked.state else None,
        )
        for each, count in view.counts.items()
    ]
    return tag("nav", links, aria_label="Nodes by state", class_="chips")


def _nodes(run: Run, listed: list[Row]) -> Markup:
    lines: list[list[Child]] = [
        [
            _node_link(run, row.path) if row.attempt else tag("span", row.path, class_="mono"),
            state(str(row.state)),
            row.attempt or "",
            moment(row.started),
            took(row.started, row.finished) if row.finished or row.state == "running" else "",
            _short(row.error),
        ]
        for row in listed
    ]
    head = ["Node", "State", "Attempt", "Started", "Took", "Error"]
    return table(head, lines, "No nodes in this state.", "Nodes")


def _definition(run: Run, view: Overview) -> Markup:
    """A line for each node of the definition, instances in a foreach summed up."""
    at = f"/ui/run/{run.id}"
    lines: list[list[Child]] = []
    for path, node in view.nodes.items():
        if "[]" in path:
            done = node.counts.get(NodeState.SUCCEEDED, 0)
            name = tag("a", path, href=link(at, under=path) + "#nodes", class_="mono")
            count = f"{done:,} of {node.instances:,}" if node.instances else ""
        else:
            name = _node_link(run, path) if node.attempt else tag("span", path, class_="mono")
            count = f"{node.done:,} of {node.width:,} inside" if node.width is not None else ""
        ended = node.finished or node.state == NodeState.RUNNING
        lines.append(
            [
                name,
                state(str(node.state)),
                count,
                node.attempt if node.attempt > 1 else None,
                moment(node.started),
                took(node.started, node.finished) if ended else None,
                _short(node.error),
            ]
        )
    for handler in view.handlers:
        told = took(handler.started, handler.finished) if handler.started else None
        lines.append(
            [
                _node_link(run, handler.path),
                state(str(handler.state)),
                None,
                handler.attempt if handler.attempt > 1 else None,
                moment(handler.started),
                told,
                _short(handler.error),
            ]
        )
    head = ["Node", "State", "Done", "Attempt", "Started", "Took", "Error"]
    return table(head, lines, "This flow has no nodes.", "Nodes")


def _short(error: str | None) -> Markup | None:
    return tag("span", error[:200], class_="cut", title=error) if error else None


def _node_link(run: Run, path: str) -> Markup:
    return tag("a", path, href=link(f"/ui/run/{run.id}", node=path) + "#node", class_="mono")


def _more(seen: _Seen) -> Markup | None:
    left = seen.total - len(seen.listed)
    if left <= 0:
        return None
    return tag(
        "p", f"{left:,} more; narrow the list by state, or open one by its path:", _open(seen)
    )


def _open(seen: _Seen) -> Markup:
    return tag(
        "form",
        tag("label", "Node path", for_="open"),
        tag("input", id="open", name="node", placeholder="each[42]/work", required=True),
        tag("button", "Open"),
        method="get",
        action=f"/ui/run/{seen.run.id}",
        class_="filters",
    )


def _logs_title(seen: _Seen) -> Markup:
    where = seen.node["path"] if seen.node else None
    return tag("h2", "Logs", [" of ", tag("span", where, class_="mono")] if where else None)


def _payloads(seen: _Seen) -> Markup:
    at = run_path(seen.run)
    result = (
        payload(seen.result, f"{at}/result") if seen.result else tag("p", "None.", class_="empty")
    )
    return join(
        tag("h3", "Input"), payload(seen.input, f"{at}/payload"), tag("h3", "Result"), result
    )
