"""What every part of the suite stands on: the hooks, and the store as a fixture."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from goflow.testing.hooks import BackendHooks
from goflow.testing.store import Store


class Suite(BackendHooks):
    """A part of the suite. `store` is a fresh store; `w` would be its first worker."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Store]:
        """A fresh store, closed after the test."""
        opened = Store(self, tmp_path)
        yield opened
        opened.close()
