"""The embedded backend: SQLite in a folder, no service."""

from __future__ import annotations

from goflow_local.backend import LocalBackend

__all__ = ["LocalBackend"]
