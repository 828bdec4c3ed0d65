"""The HTTP API and the dashboard. `goflow.server.app` makes the ASGI application.

It talks to a backend and executes nothing: flow files are loaded by workers, which are other processes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from goflow.server.application import app

__all__ = ["app"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from goflow.server.application import app

    return app
