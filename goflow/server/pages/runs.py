"""Runs of all flows, with filters that live in the URL, a page at a time."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from goflow.backend import Backend, Run
from goflow.errors import GoflowError
from goflow.runid import RUN_ID
from goflow.server.errors import HttpError, bad
from goflow.server.pages.frame import page
from goflow.server.pages.markup import Markup, tag
from goflow.server.pages.parts import link, page_links, place, runs_table, told_wrong
from goflow.server.parameters import only, whole
from goflow.server.reading import MOST_RUNS, state
from goflow.server.service import service
from goflow.state import RunState

#: runs of a page, and pages there are: to come to older ones, narrow the list
SIZE = 100
PAGES = MOST_RUNS // SIZE


async def page_of_runs(request: Request) -> Response:
    """The newest runs first; `?flow=` and `?state=` narrow the list, `?page=` goes on in it, `?id=` finds
    one."""
    serving = service(request)
    try:
        given = only(request, ("flow", "state", "page", "id"))
        if wanted_id := given.get("id", "").strip():
            return _found(wanted_id)
        number = whole(given.get("page"), "page", 1, 1, PAGES)
        flow, wanted = given.get("flow") or None, state(given.get("state"))

        def read(backend: Backend) -> tuple[list[Run], bool, list[str]]:
            names = [each.flow for each in backend.definitions()]
            return (*page_of(backend, flow, wanted, number), names)

        runs, more, names = await serving.lanes.slowly(read)
    except (GoflowError, HttpError) as error:
        return told_wrong(request, error)

    def at(number: int) -> str:
        shown = str(number) if number > 1 else None
        return link("/ui/runs", flow=flow, state=given.get("state"), page=shown)

    return page(
        "Runs",
        tag("h1", "Runs"),
        tag("div", _filters(names, flow, wanted), _finder(), class_="title"),
        tag(
            "section",
            runs_table(runs, with_flow=True),
            page_links(place(runs, SIZE, number, "runs"), number, more, at),
            id="runs",
            data_live=True,
        ),
        place="Runs",
        leave=bool(serving.secret),
        refresh=5,
    )


def page_of(
    backend: Backend, flow: str | None, wanted: RunState | None, number: int
) -> tuple[list[Run], bool]:
    """The runs of one page, and whether there are more behind it."""
    until = number * SIZE
    found = backend.runs(flow, wanted, until + 1)
    return found[until - SIZE : until], len(found) > until and number < PAGES


def _found(name: str) -> Response:
    if not RUN_ID.fullmatch(name):
        raise bad(f"{name[:200]!r} is no run id", "bad_run_id")
    return RedirectResponse(f"/ui/run/{name}", 303)


def _filters(names: list[str], flow: str | None, wanted: RunState | None) -> Markup:
    flows = list(dict.fromkeys([*names, *([flow] if flow else [])]))
    return tag(
        "form",
        _select("Flow", "flow", "all", flows, flow),
        _select("State", "state", "any", list(map(str, RunState)), wanted),
        tag("button", "Filter"),
        method="get",
        action="/ui/runs",
        class_="filters",
        autocomplete="off",  # or going back would show another filter than the list's
        data_filter=True,
    )


def _select(label: str, name: str, every: str, values: list[str], chosen: str | None) -> Markup:
    options = [tag("option", each, value=each, selected=each == chosen) for each in values]
    select = tag("select", tag("option", every, value=""), options, id=name, name=name)
    return tag("span", tag("label", label, for_=name), select, class_="pair")


def _finder() -> Markup:
    field = tag("input", id="id", name="id", required=True, maxlength=128, spellcheck="false")
    return tag(
        "form",
        tag("label", "Run id", for_="id"),
        field,
        tag("button", "Open"),
        method="get",
        action="/ui/runs",
        class_="filters",
    )
