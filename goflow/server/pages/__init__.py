"""The dashboard: pages made here, one style sheet, one script, nothing from anywhere else."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from goflow.server.errors import HttpError
from goflow.server.pages import dead, flow, flows, login, run, runs, static, workers
from goflow.server.pages.parts import told_wrong


def routes() -> list[BaseRoute]:
    """The pages and what belongs to them."""
    return [
        Route("/", flows.page_of_flows, methods=["GET"]),
        Route("/ui/flow/{flow}", flow.page_of_flow, methods=["GET"]),
        Route("/ui/runs", runs.page_of_runs, methods=["GET"]),
        Route("/ui/run/{id}", run.page_of_run, methods=["GET"]),
        Route("/ui/dead", dead.page_of_dead, methods=["GET"]),
        Route("/ui/workers", workers.page_of_workers, methods=["GET"]),
        Route("/ui/{rest:path}", nothing, methods=["GET"]),
        Route("/login", login.login, methods=["POST"]),
        Route("/logout", login.logout, methods=["POST"]),
        Route("/static/{name}", static.static, methods=["GET"]),
    ]


async def nothing(request: Request) -> Response:
    """A page that there is not: told as a page, to somebody with a browser."""
    path = request.url.path[:200]
    return told_wrong(request, HttpError(404, "not_found", f"there is no page at {path!r}"))
