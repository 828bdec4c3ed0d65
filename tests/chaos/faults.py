"""What may go wrong. Each fault strikes, lasts for `seconds`, is healed, and says how many repeats it explains.

`Fault.repeats` is a bound: node executions that began and may begin again because of it. Only what takes
tasks from a worker explains any, one for each child; what happens to connections, scripts and servers
that keep their data explains none.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, ClassVar, Final

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.chaos.stores import ClusterStage, RedisStage, ServerStage, Stage
from tests.chaos.world import CONCURRENCY, LEASE, WorkerProcess, World
from tests.redis.proxy import Proxy
from tests.redis.server import RedisServer

#: seconds that are surely longer than a lease and the time others take to notice
PAST_LEASE: Final = LEASE + 1.5
#: executions that a worker which is gone may have begun in vain: each child's task at hand, or the one before
#: it whose result was on its way to the store; never both, since these nodes take a millisecond or more
AT_HAND: Final = CONCURRENCY


class Fault:
    """One thing that goes wrong, in one world."""

    stores: ClassVar[Sequence[str]] = ("local", "redis", "cluster")
    #: how long it lasts
    seconds: float = 0.5
    repeats: int = 0
    #: when it struck, by the monotonic clock
    struck: float = 0.0
    #: whether the store may forget what it had acknowledged
    loses: ClassVar[bool] = False
    #: whether times of one process may not be compared with those of another from now on
    sets_clocks: ClassVar[bool] = False

    def __init__(self, world: World, dice: random.Random) -> None:
        self.world = world
        self.dice = dice

    @classmethod
    def possible(cls, world: World) -> bool:
        """Whether it can happen here."""
        return world.stage.name in cls.stores

    def strike(self) -> None:
        raise NotImplementedError

    def heal(self) -> None:
        """The world is as it was, as far as this fault is concerned."""

    def victim(self) -> WorkerProcess:
        """A worker."""
        return self.dice.choice(self.world.workers)

    def at_hand(self) -> int:
        """Executions that a worker which is gone now may have begun in vain: `AT_HAND`, and while a server of a cluster
        is away as many that have ended and could not be told, since its children went on with the others."""
        return AT_HAND * (2 if self.world.stage.partly_away() else 1)

    @property
    def name(self) -> str:
        return type(self).__name__


# -- processes ------------------------------------------------------------------------------------


class KillWorker(Fault):
    """kill -9 of a supervisor; its children go with it, and another worker comes."""

    def strike(self) -> None:
        worker = self.victim()
        self.repeats = self.at_hand()
        worker.end(signal.SIGKILL)
        self.world.ended(worker, "killed", -signal.SIGKILL)
        self.world.replace(worker)


class KillChild(Fault):
    """kill -9 of a child: what it executed has failed or comes again, the worker lives."""

    def strike(self) -> None:
        children = self.victim().children()
        if children:
            self.repeats = 1
            with suppress(ProcessLookupError):
                os.kill(self.dice.choice(children), signal.SIGKILL)


class DrainWorker(Fault):
    """SIGTERM: what runs is finished or handed back, nothing is repeated."""

    seconds = 0.1

    def strike(self) -> None:
        worker = self.victim()
        worker.send(signal.SIGCONT)  # another fault may have frozen it
        worker.end(signal.SIGTERM)
        # one that has only come may not have heard of signals yet
        early = () if worker.started() else (-signal.SIGTERM,)
        self.world.ended(worker, "told to drain", 0, *early)
        self.world.replace(worker)


class FreezeWorker(Fault):
    """SIGSTOP of a supervisor past its lease, then SIGCONT: others have its tasks, and it is refused. One that executes
    a node longer than a lease where there is one: what it says late then comes while somebody else holds the task."""

    seconds = PAST_LEASE
    children = False

    def strike(self) -> None:
        self.frozen = self._at_length() or self.victim()
        self.repeats = self.at_hand()
        self.frozen.send(signal.SIGSTOP, children=self.children)

    def _at_length(self) -> WorkerProcess | None:
        deadline = time.monotonic() + 4
        while time.monotonic() < deadline:
            for worker in self.world.workers:
                if self.world.oracle.executes(worker.pid, "long"):
                    return worker
            time.sleep(0.05)
        return None

    def heal(self) -> None:
        self.frozen.send(signal.SIGCONT, children=True)


class FreezeWorkerAndChildren(FreezeWorker):
    """The same, with its children, as a machine that was suspended."""

    children = True


class FreezeChild(Fault):
    """SIGSTOP of a child past its lease: the supervisor keeps the lease, so nothing is repeated."""

    seconds = PAST_LEASE

    def strike(self) -> None:
        children = self.victim().children()
        self.frozen = [self.dice.choice(children)] if children else []
        self._send(signal.SIGSTOP)

    def heal(self) -> None:
        self._send(signal.SIGCONT)

    def _send(self, number: int) -> None:
        for pid in self.frozen:
            with suppress(ProcessLookupError):
                os.kill(pid, number)


class ClockJump(Fault):
    """The wall clock of every worker jumps, and past a lease later jumps back."""

    seconds = PAST_LEASE
    sets_clocks = True

    def strike(self) -> None:
        self.world.clock.write_text(str(self.dice.choice([-7200, -60, 60, 7200])))

    def heal(self) -> None:
        self.world.clock.write_text("0")


# -- the disk -------------------------------------------------------------------------------------


class FullDisk(Fault):
    """The disk of the store is full for a while. A Redis that must sync and cannot write ends itself."""

    seconds = 1.5

    @classmethod
    def possible(cls, world: World) -> bool:
        return world.stage.disk.mounted

    def strike(self) -> None:
        self.world.stage.disk.fill()

    def heal(self) -> None:
        stage = self.world.stage
        stage.disk.clear()
        start_servers(stage, 0, 1, 2)


# -- servers --------------------------------------------------------------------------------------


#: the ends of two faults come at the same time, each in a thread of its own
_starting: Final = threading.Lock()


def start_servers(stage: Stage, *numbers: int) -> None:
    """Start those that are not running, unless the disk is full: then the end of that fault does so."""
    with _starting:
        if stage.disk.full:
            return
        if isinstance(stage, RedisStage) and not stage.server.running:
            stage.server.start()
        if isinstance(stage, ClusterStage):
            for number in numbers:
                if not stage.cluster.running(number):
                    stage.cluster.launch(number)
    if isinstance(stage, ClusterStage):
        stage.cluster.wait()  # for those too whose end comes later


class ServerFault(Fault):
    """Hits the server, or one master of a cluster."""

    stores: ClassVar[Sequence[str]] = ("redis", "cluster")

    def __init__(self, world: World, dice: random.Random) -> None:
        super().__init__(world, dice)
        self.number = dice.randrange(3)
        stage = world.stage
        where: dict[str, Any]
        if isinstance(stage, ClusterStage):
            where = {"port": stage.cluster.ports[self.number]}
        else:
            assert isinstance(stage, RedisStage)
            where = {"unix_socket_path": str(stage.server.socket)}
        # impatient: another fault may have taken or frozen the server
        self._client: Any = redis.Redis(**where, socket_timeout=1, retry=Retry(NoBackoff(), 0))

    def command(self, *words: str | int) -> bool:
        """Say it to the server, if it listens; whether it did."""
        try:
            self._client.execute_command(*words)
        except redis.RedisError:
            return False
        return True

    def kill_server(self) -> None:
        stage = self.world.stage
        if isinstance(stage, ClusterStage):
            stage.cluster.kill(self.number)
        else:
            self.server.kill()

    def start_server(self) -> None:
        """Unless another fault's end has started it already."""
        start_servers(self.world.stage, self.number)

    @property
    def server(self) -> RedisServer:
        assert isinstance(self.world.stage, RedisStage)
        return self.world.stage.server

    def server_pid(self) -> int:
        stage = self.world.stage
        return (
            stage.cluster.pid(self.number) if isinstance(stage, ClusterStage) else self.server.pid
        )


