"""A private master, its replica, and a sentinel that fails over within a second or two."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import redis

from tests.redis.server import Private, RedisServer, binary, end, free_port


class Watched(Private):
    """`url` is the sentinel's; `master` is whoever was it at the start."""

    def __init__(self) -> None:
        first, second, third = (free_port() for _ in range(3))
        self.folder = Path(tempfile.mkdtemp(prefix="goflow-sentinel-"))
        common = ("--bind", "127.0.0.1", "--repl-diskless-sync-delay", "0")
        self.master = RedisServer("--port", str(first), *common)
        self.replica = RedisServer(
            "--port", str(second), *common, "--replicaof", "127.0.0.1", str(first)
        )
        file = self.folder / "sentinel.conf"
        file.write_text(
            f"port {third}\nbind 127.0.0.1\ndir {self.folder}\n"
            f"sentinel monitor main 127.0.0.1 {first} 1\n"
            "sentinel down-after-milliseconds main 300\n"
            "sentinel failover-timeout main 1000\n"
        )
        self._sentinel = subprocess.Popen(
            [binary(), str(file), "--sentinel"], stdout=subprocess.DEVNULL
        )
        self._client: Any = redis.Redis(port=third)
        self.url = f"redis+sentinel://127.0.0.1:{third}/main"
        try:
            self._wait()
        except BaseException:
            self.close()
            raise

    def _wait(self) -> None:
        deadline = time.monotonic() + 30
        while not self._ready():
            assert time.monotonic() < deadline, "the sentinel sees no replica"
            time.sleep(0.05)

    def _ready(self) -> bool:
        """Whether the replica is in step and the sentinel knows of it."""
        if self.replica.client.info("replication").get("master_link_status") != "up":
            return False
        try:
            found = self._client.sentinel_slaves("main")
        except redis.RedisError:
            return False
        return [each["master-link-status"] for each in found] == ["ok"]

    def in_step(self) -> bool:
        """Whether the replica has everything that the master had a moment ago."""
        sent = self.master.client.info("replication")["master_repl_offset"]
        return int(self.replica.client.info("replication")["slave_repl_offset"]) >= int(sent)

    def close(self) -> None:
        """End all three."""
        self._client.close()
        end(self._sentinel)
        self.master.close()
        self.replica.close()
        shutil.rmtree(self.folder, ignore_errors=True)
