"""The dashboard's pages."""

from __future__ import annotations

from starlette.routing import BaseRoute, Route

from goflow.server.pages import login


def routes() -> list[BaseRoute]:
    """The pages and what belongs to them."""
    return [
        Route("/login", login.login, methods=["POST"]),
        Route("/logout", login.logout, methods=["POST"]),
    ]
