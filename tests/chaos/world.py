"""Where an episode takes place: a store, a project folder for each version of the flows, real workers."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Final
from uuid import uuid4

from goflow.backend import Backend, load_backend
from goflow.config import load_config
from goflow.loader import load
from goflow.workflow import Flow
from tests.chaos.oracle import Oracle
from tests.chaos.stores import Stage

GOFLOW: Final = (sys.executable, "-m", "goflow_cli.main")
HERE: Final = Path(__file__).parent
#: seconds a task stays held without a sign of life: the shortest there is
LEASE: Final = 2.0
#: tasks at a time in each worker
CONCURRENCY: Final = 3
#: characters of a worker's last words
WORDS: Final = 3000
#: versions of the flows; the workers take turns
VERSIONS: Final = (1, 2)

#: episodes may go on side by side, and loading changes what Python imports
_loading: Final = threading.Lock()


class WorkerProcess:
    """A `goflow worker` and what is told about it."""

    def __init__(self, world: World, version: int) -> None:
        self.version = version
        self.log = world.folder / f"worker-{uuid4().hex[:8]}.log"
        environment = {
            **world.environment,
            "NEMESIS_CLOCK": str(world.clock),
            "PYTHONPATH": os.pathsep.join([str(HERE / "clock"), os.environ.get("PYTHONPATH", "")]),
        }
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*GOFLOW, "worker"],
                cwd=world.project(version),
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    def children(self) -> list[int]:
        """Its child processes, as the kernel has them."""
        with suppress(FileNotFoundError, ProcessLookupError):
            return [
                int(pid)
                for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
            ]
        return []

    def started(self) -> bool:
        """Whether it says that it takes tasks."""
        return b"goflow worker: " in self.log.read_bytes()

    def send(self, number: int, *, children: bool = False) -> None:
        """Send a signal to it, and to its children."""
        for pid in [self.pid, *(self.children() if children else ())]:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def end(self, number: int = signal.SIGKILL) -> int:
        """Send it a signal and wait for its end; what it ended with."""
        with suppress(ProcessLookupError):
            self.process.send_signal(number)
        return self.process.wait(timeout=60)

    def last_words(self) -> str:
        """The end of what it wrote."""
        return self.log.read_text(errors="replace")[-WORDS:]


class World:
    """Everything an episode needs. `backend` is a connection of this process's own, through no proxy."""

    def __init__(self, folder: Path, stage: Stage) -> None:
        self.folder = folder
        self.stage = stage
        self.clock = folder / "clock.txt"
        self.oracle = Oracle(folder / "records.txt")
        self.mark = uuid4().hex
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("GOFLOW_")},
            "NEMESIS_RECORDS": str(self.oracle.file),
            "NEMESIS_WORLD": self.mark,
            "TMPDIR": str(self.temporary),
        }
        self.flows: dict[int, dict[str, Flow]] = {}
        for version in VERSIONS:
            self._make_project(version)
        self.config = load_config(self.project(VERSIONS[0]), environ={})
        self.backend: Backend = load_backend(stage.direct_url, self.config)
        self.workers: list[WorkerProcess] = []
        #: processes of ours that ended as they should not have
        self.surprises: list[str] = []

    def project(self, version: int) -> Path:
        """The folder in which workers of a version start."""
        return self.folder / f"v{version}"

    def open(self) -> Backend:
        """A further connection, by the way the workers take."""
        return load_backend(self.stage.url, self.config)

    def hire(self, count: int) -> None:
        """Start workers, of each version in turn."""
        for _ in range(count):
            version = VERSIONS[len(self.workers) % len(VERSIONS)]
            self.workers.append(WorkerProcess(self, version))

    def replace(self, worker: WorkerProcess) -> None:
        """Another one for one that has ended."""
        self.workers[self.workers.index(worker)] = WorkerProcess(self, worker.version)

    def mend(self) -> None:
        """Every worker runs again."""
        for worker in list(self.workers):
            worker.send(signal.SIGCONT, children=True)
            if worker.process.poll() is not None:
                self.ended(worker, "by itself")
                self.replace(worker)

    def ended(self, worker: WorkerProcess, how: str, *expected: int) -> None:
        """Note what a worker ended with, where that is none of what was expected."""
        code = worker.process.wait(timeout=60)
        if code not in expected:
            name = f"{worker.log.name}, {'at work' if worker.started() else 'not yet at work'},"
            self.surprises.append(f"{name} ended with {code}, {how}; {worker.last_words()}")

    def dismiss(self) -> None:
        """All workers drain."""
        deadline = time.monotonic() + 60
        while not all(worker.started() for worker in self.workers):
            if time.monotonic() > deadline or any(
                w.process.poll() is not None for w in self.workers
            ):
                break
            time.sleep(0.05)
        for worker in self.workers:
            worker.end(signal.SIGTERM)
            self.ended(worker, "told to drain in peace", 0)
        self.workers.clear()

    def keep(self) -> Path:
        """A copy of the store, the projects and what the workers wrote, which stays."""
        kept = Path(tempfile.mkdtemp(prefix=f"goflow-nemesis-{self.stage.name}-"))
        for folder in (self.folder, self.stage.disk.folder):
            shutil.copytree(
                folder,
                kept,
                ignore=shutil.ignore_patterns("filler", "*.sock"),
                ignore_dangling_symlinks=True,
                dirs_exist_ok=True,
            )
        return kept

    def processes(self) -> list[int]:
        """Every process that still carries this world's mark, zombies apart."""
        mark = f"NEMESIS_WORLD={self.mark}".encode()
        found = []
        for entry in Path("/proc").iterdir():
            with suppress(OSError):
                if entry.name.isdigit() and mark in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
        return found

    def told(self) -> str:
        """What the workers wrote on standard error."""
        files = sorted(self.folder.glob("worker-*.log"), key=lambda file: file.stat().st_mtime)
        return "".join(f"{file.name}\n{file.read_text(errors='replace')}" for file in files)

    def strays(self) -> list[str]:
        """Files that its processes have left where they should not."""
        usual = ("flow.py", "goflow.toml", "__pycache__")
        places = [self.temporary, *map(self.project, VERSIONS)]
        found = [file for folder in places for file in folder.iterdir() if file.name not in usual]
        return [str(file.relative_to(self.folder)) for file in found]

    def close(self) -> None:
        """Leave nothing behind, whatever has failed."""
        for worker in self.workers:
            worker.end()
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with suppress(Exception):
            self.backend.close()
        self.stage.close()

    def _make_project(self, version: int) -> None:
        folder = self.project(version)
        folder.mkdir()
        text = (HERE / "flow.py").read_text()
        (folder / "flow.py").write_text(text.replace("\nVERSION = 1\n", f"\nVERSION = {version}\n"))
        (folder / "goflow.toml").write_text(
            f'flows = ["flow.py"]\nbackend = "{self.stage.url}"\n'
            f"{self.stage.toml}"
            f"[worker]\nconcurrency = {CONCURRENCY}\nlease = {LEASE:g}\ngrace = 10\n"
        )
        with _loading:
            self.flows[version] = load(folder / "flow.py")
