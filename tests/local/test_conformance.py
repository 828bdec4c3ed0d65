"""The suite that every backend passes."""

from __future__ import annotations

from goflow.testing.conformance import BackendConformance
from tests.local.hooks import LocalHooks


class TestLocal(LocalHooks, BackendConformance):
    """The local backend keeps the promises of the seam."""
