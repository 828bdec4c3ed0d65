"""The first page: every flow that is known, and the files that could not be loaded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from goflow.backend import Backend, Run
from goflow.server.pages.frame import page
from goflow.server.pages.markup import Child, Markup, tag
from goflow.server.pages.parts import flow_link, runs_table, table
from goflow.server.reading import list_flows
from goflow.server.service import service

#: how many of the latest runs are shown, of all flows and (as squares) of each
_LATEST: Final = 10
_SQUARES: Final = 12
#: flows of which the latest runs are looked up: each is a look at the store
_LOOKED_UP: Final = 100


async def page_of_flows(request: Request) -> Response:
    """Flows, and the latest runs of all of them."""
    serving = service(request)

    def read(backend: Backend) -> tuple[list[dict[str, Any]], list[Run], dict[str, list[Run]]]:
        flows = list_flows(backend)
        names = [flow["flow"] for flow in flows[:_LOOKED_UP]]
        latest = {name: backend.runs(name, None, _SQUARES) for name in names}
        return flows, backend.runs(None, None, _LATEST), latest

    flows, runs, latest = await serving.lanes.slowly(read)
    rows: list[list[Child]] = [
        [
            flow_link(flow["flow"]),
            flow["nodes"],
            flow["workers"] or tag("span", "none", class_="dim"),
            flow["waiting"],
            _squares(latest.get(flow["flow"], [])),
            tag(
                "a",
                "Start",
                href=f"/ui/flow/{quote(flow['flow'])}#start",
                aria_label=f"Start a run of {flow['flow']}",
            ),
        ]
        for flow in flows
    ]
    empty = "No flows yet. Start `goflow worker FILE`, and they appear here."
    head: list[Child] = [
        "Flow",
        "Nodes",
        "Workers",
        "Waiting tasks",
        "Latest runs",
        tag("span", "Start", class_="unseen"),
    ]
    return page(
        "Flows",
        tag("h1", "Flows"),
        tag("section", _problems(serving.problems), id="problems", data_live=True),
        tag("section", table(head, rows, empty, "Flows"), id="flows", data_live=True),
        tag("h2", "Latest runs"),
        tag("section", runs_table(runs, with_flow=True), id="runs", data_live=True),
        place="Flows",
        leave=bool(serving.secret),
        refresh=5,
    )


def _problems(problems: Sequence[str]) -> Markup | None:
    """What of the flow files beside this server could not be loaded."""
    if not problems:
        return None
    return tag(
        "div",
        tag("h2", "Could not be loaded"),
        [tag("pre", problem, class_="problem", tabindex="0") for problem in problems],
        role="alert",
    )


def _squares(runs: Sequence[Run]) -> Markup:
    """The latest runs of a flow, the newest last, as one sees them on a calendar."""
    squares = [
        tag(
            "a",
            href=f"/ui/run/{run.id}",
            class_=f"square {run.state}",
            title=f"{run.id}: {run.state}",
            aria_label=f"run {run.id}: {run.state}",
        )
        for run in reversed(runs)
    ]
    return tag("span", squares, class_="squares")
