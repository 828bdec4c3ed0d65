"""A store in the test's folder, and other processes that use it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from goflow.config import Config, Local, Retention, Worker
from goflow_local import LocalBackend

Open = Callable[..., LocalBackend]
Start = Callable[[str], "subprocess.Popen[str]"]

_PREAMBLE = """
import os, sys, time
from goflow.config import Config, Local
from goflow.testing.store import FLOW, edge, outcome, request, success, worker_info
from goflow.testing.store import Worker
from goflow_local import LocalBackend
backend = LocalBackend.open("local", Config(local=Local(path=sys.argv[1])))
def say(text):
    print(text, flush=True)
"""


@pytest.fixture
def open_store(tmp_path: Path) -> Iterator[Open]:
    """Opens the store of this test, again and again, and closes all at the end."""
    opened: list[LocalBackend] = []

    def open_one(
        *,
        lease: float = 30.0,
        retention: float = 3600.0,
        dead: float = 3600.0,
        sync: str = "normal",
    ) -> LocalBackend:
        config = Config(
            local=Local(path=str(tmp_path / "store"), sync="full" if sync == "full" else "normal"),
            worker=Worker(lease=lease),
            retention=Retention(finished_runs=retention, dead=dead),
        )
        opened.append(LocalBackend.open("local", config))
        return opened[-1]

    yield open_one
    for backend in opened:
        backend.close()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts another process on the store: a script with `backend` and `say`. Killed at the end."""
    started: list[subprocess.Popen[str]] = []

    def start_one(script: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", _PREAMBLE + script, str(tmp_path / "store")],
            stdout=subprocess.PIPE,
            stdin=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start_one
    for process in started:
        process.kill()
        process.communicate()


def said(process: subprocess.Popen[str]) -> str:
    """The next line another process says."""
    assert process.stdout is not None
    return process.stdout.readline().strip()
