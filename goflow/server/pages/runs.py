"""Runs of all flows, with filters that live in the URL."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from goflow.backend import Backend, Run
from goflow.errors import GoflowError
from goflow.server.errors import HttpError
from goflow.server.pages.frame import page
from goflow.server.pages.markup import Markup, tag
from goflow.server.pages.parts import link, runs_table, told_wrong
from goflow.server.parameters import only, whole
from goflow.server.reading import MOST_RUNS, SOME_RUNS, state
from goflow.server.service import service
from goflow.state import RunState


async def page_of_runs(request: Request) -> Response:
    """The newest runs first; `?flow=`, `?state=` and `?limit=` narrow or widen the list."""
    serving = service(request)
    try:
        given = only(request, ("flow", "state", "limit"))
        limit = whole(given.get("limit"), "limit", SOME_RUNS, 1, MOST_RUNS)
        flow, wanted = given.get("flow") or None, state(given.get("state"))

        def read(backend: Backend) -> tuple[list[Run], list[str]]:
            names = [each.flow for each in backend.definitions()]
            return backend.runs(flow, wanted, limit), names

        runs, names = await serving.lanes.slowly(read)
    except (GoflowError, HttpError) as error:
        return told_wrong(request, error)
    more = None
    if len(runs) == limit < MOST_RUNS:
        wider = link(
            "/ui/runs", flow=flow, state=given.get("state"), limit=str(min(limit * 10, MOST_RUNS))
        )
        more = tag("p", tag("a", "Show more", href=wider))
    return page(
        "Runs",
        tag("h1", "Runs"),
        _filters(names, flow, wanted),
        tag("section", runs_table(runs, with_flow=True), id="runs", data_live=True),
        more,
        place="Runs",
        leave=bool(serving.secret),
        refresh=5 if limit <= 1000 else 60,
    )


def _filters(names: list[str], flow: str | None, wanted: RunState | None) -> Markup:
    flows = list(dict.fromkeys([*names, *([flow] if flow else [])]))
    return tag(
        "form",
        tag("label", "Flow", for_="flow"),
        tag(
            "select",
            tag("option", "all", value=""),
            [tag("option", name, value=name, selected=name == flow) for name in flows],
            id="flow",
            name="flow",
        ),
        tag("label", "State", for_="state"),
        tag(
            "select",
            tag("option", "any", value=""),
            [
                tag("option", str(each), value=str(each), selected=each == wanted)
                for each in RunState
            ],
            id="state",
            name="state",
        ),
        tag("button", "Filter"),
        method="get",
        action="/ui/runs",
        class_="filters",
        autocomplete="off",  # or going back would show another filter than the list's
        data_filter=True,
    )