class KillServer(ServerFault):
    """kill -9 of a Redis that keeps an append-only file; it is away for a moment."""

    def strike(self) -> None:
        self.kill_server()

    def heal(self) -> None:
        self.start_server()


class LongAbsence(KillServer):
    """The same, away for longer than a lease: idle times then tell nothing."""

    seconds = PAST_LEASE


class FreezeServer(ServerFault):
    """SIGSTOP of a Redis for longer than a lease: nobody is cut off, and nobody's task is taken."""

    seconds = PAST_LEASE

    def strike(self) -> None:
        self.frozen = self.server_pid()
        self._send(signal.SIGSTOP)

    def heal(self) -> None:
        self._send(signal.SIGCONT)

    def _send(self, number: int) -> None:
        with suppress(ProcessLookupError):  # another fault may have killed it
            os.kill(self.frozen, number)


class PauseServer(ServerFault):
    """CLIENT PAUSE for longer than a lease."""

    seconds = PAST_LEASE

    def strike(self) -> None:
        self.command("CLIENT", "PAUSE", int(self.seconds * 1000), "ALL")


class KillConnections(ServerFault):
    """CLIENT KILL of every connection, a few times."""

    seconds = 0.1

    def strike(self) -> None:
        for _ in range(5):
            self.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            time.sleep(0.1)


