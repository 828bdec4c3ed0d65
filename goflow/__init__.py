"""goflow: flows of plain Python functions, on a laptop or on many machines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from goflow.async_client import AsyncClient
    from goflow.backend import Run
    from goflow.client import Client
    from goflow.dag import Dag
    from goflow.errors import (
        BackendError,
        Conflict,
        ContextError,
        DefinitionError,
        GoflowError,
        NodeFailed,
        PayloadError,
        RunFailed,
        RunStopped,
        UnknownFlow,
        UnknownRun,
    )
    from goflow.payload import Payload
    from goflow.service import FlowService
    from goflow.workflow import Context, Workflow, current_context, flow

__all__ = [
    "AsyncClient",
    "BackendError",
    "Client",
    "Conflict",
    "Context",
    "ContextError",
    "Dag",
    "DefinitionError",
    "FlowService",
    "GoflowError",
    "NodeFailed",
    "Payload",
    "PayloadError",
    "Run",
    "RunFailed",
    "RunStopped",
    "UnknownFlow",
    "UnknownRun",
    "Workflow",
    "current_context",
    "flow",
]

#: where each public name lives; imported on first use, so that a flow file that needs only the
#: decorator does not load the client or the service
_HOMES = {
    "AsyncClient": "goflow.async_client",
    "Client": "goflow.client",
    "FlowService": "goflow.service",
    "Run": "goflow.backend",
    "Dag": "goflow.dag",
    "Payload": "goflow.payload",
    "Context": "goflow.workflow",
    "Workflow": "goflow.workflow",
    "current_context": "goflow.workflow",
    "flow": "goflow.workflow",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        import sys

        text = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(text, name=name, obj=sys.modules[__name__])
    from importlib import import_module

    value = getattr(import_module(_HOMES.get(name, "goflow.errors")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
