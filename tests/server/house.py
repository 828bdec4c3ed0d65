"""A `goflow serve` of the tests: a process of its own over a store in a temporary folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

import httpx

FLOWS = Path(__file__).parent / "flows.py"


class House:
    """`goflow serve` for as long as the block lasts; `url` is where."""

    def __init__(self, folder: Path, *options: str, config: str = "", files: bool = True) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        (folder / "goflow.toml").write_text(config)
        files_given = [str(FLOWS)] if files else []
        #: the configuration is looked for from the flow file upwards, and the file is not in the folder
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith("GOFLOW_")
        }
        self._command = [
            sys.executable,
            *("-P", "-m", "goflow_cli.main", "serve", *files_given, "--port", "0", *options),
        ]
        self._environment = environment | {
            "GOFLOW_LOCAL_PATH": str(folder / "store"),
            "GOFLOW_WORKER_GRACE": "2",
            "GOFLOW_WORKER_CONCURRENCY": "2",
        }
        self.url = ""
        #: what server and worker say
        self.log = folder / "stderr.txt"

    def setting(self, name: str, value: str) -> House:
        """With this environment variable."""
        self._environment[name] = value
        return self

    def __enter__(self) -> House:
        with self.log.open("w") as log:  # a file: a pipe that nobody reads would stop who writes
            self.process = subprocess.Popen(
                self._command, cwd=self.folder, env=self._environment, stderr=log
            )
        until = time.monotonic() + 20
        while time.monotonic() < until and self.process.poll() is None:
            for line in self.log.read_text().splitlines():
                if "http://" in line:
                    self.url = line.split()[2]
                    return self
            time.sleep(0.02)
        self.process.kill()
        raise AssertionError(f"goflow serve does not serve: {self.log.read_text()}")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()

    def client(self, **headers: str) -> httpx.Client:
        """A client of this server."""
        return httpx.Client(base_url=self.url, headers=headers, timeout=20, trust_env=False)
