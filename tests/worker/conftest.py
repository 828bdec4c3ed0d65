"""A bench for every test of workers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.worker.bench import Bench


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    # flows of these tests are closures over open files and the like: a fork carries them, whatever
    # threads other tests have left in this process
    monkeypatch.setenv("GOFLOW_START_METHOD", "fork")
    made = Bench(tmp_path)
    yield made
    made.store.close()
