"""The wire: scripts and commands go out, answers come in, and a cut connection is mended here.

A single server is spoken to without redis-py (line.py). Where redis-py finds the server, in a cluster or behind
sentinels, it would retry by itself and may then run a script twice; that is turned off. What is repeated is
repeated here, by the same bytes, and every script is safe under "executed, but the reply was lost".
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from goflow.errors import BackendError
from goflow_redis import refused as known
from goflow_redis import scripts
from goflow_redis.address import Address
from goflow_redis.advice import Advised, hint_of, hopeless
from goflow_redis.line import Command, Line, Lines, Word, exchange
from goflow_redis.place import locate
from goflow_redis.refused import ours
from goflow_redis.servers import Servers

T = TypeVar("T")

#: seconds before each further attempt at a call whose connection was cut; then BackendError
PAUSES: Final = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8)
#: seconds to wait for a connection, and for an answer; for either never more than half a lease, so that a
#: worker whose connection has died without a word still renews in time over a new one
CONNECT_TIMEOUT: Final = 5.0
ANSWER_TIMEOUT: Final = 15.0
#: which part of a lease that is at most; in a cluster less, since what is held on the other servers waits meanwhile
_PART: Final = 2
_PART_OF_CLUSTER: Final = 8
#: parts of INFO that say whether a server is fit, and how long it has been up
_SECTIONS: Final = ("server", "memory", "replication")
#: connections kept for the next who listens
_SPARE: Final = 4
#: MOVED and ASK answers followed for one call
_REDIRECTIONS: Final = 5


class Link:
    """Connections to one Redis service, whichever its kind. Safe to share between threads.

    A call is given up after `patience` seconds without an answer and one more attempt.
    """

    def __init__(self, address: Address, *, lease: float = 30.0) -> None:
        self.address = address
        part = _PART_OF_CLUSTER if address.kind == "cluster" else _PART
        self.patience = min(ANSWER_TIMEOUT, lease / part)
        self.name = f"Redis at {address.name}"
        self._advised = Advised(self.name, hint_of(address))
        #: of a single server
        self._lines: Lines | None = None
        #: redis-py's client of a cluster, and its pool of what sentinels name; both are badly typed
        self.cluster: Any = None
        self._pool: Any = None
        self._scripts: Mapping[str, scripts.Script] = {}
        #: connections that were waited on, of one server, and the process whose they are
        self._spare: list[Line] = []
        self._pid = os.getpid()
        with Advised(self.name, ""):
            self._connect()
        self.servers = Servers(self.cluster, tls=address.tls)

    # -- asking -----------------------------------------------------------------------------------

    def run(self, script: str, partition: str, args: Sequence[Word]) -> Any:
        """A transition's answer. It is repeated when the connection is cut, so the script must be safe
        under that. Raises BackendError, StoreFull."""
        if self._lines is None or self.servers.shaky:
            return self.patiently(partition, lambda attempt: self.run_once(script, partition, args))
        began = time.monotonic()
        sha = self._scripts[script].sha
        try:  # as nearly always: the shortest way
            return self._lines.ask(("EVALSHA", sha, 1, partition, *args))
        except Exception as error:  # noqa: BLE001 - `_bear` raises what is not to be repeated
            failed = None if _lacks_script(error) else error
        return self.patiently(
            partition, lambda attempt: self.run_once(script, partition, args), began, failed
        )

    def run_once(self, script: str, partition: str, args: Sequence[Word]) -> Any:
        """The same, once; errors as they come."""
        text, sha = self._scripts[script]
        try:
            return self._ask(partition, (("EVALSHA", sha, 1, partition, *args),))[0]
        except Exception as error:
            if not _lacks_script(error):
                raise
        return self._ask(partition, (("EVAL", text, 1, partition, *args),))[0]

    def ask(self, key: str, *command: Word) -> Any:
        """A plain command's answer; `key` says which server."""
        return self.ask_all(key, [command])[0]

    def ask_once(self, key: str, *command: Word) -> Any:
        """The same, once; errors as they come."""
        return self._ask(key, [command])[0]

    def greet(self) -> dict[str, str]:
        """What the server says of itself, asked once; from then on its version is known. Raises
        BackendError."""
        with self._advised:
            lines = self._ask("gf", [("INFO", section) for section in _SECTIONS])
        told = _fields(b"\n".join(lines))
        version = tuple(map(int, told["redis_version"].split(".")[:2]))
        self._scripts = scripts.load(modern=version >= (7,))
        return told

    def uptime(self, key: str) -> int:
        """Seconds the server that has `key` has been up."""
        return int(_fields(self.ask(key, "INFO", "server"))["uptime_in_seconds"])

    def ask_all(self, key: str, commands: Sequence[Command]) -> list[Any]:
        """The answers of several commands sent at once, all to the server that has `key`."""
        if not commands:
            return []
        return self.patiently(key, lambda attempt: self._ask(key, commands))

    def patiently(
        self,
        key: str,
        ask: Callable[[int], T],
        began: float = 0.0,
        failed: Exception | None = None,
    ) -> T:
        """What `ask(attempt)` answers, asked again while the connection to the server that has `key` is cut; errors
        as ours. One of a cluster that gave no answer before is called once, and not before it has said something.
        `began` (monotonic) and `failed` are of a first attempt that was made already."""
        returning = self.servers.check(key)
        began = began or time.monotonic()
        attempt = 0
        if failed is not None:
            self._bear(key, failed, attempt, began, once=returning)
            attempt = 1
        while True:
            try:
                answer = ask(attempt)
            except Exception as error:  # noqa: BLE001 - `_bear` raises what is not to be repeated
                self._bear(key, error, attempt, began, once=returning)
            else:
                if attempt or returning or self.servers.shaky:
                    self.servers.heard(key, again=attempt > 0 or returning)
                return answer
            attempt += 1

    def _bear(self, key: str, error: Exception, attempt: int, began: float, *, once: bool) -> None:
        """Wait a moment before a call is repeated that failed so; raises the error where that cannot help."""
        error = ours(error)
        try:
            with self._advised:
                if not isinstance(error, _CUTS):
                    raise error
                late = attempt > 0 and time.monotonic() - began > self.patience
                self.servers.cut(key)
                if once or attempt == len(PAUSES) - 1 or late or hopeless(error):
                    raise error
        except BackendError as given_up:
            raise self.servers.failed(key, given_up) from None
        time.sleep(PAUSES[attempt])

    def listener(self, key: str) -> Line:
        """A connection to wait on: one that nobody uses any more, else a new one."""
        spare = self._spares()
        try:
            return spare.pop()
        except IndexError:
            return self.connection(key)

    def hand_on(self, line: Line) -> bool:
        """Keep a connection on which nothing is under way for the next `listener`; False where there is no need."""
        spare = self._spares()
        if self.cluster is not None or len(spare) >= _SPARE:
            return False
        spare.append(line)
        return True

    def drop_spares(self) -> None:
        """Close the connections that were kept."""
        spare = self._spares()
        while spare:
            spare.pop().close()

    def _spares(self) -> list[Line]:
        if self._pid != os.getpid():  # a fork: those are the parent's
            self._pid, self._spare = os.getpid(), []
        return self._spare

    def connection(self, key: str) -> Line:
        """A new connection of its own to the server that has `key`, for waiting on."""
        with self._advised:
            if self._lines is not None:
                return self._lines.connect()
            connection = self._pool_of(key).make_connection()
            connection.connect()
        return Line(lambda: connection._sock, connection.disconnect)

    def close(self) -> None:
        """Close every connection."""
        self.servers.close()
        self.drop_spares()
        if self._lines is not None:
            self._lines.close()
        if self._pool is not None:
            self._pool.disconnect()
        if self.cluster is not None:
            self.cluster.close()

    # -- the wire ---------------------------------------------------------------------------------

    def _ask(self, key: str, commands: Sequence[Command]) -> list[Any]:
        if self._lines is not None:
            if len(commands) == 1:
                return [self._lines.ask(tuple(commands[0]))]
            return self._lines.exchange(commands)
        from redis.exceptions import AskError, MovedError, TryAgainError

        asking = False
        pool = self._pool_of(key)
        for _ in range(_REDIRECTIONS):
            try:
                if asking:  # it holds for one command
                    pairs = [word for each in commands for word in (("ASKING",), each)]
                    return exchange(pool, pairs)[1::2]
                return exchange(pool, commands)
            except AskError as error:
                pool, asking = self._pool_at(error.host, error.port), True
            except MovedError:
                self.servers.survey()
                pool, asking = self._pool_of(key), False
            except TryAgainError:
                time.sleep(0.05)
        return exchange(pool, commands)

    def _pool_of(self, key: str) -> Any:
        if self.cluster is None:
            return self._pool
        node = self.cluster.get_node_from_key(key)
        if node is None:
            from redis.exceptions import ConnectionError

            raise ConnectionError("no server has this slot")
        return self.cluster.get_redis_connection(node).connection_pool

    def _pool_at(self, host: str, port: int) -> Any:
        node = self.cluster.get_node(host=host, port=port)
        if node is None:
            self.servers.survey()
            node = self.cluster.get_node(host=host, port=port)
        assert node is not None
        return self.cluster.get_redis_connection(node).connection_pool

    def _connect(self) -> None:
        address = self.address
        options: dict[str, Any] = {
            "socket_connect_timeout": min(CONNECT_TIMEOUT, self.patience),
            "socket_timeout": self.patience,
        } | dict(address.options)
        if address.kind == "single":
            self._lines = Lines(locate(address.url, options, tls=address.tls))
            return
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        options |= {
            "socket_keepalive": True,
            # a connection made to wait on never comes back to the pool, and would count for ever
            "max_connections": 2**31,
            "retry": Retry(NoBackoff(), 0),
            "protocol": 2,
            "username": address.username,
            "password": address.password,
        }
        watch_as = {
            name: options.pop(f"sentinel_{name}", None) for name in ("username", "password")
        }
        if address.kind == "cluster":
            from redis import cluster

            node: Any = cluster.ClusterNode
            nodes = [node(host, port) for host, port in address.hosts]
            self.cluster = cluster.RedisCluster(startup_nodes=nodes, ssl=address.tls, **options)
        else:
            from redis import sentinel

            service: Any = sentinel.Sentinel
            pool: Any = sentinel.SentinelConnectionPool
            ssl = {"ssl": address.tls}
            watchers = service(list(address.hosts), sentinel_kwargs=options | watch_as | ssl)
            self._pool = pool(address.master, watchers, db=address.db, **ssl, **options)


#: where asking again may help
_CUTS: Final = (
    known.Cut,
    known.Unanswered,
    known.ReadOnlyError,
    known.ClusterDownError,
    known.RedisClusterException,
)


def _lacks_script(error: Exception) -> bool:
    """Whether the server has forgotten the script, or never had it."""
    return isinstance(ours(error), known.NoScriptError)


def _fields(info: bytes) -> dict[str, str]:
    lines = (line.strip().partition(b":") for line in info.splitlines())
    return {name.decode(): value.decode() for name, _, value in lines if value}
