"""The stores that episodes take place on, each a private one, and what may be left in it when all is over."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import apsw
import redis
from redis.backoff import NoBackoff
from redis.exceptions import MovedError
from redis.retry import Retry

from goflow_redis.keys import CLUSTER_PARTITIONS, Keys
from tests.redis.cluster import RedisCluster
from tests.redis.proxy import Proxy
from tests.redis.server import RedisServer

NAMESPACE: Final = "nemesis"
#: how the servers keep what was acknowledged: nothing of it may be lost by a kill
DURABLE: Final = ("--appendonly", "yes", "--appendfsync", "always")


class Disk:
    """A small file system of its own, where this machine lets us have one, else a folder."""

    #: bytes of it
    SIZE: Final = 48_000_000

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="goflow-nemesis-"))
        mount = ["mount", "-t", "tmpfs", "-o", f"size={self.SIZE}", "none", str(self.folder)]
        self.mounted = (
            shutil.which("mount") is not None
            and not subprocess.run(mount, capture_output=True, check=False).returncode
        )
        self.full = False
        self._filler = self.folder / "filler"

    def fill(self) -> None:
        """Leave no byte."""
        self.full = True
        with self._filler.open("wb", buffering=0) as file, suppress(OSError):
            size = 1 << 20
            while size:
                size = size if file.write(b"x" * size) == size else size // 2
        with self._filler.open("ab", buffering=0) as file, suppress(OSError):
            while file.write(b"x" * 512):
                pass

    def clear(self) -> None:
        """There is room again."""
        self._filler.unlink(missing_ok=True)
        self.full = False

    def close(self) -> None:
        if self.mounted:
            subprocess.run(["umount", "--lazy", str(self.folder)], check=True)
        shutil.rmtree(self.folder, ignore_errors=True)


class Stage:
    """A store. `url` is the way workers and clients take, `direct_url` the one that no fault is on."""

    name = ""
    url = ""
    direct_url = ""
    #: lines of goflow.toml
    toml = ""

    def __init__(self) -> None:
        #: what the store writes to
        self.disk = Disk()

    def leftovers(self) -> list[str]:
        """What is left though nothing is on its way."""
        raise NotImplementedError

    def partly_away(self) -> bool:
        """Whether a part of it does not answer, while others may."""
        return False

    def close(self) -> None:
        """End it and remove it."""
        self.disk.close()


class LocalStage(Stage):
    """A local store."""

    name = "local"
    url = direct_url = "local"

    def __init__(self) -> None:
        super().__init__()
        self.path = self.disk.folder / "store"
        self.toml = f'[local]\npath = "{self.path}"\n'

    def leftovers(self) -> list[str]:
        found = []
        (file,) = self.path.glob("goflow.db")
        connection = apsw.Connection(str(file), flags=apsw.SQLITE_OPEN_READONLY)
        for what, question in _LOCAL_LEFTOVERS.items():
            ((count,),) = connection.execute(f"SELECT count(*) FROM {question}")
            if count:
                found.append(f"{count} {what}")
        connection.close()
        return found


_LOCAL_LEFTOVERS: Final = {
    "tasks in the queue": "queue",
    "nodes that are held": "node WHERE state = 2",
    "nodes that wait for a retry": "node WHERE state = 4",
    "staged scopes": "item WHERE node NOT IN (SELECT id FROM node)",
    "runs with an owner": "run WHERE owner > 0",
    "workers that have not left": "worker WHERE gone IS NULL",
    "rows of forgotten runs": "trash",
    "definitions with runs that are counted as on their way": "underway WHERE runs <> 0",
}


class ServerStage(Stage):
    """Redis servers, each behind a proxy, whose clock can be set."""

    toml = f'[redis]\nnamespace = "{NAMESPACE}"\n'
    proxies: list[Proxy]

    def __init__(self) -> None:
        super().__init__()
        self._folder = Path(tempfile.mkdtemp(prefix="goflow-nemesis-"))
        self._clock = self._folder / "clock"
        #: whether this machine lets us set the servers' clock
        self.timeless = not self._build_clock()
        self.set_clock(0)

    def close(self) -> None:
        super().close()
        shutil.rmtree(self._folder)

    def set_clock(self, seconds: int) -> None:
        """From now on the servers' wall clock is ahead by so much."""
        with self._clock.open("r+b" if self._clock.exists() else "wb") as file:
            file.write(struct.pack("q", seconds * 1_000_000))

    def _build_clock(self) -> bool:
        """Compile what sets the servers' clock; False without a compiler."""
        if not (compiler := shutil.which("cc")):
            return False
        library, source = self._folder / "clock.so", Path(__file__).parent / "clock" / "server.c"
        command = [compiler, "-O1", "-shared", "-fPIC", "-o", str(library), str(source)]
        return not subprocess.run(command, capture_output=True, check=False).returncode

    def _environment(self) -> dict[str, str] | None:
        if self.timeless:
            return None
        library = str(self._folder / "clock.so")
        return {**os.environ, "LD_PRELOAD": library, "NEMESIS_CLOCK": str(self._clock)}


