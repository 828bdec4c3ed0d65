"""A worker of a store whose disk is full."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.stores import Disk
from tests.cli.shell import GOFLOW


@pytest.fixture
def disk() -> Iterator[Disk]:
    """A small one of its own."""
    found = Disk()
    try:
        if not found.mounted:
            pytest.skip("this machine lets us mount nothing")
        yield found
    finally:
        found.close()


def test_a_worker_that_is_started_while_the_disk_is_full_waits_until_there_is_room(
    disk: Disk, tmp_path: Path
) -> None:
    (tmp_path / "flow.py").write_text(
        "def define_workflow(workflow, context):\n    workflow.dag.node('a')\n"
    )
    disk.fill()
    told = tmp_path / "told.txt"
    with told.open("wb") as log:
        process = subprocess.Popen(
            [*GOFLOW, "worker", "flow.py"],
            cwd=tmp_path,
            stderr=log,
            env={**os.environ, "GOFLOW_LOCAL_PATH": str(disk.folder / "store")},
        )
    try:
        for word in ("no space left for the store", "goflow worker: "):
            deadline = time.monotonic() + 30
            while word not in told.read_text():
                assert process.poll() is None, told.read_text()
                assert time.monotonic() < deadline, told.read_text()
                time.sleep(0.02)
            disk.clear()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0, told.read_text()
    finally:
        process.kill()
        process.wait()
