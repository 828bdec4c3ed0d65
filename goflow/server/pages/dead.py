"""Dead letters: runs that were given up, to be retried or dropped."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from goflow.backend import Backend, Run
from goflow.errors import GoflowError
from goflow.server.answers import link as run_path
from goflow.server.errors import HttpError
from goflow.server.pages.frame import page
from goflow.server.pages.markup import Child, Markup, join, tag
from goflow.server.pages.parts import (
    button,
    cut,
    flow_link,
    link,
    moment,
    run_link,
    table,
    told_wrong,
)
from goflow.server.pages.runs import Listed, asked_for, links, page_of
from goflow.server.parameters import only
from goflow.server.service import service
from goflow.state import RunState


async def page_of_dead(request: Request) -> Response:
    """Failed runs, the newest first; `?flow=` narrows the list, `?before=` goes on in it."""
    serving = service(request)
    kept = serving.config.retention.dead
    try:
        given = only(request, ("flow", "before", "page"))
        asked, flow = asked_for(given), given.get("flow") or None

        def read(backend: Backend) -> Listed:
            return page_of(backend, flow, RunState.FAILED, asked)

        listed = await serving.lanes.slowly(read)
    except (GoflowError, HttpError) as error:
        return told_wrong(request, error)

    def at(**where: str | None) -> str:
        return link("/ui/dead", flow=flow, **where)

    hint = "Runs that failed for good. Each is kept until its day, to be retried or dropped."
    return page(
        "Dead letters",
        tag("h1", "Dead letters", [" of ", flow_link(flow)] if flow else None),
        tag("p", hint, class_="dim"),
        tag(
            "section",
            table(
                ["Run", "Flow", "Node", "Failed", "Kept until", "Actions"],
                [_row(run, kept) for run in listed.runs],
                "Nothing has failed.",
                "Dead letters",
            ),
            links(listed, asked, at),
            id="dead",
            data_live=True,
        ),
        place="Dead letters",
        leave=bool(serving.secret),
        refresh=5,
    )


def _row(run: Run, kept: float) -> list[Child]:
    at = run_path(run)
    ended = run.finished or run.created
    return [
        run_link(run),
        flow_link(run.flow),
        join(_node(run), cut(run.error, bad=True)),
        moment(ended),
        moment(ended + kept),
        tag(
            "div",
            button("Retry", f"{at}/retry"),
            button("Drop", f"{at}/drop", ask=f"Drop run {run.id}? All of it is gone for good."),
            class_="actions",
        ),
    ]


def _node(run: Run) -> Markup | None:
    if run.failure is None or not run.failure.node:
        return None
    where = link(f"/ui/run/{run.id}", node=run.failure.node) + "#node"
    return tag("a", run.failure.node, href=where, class_="mono")