class ForgetScripts(ServerFault):
    """SCRIPT FLUSH, a few times."""

    seconds = 0.1

    def strike(self) -> None:
        for _ in range(5):
            self.command("SCRIPT", "FLUSH")
            time.sleep(0.1)


class FullMemory(ServerFault):
    """maxmemory is reached for a while: no run is taken, those that are there go on."""

    seconds = 1.5

    def strike(self) -> None:
        self.command("CONFIG", "SET", "maxmemory", 1)

    def heal(self) -> None:
        deadline = time.monotonic() + 30  # until another fault has given the server back
        while not self.command("CONFIG", "SET", "maxmemory", 0) and time.monotonic() < deadline:
            time.sleep(0.1)


class TornFile(ServerFault):
    """The last bytes of the append-only file are missing after a kill: what was acknowledged last is lost."""

    seconds = 0.1
    loses = True
    #: bytes that are torn off at most, and how many outcomes they may hold
    MOST: ClassVar[int] = 4000
    repeats = 40

    def strike(self) -> None:
        self.kill_server()
        stage = self.world.stage
        home = (
            stage.cluster.folder / str(stage.cluster.ports[self.number])
            if isinstance(stage, ClusterStage)
            else self.server.folder
        )
        for file in (home / "appendonlydir").glob("*.incr.aof"):
            size = file.stat().st_size
            os.truncate(file, max(0, size - self.dice.randrange(1, self.MOST)))

    def heal(self) -> None:
        """Start it and, as docs/operations.md says, have it write the file anew: Redis 7.0 cuts off a torn
        command, but leaves the transaction open that it belonged to, and the next start executes what is
        there of it."""
        while self.world.stage.disk.full:
            time.sleep(0.05)
        self.start_server()
        self.command("BGREWRITEAOF")
        deadline = time.monotonic() + 10
        while self._rewriting() and time.monotonic() < deadline:
            time.sleep(0.02)

    def _rewriting(self) -> bool:
        with suppress(redis.RedisError):
            told = self._client.info("persistence")
            return bool(told["aof_rewrite_in_progress"] or told["aof_rewrite_scheduled"])
        return False


class ServerClockJump(ServerFault):
    """The clock of Redis jumps ahead by an hour and stays there: every lease looks long over."""

    seconds = 1.0
    sets_clocks = True

    @classmethod
    def possible(cls, world: World) -> bool:
        return isinstance(world.stage, ServerStage) and not world.stage.timeless

    def strike(self) -> None:
        assert isinstance(self.world.stage, ServerStage)
        self.repeats = AT_HAND * len(self.world.workers)
        self.world.stage.set_clock(3600)


# -- the network ----------------------------------------------------------------------------------


class NetworkFault(Fault):
    """Hits the way to every server."""

    stores: ClassVar[Sequence[str]] = ("redis", "cluster")

    @property
    def proxies(self) -> Sequence[Proxy]:
        assert isinstance(self.world.stage, ServerStage)
        return self.world.stage.proxies


class Rain(NetworkFault):
    """Requests are cut by chance, before the server sees them or before its reply comes back."""

    seconds = 2.0

    def strike(self) -> None:
        for proxy in self.proxies:
            proxy.rain(0.05, self.dice.randrange(2**32))

    def heal(self) -> None:
        for proxy in self.proxies:
            proxy.rain(0.0)


class HalfOpen(NetworkFault):
    """Connections over which nothing comes any more, and nobody says so. New ones work, and are made in time."""

    seconds = PAST_LEASE

    def strike(self) -> None:
        for proxy in self.proxies:
            proxy.deafen()


class Unplugged(NetworkFault):
    """No way to the servers for longer than a lease, for old and new connections; nobody says so."""

    seconds = PAST_LEASE

    def strike(self) -> None:
        self.repeats = AT_HAND * len(self.world.workers)
        for proxy in self.proxies:
            proxy.unplug()

    def heal(self) -> None:
        for proxy in self.proxies:
            proxy.plug()


#: what an episode draws from
FAULTS: Final[tuple[type[Fault], ...]] = (
    KillWorker, KillChild, DrainWorker, FreezeWorker, FreezeWorkerAndChildren, FreezeChild, ClockJump,
    FullDisk, KillServer, LongAbsence, FreezeServer, PauseServer, KillConnections, ForgetScripts,
    FullMemory, TornFile, ServerClockJump, Rain, HalfOpen, Unplugged,
)  # fmt: skip
