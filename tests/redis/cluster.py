"""A private Redis Cluster of three masters on free loopback ports."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import redis

from tests.redis.proxy import Proxy
from tests.redis.server import Private, binary, end

SLOTS = 16384


class RedisCluster(Private):
    """Three masters, each with a third of the slots. `url` names one of them.

    Whoever is silent for `node_timeout` ms is taken for failed by the others.
    With `durable` each keeps an append-only file, and may be killed and started again. With `proxied` clients
    are told to take the way through `proxies`, one before each master.
    """

    def __init__(
        self,
        *,
        durable: bool = False,
        proxied: bool = False,
        folder: Path | None = None,
        environment: dict[str, str] | None = None,
        node_timeout: int = 5000,
    ) -> None:
        self._node_timeout = node_timeout
        self._kept = ("--appendonly", "yes" if durable else "no", "--appendfsync", "always")
        self._environment = environment
        self.folder = folder or Path(tempfile.mkdtemp(prefix="goflow-cluster-"))
        self.ports = _free_ports(3)
        self.proxies = [Proxy(port) for port in self.ports] if proxied else []
        self._processes = [self._start(port) for port in self.ports]
        self.clients: list[Any] = [redis.Redis(port=port) for port in self.ports]
        try:
            self._join()
        except BaseException:
            self.close()
            raise
        entrance = self.proxies[0].port if proxied else self.ports[0]
        self.url = f"redis+cluster://127.0.0.1:{entrance}"

    def _start(self, port: int) -> subprocess.Popen[bytes]:
        folder = self.folder / str(port)
        folder.mkdir(exist_ok=True)
        command = [
            binary(),
            *("--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)),
            *("--cluster-enabled", "yes", "--cluster-node-timeout", str(self._node_timeout)),
            *("--save", "", "--loglevel", "warning", *self._kept),
        ]
        if self.proxies:
            proxy = self.proxies[self.ports.index(port)]
            command += ["--cluster-announce-port", str(proxy.port)]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, env=self._environment)

    def pid(self, number: int) -> int:
        """The process of a master."""
        return self._processes[number].pid

    def running(self, number: int) -> bool:
        """Whether a master is there, frozen or not."""
        return self._processes[number].poll() is None

    def kill(self, number: int) -> None:
        """`kill -9` one master."""
        end(self._processes[number])

    def start(self, number: int) -> None:
        """Start it again, and wait until all see the whole cluster."""
        self.launch(number)
        self.wait()

    def launch(self, number: int) -> None:
        """Start it again."""
        self._processes[number] = self._start(self.ports[number])

    def wait(self) -> None:
        """Until all see the whole cluster."""
        for client in self.clients:
            _wait(partial(_is_up, client))

    def _join(self) -> None:
        for client in self.clients:
            _wait(client.ping)
        for number, client in enumerate(self.clients):
            mine = range(number * SLOTS // 3, (number + 1) * SLOTS // 3)
            client.execute_command("CLUSTER ADDSLOTS", *mine)  # ADDSLOTSRANGE came with 7.0
            client.execute_command("CLUSTER SET-CONFIG-EPOCH", number + 1)
        for client in self.clients:  # who knows another one may have no epoch set
            for port in self.ports:
                client.execute_command("CLUSTER MEET", "127.0.0.1", port)
        for client in self.clients:
            _wait(partial(_is_up, client))

    def close(self) -> None:
        """End all three and remove their folders."""
        for client in self.clients:
            client.close()
        end(*self._processes)
        for proxy in self.proxies:
            proxy.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def _is_up(client: Any) -> bool:
    """Whether a server sees all slots served by servers it knows."""
    info = client.cluster("INFO")
    return bool(info["cluster_state"] == "ok" and info["cluster_known_nodes"] == "3")


def _free_ports(count: int) -> list[int]:
    """Ports that nobody uses, nor the cluster buses 10,000 above them."""
    found: list[int] = []
    while len(found) < count:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        if 1024 < port <= 55000 and port not in found and _is_free(port + 10000):
            found.append(port)
    return found


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _wait(question: Any) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            if question():
                return
        except redis.RedisError:
            pass
        assert time.monotonic() < deadline, "the cluster does not come up"
        time.sleep(0.05)
