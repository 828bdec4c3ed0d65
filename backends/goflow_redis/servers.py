"""Which servers answer. One of a cluster that does not is left alone until it says something.

A call to a server that is away costs its caller a timeout, and a worker that pays it again and again comes too
late to the servers that are there: what it holds on them is then renewed by nobody. So whoever was given no
answer is told so at once from then on, and a question that nobody waits for (`Silence`) says when it is worth
another call. A single server has nobody beside it: there every call is made.
"""

from __future__ import annotations

import select
import socket
import threading
import time
from contextlib import suppress
from typing import Any, Final

from goflow.errors import BackendError, StoreAway

#: seconds between two questions to a server that takes none; the last one for ever
_PAUSES: Final = (0.05, 0.1, 0.2, 0.5)
#: seconds after which a question that was taken is asked anew, over another connection
_STALE: Final = 1.0
#: seconds without a reason to leave something out after which it is told anew: somebody had mended it. Longer than
#: from one sweep to the next, which some reasons are met by alone
_MENDED: Final = 30.0
#: what a server says of a single service
ONLY: Final = ""


class _Lookup:
    """Where a host is, found beside: who resolves names may be away as well, and then takes many seconds to say so.
    `found` is None while that is under way, and empty where nobody knows."""

    def __init__(self, host: str, port: int) -> None:
        self._place = (host, port)
        self.found: list[Any] | None = None
        try:  # as nearly always: it is a number
            self.found = socket.getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
            )
        except OSError:
            threading.Thread(target=self._look, daemon=True).start()

    def _look(self) -> None:
        try:
            self.found = socket.getaddrinfo(*self._place, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            self.found = []


class Silence:
    """A server that does not answer, and a question to it that nobody waits for."""

    def __init__(self, node: Any, error: str, *, tls: bool) -> None:
        self.error = error
        self._place = (node.host, node.port)
        self._tls = tls
        self._lookup: _Lookup | None = None
        self._socket: socket.socket | None = None
        self._sent = False
        self._asked = 0.0
        self._said = False
        self._failures = 0
        self._again = 0.0
        self._lock = threading.RLock()
        self.failed(error)

    def over(self) -> bool:
        """Whether it has said something: then it is worth a call. Never waits."""
        with self._lock:
            now = time.monotonic()
            if self._said:
                return True
            if self._socket is None and (now < self._again or not self._ask(now)):
                return False
            answer = self._heard()
            self._said = answer is True
            if answer is False or (answer is None and now - self._asked > _STALE):
                self.failed(self.error)
            return self._said

    def failed(self, error: str) -> None:
        """It took no question, or answered none, or no call: another question after a pause."""
        with self._lock:
            self.close()
            self.error, self._said = error, False
            self._again = time.monotonic() + _PAUSES[min(self._failures, len(_PAUSES) - 1)]
            self._failures += 1

    def close(self) -> None:
        """Wait for no answer any more."""
        with self._lock:
            if self._socket is not None:
                self._socket.close()
                self._socket = None

    def _ask(self, now: float) -> bool:
        """Ask, unless it is not known yet whom."""
        if self._lookup is None:
            self._lookup = _Lookup(*self._place)
        found = self._lookup.found
        if found is None:
            return False
        self._lookup = None  # the next time it may be elsewhere
        self._asked, self._sent = now, False
        if found:
            # of several places each in its turn: it may listen at one of them only
            family, kind, protocol, _, address = found[self._failures % len(found)]
            with suppress(OSError):
                self._socket = socket.socket(family, kind, protocol)
                self._socket.setblocking(False)
                self._socket.connect_ex(address)
        return True

    def _heard(self) -> bool | None:
        """Whether there is an answer; None while there may still come one."""
        if self._socket is None:
            return False
        looking = select.poll()
        looking.register(self._socket, select.POLLIN if self._sent else select.POLLOUT)
        if not looking.poll(0):
            return None
        try:
            if not self._sent:
                # in plain words also where it speaks TLS: it then hangs up, which is an answer as well
                self._socket.send(b"PING\r\n")
                self._sent = True
                return None
            return bool(self._socket.recv(64)) or self._tls
        except OSError:
            return False


class Servers:
    """The servers of one service: who answers, and since when without a break.

    `cluster` is redis-py's client of a cluster, None for any other service.
    """

    def __init__(self, cluster: Any, *, tls: bool) -> None:
        self._cluster = cluster
        self._tls = tls
        self._began = time.monotonic()
        #: monotonic time since which a connection is steady, where it was ever cut
        self._steady: dict[str, float] = {}
        #: those that were cut and have not answered since
        self.shaky: set[str] = set()
        #: those that are not called
        self._silent: dict[str, Silence] = {}
        #: by key the server that has it, and since when
        self._place: dict[str, tuple[str, float]] = {}
        self._surveyed = 0.0
        #: why something was left out, as far as nobody was told
        self._left_out: list[BackendError] = []
        #: all of why something was left out, and when that was last so
        self._seen: dict[str, float] = {}
        #: `with` it around what concerns one server of several
        self.apart: Final = _Apart(self)

    def of(self, key: str) -> str:
        """The server that has a key."""
        if self._cluster is None:
            return ONLY
        node = self._node(key)
        return ONLY if node is None else str(node.name)

    def _node(self, key: str) -> Any:
        """The same as redis-py has it; None where nobody has the key's slot."""
        from redis.exceptions import RedisClusterException

        with suppress(RedisClusterException):
            return self._cluster.get_node_from_key(key)

    @property
    def gone(self) -> bool:
        """Whether there is no other server than one that does not answer."""
        if self._cluster is None:
            return True
        silent = self._silent
        return all(node.name in silent for node in self._cluster.get_primaries())

    def silent(self, key: str) -> bool:
        """Whether the server that has a key is known not to answer, and has said nothing since."""
        silence = self._silent.get(self.of(key)) if self._silent else None
        return silence is not None and not silence.over()

    def check(self, key: str) -> bool:
        """Whether a call to a key is the first one after a silence. Raises StoreAway while it lasts."""
        if not self._silent:
            return False
        silence = self._silent.get(self.of(key))
        if silence is None or silence.over():
            return silence is not None
        if time.monotonic() > self._surveyed + _STALE:
            self.survey()  # another server may have taken over
            silence = self._silent.get(self.of(key))
            if silence is None:
                return False
        raise StoreAway(silence.error)

    def cut(self, key: str) -> None:
        """A connection to the server that has a key was cut, or brought no answer."""
        server = self.of(key)
        self.shaky.add(server)
        self._steady[server] = float("inf")
        if self._cluster is not None:
            self.survey(server)

    def heard(self, key: str, *, again: bool) -> None:
        """The server that has a key has answered; `again`: after a cut."""
        server = self.of(key)
        if again or server in self.shaky:
            self.shaky.discard(server)
            self._steady[server] = time.monotonic()
            if (silence := self._silent.pop(server, None)) is not None:
                silence.close()
                self._seen.clear()

    def failed(self, key: str, error: BackendError) -> BackendError:
        """A call to the server that has a key was given up; answers the error, which of a cluster says where."""
        if self._cluster is None or (node := self._node(key)) is None:
            return error
        text = f"{error} (server {node.host}:{node.port})"
        if isinstance(error, StoreAway):
            if (silence := self._silent.get(node.name)) is not None:
                silence.failed(text)
            else:
                self._silent[node.name] = Silence(node, text, tls=self._tls)
        return type(error)(text)

    def steady_since(self, key: str) -> float:
        """Monotonic time since which the server that has a key was the same, and never cut off from here."""
        server = self.of(key)
        found, since = self._place.get(key, (server, self._began))
        if found != server:
            since = time.monotonic()
        self._place[key] = (server, since)
        return max(since, self._steady.get(server, 0.0))

    def survey(self, leave_out: str = "") -> None:
        """Ask anew which server has what, but none that does not answer."""
        from redis.exceptions import RedisClusterException, RedisError

        self._surveyed = time.monotonic()
        manager = self._cluster.nodes_manager
        known = manager.startup_nodes
        silent = {leave_out, *self._silent}
        manager.startup_nodes = {n: node for n, node in known.items() if n not in silent} or known
        try:
            manager.initialize()
        except (RedisError, RedisClusterException):
            manager.startup_nodes = known
            return  # the next call will say so
        there = {node.name for node in self._cluster.get_primaries()}
        for name in [name for name in self._silent if name not in there]:
            self._silent.pop(name).close()

    def leave_out(self, error: BackendError) -> bool:
        """Whether something that failed is to be left out, since there are other servers."""
        if self.gone:
            return False
        text, now = str(error), time.monotonic()
        if text not in self._seen:
            self._seen = {t: at for t, at in self._seen.items() if now - at < _MENDED}
        if now - self._seen.get(text, -_MENDED) >= _MENDED:
            self._left_out.append(error)
        self._seen[text] = now
        return True

    def left_out(self) -> BackendError | None:
        """Why something was left out, once for as long as it lasts; another reason with the next call."""
        return self._left_out.pop(0) if self._left_out else None

    def close(self) -> None:
        """Ask nobody any more."""
        for silence in self._silent.values():
            silence.close()


class _Apart:
    """What concerns one server of several: where it fails, that is left out, and the others get theirs. Where there
    is no other, the error is raised. Written out, since a generator would cost a microsecond of every commit."""

    def __init__(self, servers: Servers) -> None:
        self._servers = servers

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        return isinstance(error, BackendError) and self._servers.leave_out(error)
