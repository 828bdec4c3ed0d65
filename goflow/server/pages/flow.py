"""One flow: its DAG, a form that starts a run, its latest runs."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from goflow.backend import Backend, Run
from goflow.errors import GoflowError
from goflow.plan import Plan
from goflow.server.pages.frame import page
from goflow.server.pages.graph import graph
from goflow.server.pages.markup import Markup, tag
from goflow.server.pages.parts import link, runs_table, told_wrong
from goflow.server.service import flow_name, service

_LATEST = 20


async def page_of_flow(request: Request) -> Response:
    """The page of a flow."""
    serving = service(request)
    try:
        name = flow_name(request)

        def read(backend: Backend) -> tuple[Plan, list[Run], bool, Markup]:
            plan = serving.plan(backend, name)
            key = (name, plan.fingerprint)
            known = any(key in worker.flows for worker in backend.workers() if worker.alive)
            return plan, backend.runs(name, None, _LATEST), known, graph(plan)

        plan, runs, known, drawing = await serving.lanes.slowly(read)
    except GoflowError as error:
        return told_wrong(request, error)
    warning = "No worker knows this definition: a run that is started waits until one does."
    return page(
        name,
        tag("h1", name),
        None if known else tag("p", warning, class_="warning", role="note"),
        tag(
            "div",
            tag("section", tag("h2", "Graph"), drawing),
            tag("section", tag("h2", "Start a run"), _form(name), id="start"),
            class_="beside",
        ),
        tag("h2", "Latest runs"),
        tag("section", runs_table(runs, with_flow=False), id="runs", data_live=True),
        tag("p", tag("a", "All runs of this flow", href=link("/ui/runs", flow=name))),
        tag("p", f"Definition {plan.fingerprint}", class_="dim"),
        place="Flows",
        leave=bool(serving.secret),
        refresh=5,
    )


def _form(name: str) -> Markup:
    kinds = [
        tag("option", text, value=kind)
        for text, kind in (("text", "text/plain"), ("JSON", "application/json"))
    ]
    return tag(
        "form",
        tag("label", "Payload", for_="payload"),
        tag("textarea", id="payload", name="payload", rows="4", spellcheck="false"),
        tag(
            "div",
            tag("label", "It is", for_="kind"),
            tag("select", kinds, id="kind", name="kind"),
            tag("label", "Query", for_="query"),
            tag("input", id="query", name="query", placeholder="key=value&key=value"),
            tag("label", "Run id", for_="run-id"),
            tag("input", id="run-id", name="run-id", placeholder="made for you", maxlength="128"),
            class_="fields",
        ),
        tag("button", "Start", class_="main"),
        data_start=f"/flow/{name}",
        class_="card",
    )
