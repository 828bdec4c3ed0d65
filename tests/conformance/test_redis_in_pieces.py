"""The rules of the seam, and random histories, where each script call does as little at a time as can be."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from hypothesis import settings

from goflow.backend import Backend
from goflow.testing.conformance import BackendConformance
from goflow.testing.machine import SHORT, BackendMachine
from goflow_redis import RedisBackend
from tests.redis.hooks import RedisHooks
from tests.redis.pieces import in_pieces


class InPieces(RedisHooks):
    """Pieces of one."""

    late = True
    wide: ClassVar[int] = 3000  # each scope is a call of its own

    def open_backend(self, folder: Path, *, ephemeral: bool = False) -> Backend:
        backend = super().open_backend(folder, ephemeral=ephemeral)
        assert isinstance(backend, RedisBackend)
        return in_pieces(backend)


class TestRedisInPieces(InPieces, BackendConformance):
    """The suite, but for the tests that look at starts and arrivals before anybody has asked for a task."""


for name in (
    "test_nodes_come_in_the_order_they_were_first_ready",
    "test_nodes_can_be_picked_by_path",
    "test_a_new_round_shows_the_scopes_it_begins_with",
    "test_the_id_is_free_and_its_new_run_inherits_nothing",
    "test_stopping_kills_what_runs_and_starts_nothing",
    "test_the_first_claim_starts_the_run",
    "test_tasks_of_a_run_come_in_the_order_they_became_ready",
    "test_waiting_tells_how_many_tasks_each_definition_has_ready",
):
    assert hasattr(BackendConformance, name)
    setattr(TestRedisInPieces, name, None)


class RedisInPiecesMachine(InPieces, BackendMachine):
    pass


TestRedisInPiecesMachine = RedisInPiecesMachine.TestCase
TestRedisInPiecesMachine.settings = settings(SHORT, max_examples=20)
