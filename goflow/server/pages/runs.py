"""Runs of all flows, with filters that live in the URL, a page at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from goflow.backend import Backend, Run
from goflow.errors import GoflowError
from goflow.runid import RUN_ID
from goflow.server.errors import HttpError, bad
from goflow.server.pages.frame import page
from goflow.server.pages.markup import Markup, tag
from goflow.server.pages.parts import link, place, runs_table, told_wrong, ways
from goflow.server.parameters import only, whole
from goflow.server.reading import before, state
from goflow.server.service import service
from goflow.state import RunState

#: runs of a page
SIZE = 100


async def page_of_runs(request: Request) -> Response:
    """The newest runs first; `?flow=` and `?state=` narrow the list, `?before=` goes on in it (`?page=` says
    how far), `?id=` finds one."""
    serving = service(request)
    try:
        given = only(request, ("flow", "state", "before", "page", "id"))
        if wanted_id := given.get("id", "").strip():
            return _found(wanted_id)
        flow, wanted = given.get("flow") or None, state(given.get("state"))
        asked = asked_for(given)

        def read(backend: Backend) -> tuple[Listed, list[str]]:
            names = [each.flow for each in backend.definitions()]
            return page_of(backend, flow, wanted, asked), names

        listed, names = await serving.lanes.slowly(read)
    except (GoflowError, HttpError) as error:
        return told_wrong(request, error)

    def at(**where: str | None) -> str:
        return link("/ui/runs", flow=flow, state=given.get("state"), **where)

    return page(
        "Runs",
        tag("h1", "Runs"),
        tag("div", _filters(names, flow, wanted), _finder(), class_="title"),
        tag(
            "section",
            runs_table(listed.runs, with_flow=True),
            links(listed, asked, at),
            id="runs",
            data_live=True,
        ),
        place="Runs",
        leave=bool(serving.secret),
        refresh=5,
    )


class Asked(NamedTuple):
    """Where somebody is in a list: on the page with this number, of runs older than one."""

    page: int
    before: str | None


class Listed(NamedTuple):
    """The runs of a page, and whether there are more behind it."""

    runs: list[Run]
    more: bool


def asked_for(given: dict[str, str]) -> Asked:
    """What the parameters of a list ask for. Raises HttpError."""
    number = whole(given.get("page"), "page", 1, 1, 1_000_000_000)
    start = before(given.get("before"))
    return Asked(number if start else 1, start)


def page_of(backend: Backend, flow: str | None, wanted: RunState | None, asked: Asked) -> Listed:
    """The runs of one page. Raises UnknownRun where the one before it has gone."""
    found = backend.runs(flow, wanted, SIZE + 1, asked.before)
    return Listed(found[:SIZE], len(found) > SIZE)


def links(listed: Listed, asked: Asked, at: Callable[..., str]) -> Markup | None:
    """Where one is in a list, and the ways to its start and on."""
    more = None
    if listed.more:
        more = at(before=listed.runs[-1].id, page=str(asked.page + 1))
    where = place(listed.runs, SIZE, asked.page, "runs")
    return ways(where, ("← Newest", at()) if asked.before else None, more)


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
