"""Processes of one peer: its workers, its driver, and a Redis for everybody. All of them end with `close`."""

from __future__ import annotations

import json
import os
import selectors
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import redis

from benchmarks.field import homes
from benchmarks.field.peers import ADAPTERS, FLOWS, Peer
from benchmarks.measure import ONE_NODE
from benchmarks.processes import cpu, memory, tree


class TooSlow(Exception):
    """A figure took longer than its limit."""


class Broken(Exception):
    """A driver ended, or answered what it should not."""


class Server:
    """A private redis-server on a free port of the loopback; nothing is kept."""

    def __init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.folder = Path(tempfile.mkdtemp(prefix="goflow-field-"))
        self.url = f"redis://127.0.0.1:{port}/0"
        binary = shutil.which("redis-server") or "redis-server"
        options = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        quiet = ["--save", "", "--appendonly", "no", "--loglevel", "warning"]
        self._process = subprocess.Popen([binary, *options, *quiet], stdout=subprocess.DEVNULL)
        #: typed as Any: redis-py's answers are unions of everything
        self.client: Any = redis.Redis.from_url(self.url, decode_responses=True)
        for _ in range(200):
            with suppress(redis.RedisError):
                self.client.ping()
                return
            time.sleep(0.02)
        raise Broken("redis-server does not answer")

    @property
    def pid(self) -> int:
        return self._process.pid

    def cpu(self) -> float:
        """Seconds of processor time it has used."""
        info = self.client.info("cpu")
        return float(info["used_cpu_sys"] + info["used_cpu_user"])

    def bytes(self) -> int:
        """Bytes of data, without buffers."""
        return int(self.client.memory_stats()["dataset.bytes"])

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(10)
        shutil.rmtree(self.folder, ignore_errors=True)


class Fleet:
    """The workers and the driver of one peer."""

    def __init__(self, peer: Peer, server: Server) -> None:
        self.peer, self.server = peer, server
        self._folder = Path(tempfile.mkdtemp(prefix="goflow-field-"))
        self._log = (self._folder / "log").open("wb")
        self.workers: list[subprocess.Popen[bytes]] = []
        self._driver: subprocess.Popen[bytes] | None = None
        server.client.flushall()
        self._python = homes.interpreter(peer)
        try:
            self.workers = [self._start(command) for command in peer.workers]
            adapter = str(ADAPTERS / peer.adapter)
            self._driver = self._start([*self._python, adapter], subprocess.PIPE)
        except BaseException:
            self.close()
            raise

    def ask(self, shape: str, count: int, limit: float) -> dict[str, Any]:
        """One answer of the driver. Raises TooSlow, Broken."""
        driver = self._driver
        assert driver is not None
        assert driver.stdin is not None
        assert driver.stdout is not None
        driver.stdin.write(json.dumps({"shape": shape, "count": count}).encode() + b"\n")
        driver.stdin.flush()
        with selectors.DefaultSelector() as selector:
            selector.register(driver.stdout, selectors.EVENT_READ)
            if not selector.select(limit):
                raise TooSlow
        line = driver.stdout.readline()
        if not line:
            raise Broken(self.last_words())
        answer: dict[str, Any] = json.loads(line)
        return answer

    def start_up(self) -> float:
        """Seconds its command takes to start and end."""
        begun = time.perf_counter()
        done = subprocess.run(
            self._filled(self.peer.start_up),
            capture_output=True,
            env=self._environment(),
            timeout=60,
        )
        took = time.perf_counter() - begun
        if done.returncode not in (0, 1):
            raise Broken(done.stderr.decode()[-300:])
        return took

    def memory(self) -> float:
        """MiB of each worker at rest: proportional set sizes over its process tree."""
        total = sum(memory(pid) for worker in self.workers for pid in tree(worker.pid))
        return total / len(self.workers)

    def cpu(self) -> float:
        """Seconds of processor time of all workers and their children so far."""
        return sum(cpu(pid) for worker in self.workers for pid in tree(worker.pid))

    def kill_one(self) -> None:
        """SIGKILL to one worker and its process group."""
        victim = self.workers.pop()
        os.killpg(victim.pid, signal.SIGKILL)
        victim.wait(10)

    def last_words(self) -> str:
        """The end of what its processes wrote to stderr."""
        self._log.flush()
        return (self._folder / "log").read_text(errors="replace")[-600:]

    def close(self) -> None:
        """End every process of it."""
        for process in (*self.workers, self._driver):
            if process is None:
                continue
            for pid in reversed(tree(process.pid)):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.wait(10)
        self._log.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self, command: Sequence[str], pipe: int | None = None) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self._filled(command),
            stdin=pipe or subprocess.DEVNULL,
            stdout=pipe or self._log,
            stderr=self._log,
            cwd=self._folder,
            env=self._environment(),
            start_new_session=True,
        )

    def _filled(self, command: Sequence[str]) -> list[str]:
        words = {
            "{python}": self._python[0],
            "{bin}": homes.bin_of(self.peer, ""),
            "{adapter}": str(ADAPTERS / self.peer.adapter),
            "{flows}": str(FLOWS),
            "{one}": str(ONE_NODE),
            "{url}": self.server.url,
            "{folder}": str(ADAPTERS),
        }
        filled = list(command)
        for name, value in words.items():
            value = f"{value}/" if name == "{bin}" else value
            filled = [word.replace(name, value) for word in filled]
        return filled

    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "FIELD_URL": self.server.url,
            "PYTHONPATH": str(ADAPTERS),
            "PYTHONDONTWRITEBYTECODE": "1",
            "GOFLOW_WORKER_LEASE": "5",
            "GOFLOW_LOCAL_PATH": str(self._folder / "store"),
            "GOFLOW_REDIS_URL": self.server.url,
            **homes.environment(self.peer),
            **self.peer.environment,
        }
