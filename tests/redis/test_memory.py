"""What a worker's processes hold: no module that none of them uses, and most of the rest together."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from goflow.client import Client
from goflow.config import Config
from goflow_redis import RedisBackend
from tests.cli.shell import GOFLOW
from tests.redis.server import RedisServer

FLOWS = """
import os
import sys
import goflow

@goflow.flow("modules")
def modules(workflow, context):
    workflow.dag.node("tell", lambda data: [os.getpid(), *sorted(sys.modules)])
"""
#: has a process write down, as it forks, how much no collection goes through, and of how much
COUNTED = """
real = os.fork
def fork():
    with open("frozen", "w") as file:
        print(gc.get_freeze_count(), gc.get_freeze_count() + len(gc.get_objects()), file=file)
    return real()
os.fork = fork
"""
#: what neither a supervisor nor its child uses, though something they use may be tempted to import it
NEEDLESS = {
    "apsw",
    "asyncio",
    "concurrent",
    "dataclasses",
    "email",
    "encodings.idna",
    "http",
    "importlib.resources",
    "logging",
    "multiprocess",
    "opentelemetry",
    "pydantic",
    "redis",
    "rich",
    "sqlite3",
    "ssl",
    "starlette",
    "stringprep",
    "uvicorn",
    "zipfile",
}


@contextmanager
def working(
    folder: Path, url: str, goflow: Sequence[str] = GOFLOW
) -> Iterator[tuple[subprocess.Popen[bytes], Client]]:
    """A worker with one child at most, which tells on stderr what its supervisor imports; it has drained then."""
    (folder / "flows.py").write_text(FLOWS)
    with (folder / "told").open("w") as told:
        process = subprocess.Popen(
            [*goflow, "worker", "flows.py", "--concurrency", "1", "--backend", url],
            cwd=folder,
            env={**os.environ, "PYTHONPROFILEIMPORTTIME": "1"},
            stderr=told,
        )
    try:
        with RedisBackend.open(url, Config()) as backend:
            deadline = time.monotonic() + 20
            while len(backend.definitions()) < 1:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            yield process, Client(backend)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def needless(modules: set[str]) -> set[str]:
    """Those of the modules that no worker needs."""
    return {name for name in modules if any(f"{name}.".startswith(f"{n}.") for n in NEEDLESS)}


def test_neither_a_supervisor_nor_its_child_imports_what_it_does_not_use(
    server: RedisServer, tmp_path: Path
) -> None:
    with working(tmp_path, server.url) as (supervisor, client):
        child, *told = client.wait(client.submit("modules", b"").id, timeout=20).json()
    lines = re.findall(r"^import time:.*\| +(\S+)$", (tmp_path / "told").read_text(), re.MULTILINE)
    assert child != supervisor.pid
    assert {"goflow.worker", "goflow_redis.backend"} <= set(lines) & set(told)
    assert needless(set(lines)) == set()
    assert needless(set(told)) == set()


def test_what_a_supervisor_has_loaded_is_frozen_before_it_forks(
    server: RedisServer, tmp_path: Path
) -> None:
    counted = f"import gc, os\n{COUNTED}\nfrom goflow_cli.main import run; run()"
    with working(tmp_path, server.url, (sys.executable, "-c", counted)) as (_, client):
        client.wait(client.submit("modules", b"").id, timeout=20)
    frozen, all_of_them = map(int, (tmp_path / "frozen").read_text().split())
    assert frozen > 0.9 * all_of_them