class RedisStage(ServerStage):
    """One server."""

    name = "redis"

    def __init__(self) -> None:
        super().__init__()
        folder = self.disk.folder / "server"
        folder.mkdir()
        self.server = RedisServer(*DURABLE, environment=self._environment(), folder=folder)
        self.proxies = [Proxy(self.server.socket)]
        self.url, self.direct_url = self.proxies[0].url, self.server.url

    def leftovers(self) -> list[str]:
        return leftover_keys(self.server.client)

    def close(self) -> None:
        self.proxies[0].close()
        self.server.close()
        super().close()


class ClusterStage(ServerStage):
    """Three masters. Whoever asks the cluster for its servers is sent through their proxies."""

    name = "cluster"

    def __init__(self) -> None:
        super().__init__()
        folder = self.disk.folder / "servers"
        folder.mkdir()
        self.cluster = RedisCluster(
            durable=True, proxied=True, folder=folder, environment=self._environment()
        )
        self.proxies = self.cluster.proxies
        self.url = self.direct_url = self.cluster.url

    def leftovers(self) -> list[str]:
        return [each for client in self.cluster.clients for each in leftover_keys(client)]

    def partly_away(self) -> bool:
        for port in self.cluster.ports:
            impatient = redis.Redis(port=port, socket_timeout=0.2, retry=Retry(NoBackoff(), 0))
            try:
                impatient.ping()
            except redis.RedisError:
                return True
            finally:
                impatient.close()
        return False

    def close(self) -> None:
        self.cluster.close()
        super().close()


def leftover_keys(client: Any) -> list[str]:
    """What a server holds that it should not, once every run has ended: tasks, dates, keys for ever."""
    keys = Keys(NAMESPACE)
    keys.split(CLUSTER_PARTITIONS)
    lasting = set(keys.of_directory())
    for partition in keys.partitions:
        with suppress(MovedError):  # it lies on another server of the cluster, and so do its keys
            flows = [flow.decode() for flow in client.smembers(f"{partition}:flows")]
            lasting.update(keys.of_partition(partition, (), flows))
    found = []
    for raw in client.scan_iter(count=1000):
        key, rest = raw.decode(), raw.decode().partition("}")[2]
        if rest.startswith(":q:"):
            (group,) = client.xinfo_groups(raw)
            if (tasks := client.xrange(raw, count=5)) or group["pending"]:
                found.append(f"{key} holds {tasks}, {group['pending']} delivered, up to {group}")
        elif rest in (":due", ":p") or rest.startswith(":p:"):
            found.append(f"{key} holds {client.zrange(raw, 0, -1)}")
        elif rest.startswith(":r:") and rest.endswith(":k"):
            found.append(f"{key} holds parked nodes")
        elif key not in lasting and not rest.startswith(":b:") and client.pttl(raw) == -1:
            found.append(f"{key} has neither an owner nor an expiry")
    return found
