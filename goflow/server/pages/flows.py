"""The first page: every flow that is known."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from goflow.backend import Backend, Run
from goflow.server.pages.frame import page
from goflow.server.pages.markup import Child, tag
from goflow.server.pages.parts import flow_link, runs_table, state, table
from goflow.server.reading import list_flows
from goflow.server.service import service

#: how many of the latest runs are shown
_LATEST = 10


async def page_of_flows(request: Request) -> Response:
    """Flows, and the latest runs of all of them."""
    serving = service(request)

    def read(backend: Backend) -> tuple[list[dict[str, Any]], list[Run], dict[str, list[Run]]]:
        flows = list_flows(backend)
        latest = {flow["flow"]: backend.runs(flow["flow"], None, 1) for flow in flows[:200]}
        return flows, backend.runs(None, None, _LATEST), latest

    flows, runs, latest = await serving.lanes.slowly(read)
    rows: list[list[Child]] = [
        [
            flow_link(flow["flow"]),
            flow["nodes"],
            flow["workers"] or tag("span", "none", class_="dim"),
            flow["waiting"],
            [state(str(run.state)) for run in latest.get(flow["flow"], [])],
        ]
        for flow in flows
    ]
    empty = "No flows yet. Start `goflow worker FILE`, and they appear here."
    head = ["Flow", "Nodes", "Workers", "Waiting tasks", "Latest run"]
    return page(
        "Flows",
        tag("h1", "Flows"),
        tag("section", table(head, rows, empty, "Flows"), id="flows", data_live=True),
        tag("h2", "Latest runs"),
        tag("section", runs_table(runs, with_flow=True), id="runs", data_live=True),
        place="Flows",
        leave=bool(serving.secret),
        refresh=5,
    )
