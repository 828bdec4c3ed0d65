"""Tools for testing flows and backends.

`run` executes a flow in the test's own process; `BackendConformance` is the suite every backend passes
(imported on demand, since it needs pytest).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from goflow.testing.driver import Simulation, run

if TYPE_CHECKING:
    from goflow.testing.conformance import BackendConformance

__all__ = ["BackendConformance", "Simulation", "run"]


def __getattr__(name: str) -> Any:
    if name == "BackendConformance":
        from goflow.testing.conformance import BackendConformance

        return BackendConformance
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
