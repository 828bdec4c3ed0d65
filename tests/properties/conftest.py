"""The stores that random flows run over."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from goflow.backend import Backend
from goflow.config import Config
from goflow_local import LocalBackend
from tests.redis.hooks import RedisHooks


@pytest.fixture(scope="module", params=["local", "redis"])
def store(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Backend]:
    """One store for all examples of a module: runs have ids of their own."""
    if request.param == "local":
        backend: Backend = LocalBackend.open("local", Config(), ephemeral=True)
    else:
        backend = RedisHooks().open_backend(tmp_path_factory.mktemp("store"))
    with backend:
        yield backend
