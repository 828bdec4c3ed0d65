"""The application: routes, the door in front of them, and what they share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from starlette.applications import Starlette
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from goflow.backend import Backend
from goflow.errors import GoflowError
from goflow.server import events, metrics, openapi, reading
from goflow.server.errors import HANDLERS, HttpError, answer, of_goflow
from goflow.server.fields import fields
from goflow.server.guard import Guard
from goflow.server.health import healthz
from goflow.server.security import Hosts, check_origin
from goflow.server.service import Service
from goflow.server.start import start

if TYPE_CHECKING:
    from goflow.config import Config

Endpoint = Callable[[Request], Awaitable[Response]]

_BELOW: Final = "/flow/"
_FLOW: Final = "/flow/{flow}"
_RUN: Final = "/flow/{flow}/request/{id}"


def app(backend: str | Backend, config: Config, *, bound: str | None = None) -> Starlette:
    """The HTTP API and dashboard as an ASGI application.

    `backend` is a name or URL, which it opens (and closes) itself, several times over; or an open Backend,
    for which calls then queue up one after the other. `bound` is the address it is served at
    (`serve.host`); from there come the Host headers it takes for its own.

    >>> app("local", load_config())  # doctest: +SKIP
    """
    serving = Service(backend, config, config.serve.read_secret())

    @asynccontextmanager
    async def lifespan(application: Starlette) -> AsyncIterator[None]:
        yield
        await serving.stop()

    application = _Application(
        routes=_routes(), exception_handlers=HANDLERS, lifespan=lifespan, middleware=[]
    )
    application.router.redirect_slashes = False
    application.state.service = serving
    application.add_middleware(Starts)
    hosts = Hosts(bound or config.serve.host, config.serve.allowed_hosts)
    application.add_middleware(Guard, serving=serving, hosts=hosts)
    return application


class _Application(Starlette):
    """Starlette without its outermost layer, which answers what nobody caught: `Guard` does that."""

    def build_middleware_stack(self) -> ASGIApp:
        """The layers, the innermost first."""
        layers: ASGIApp = ExceptionMiddleware(self.router, handlers=self.exception_handlers)
        for layer, args, kwargs in reversed(self.user_middleware):
            layers = layer(layers, *args, **kwargs)
        return layers


def _routes() -> list[BaseRoute]:
    from goflow.server.pages import routes as pages

    return [
        _get("/healthz", healthz),
        _get("/metrics", metrics.metrics),
        _get("/openapi.json", openapi.document),
        _get("/flows", reading.flows),
        _get("/workers", reading.workers),
        _get("/runs", reading.all_runs),
        _get("/runs/{id}", reading.whereabouts),
        _start(),
        _get("/flow/{flow}/definition", reading.definition),
        _get("/flow/{flow}/request", reading.runs),
        _get(_RUN, reading.run),
        _get(f"{_RUN}/result", reading.result),
        _get(f"{_RUN}/events", events.events),
        _get(f"{_RUN}/logs", reading.logs),
        _get(f"{_RUN}/node", reading.node),
        _get(f"{_RUN}/payload", reading.payload),
        *(_post(f"{_RUN}/{action}", reading.control) for action in ("pause", "resume", "stop")),
        _post(f"{_RUN}/retry", reading.retry),
        _post(f"{_RUN}/drop", reading.drop),
        *pages(),
    ]


def _get(path: str, endpoint: Endpoint) -> Route:
    return Route(path, endpoint, methods=["GET"])


def _post(path: str, endpoint: Endpoint) -> Route:
    return Route(path, endpoint, methods=["POST"])


async def start_run(request: Request) -> Response:
    """`POST` or `GET /flow/{flow}`."""
    check_origin(fields(request.scope))
    return await start(request)


def _start() -> Route:
    """Not HEAD, which Starlette adds to every GET: it would start a run."""
    route = Route(_FLOW, start_run, methods=["GET", "POST"])
    assert route.methods is not None
    route.methods.discard("HEAD")
    return route


class Starts:
    """ASGI middleware that answers `start_run` itself: the one route that is called thousands of times a second
    needs no search through the others. What it does not know, the routes answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        path: str = scope.get("path", "")
        flow = path[len(_BELOW) :]
        if (
            not flow
            or not path.startswith(_BELOW)
            or "/" in flow
            or scope["method"] not in ("GET", "POST")
        ):
            await self._app(scope, receive, send)
            return
        scope["endpoint"], scope["path_params"] = start_run, {"flow": flow}
        try:
            response = await start_run(Request(scope, receive))
        except HttpError as error:
            response = answer(error)
        except GoflowError as error:
            response = answer(of_goflow(error))
        await response(scope, receive, send)
