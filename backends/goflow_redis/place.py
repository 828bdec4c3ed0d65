"""Where a single server is, and how a connection to it is made: over TCP, TLS or a Unix socket."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from goflow_redis.refused import Cut, Unanswered

#: what the kernel asks a silent peer: after 30 s, every 5 s, three times; of those that it knows
_KEEPALIVE = {"TCP_KEEPIDLE": 30, "TCP_KEEPALIVE": 30, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}


class Place(NamedTuple):
    """A server, and how one logs in there. `path` is a Unix socket's; timeouts are in seconds."""

    host: str
    port: int
    path: str
    username: str
    password: str
    db: int
    client_name: str
    connect_timeout: float
    timeout: float
    #: of TLS, by redis-py's names; None without TLS
    tls: Mapping[str, Any] | None

    @property
    def name(self) -> str:
        """What errors call it."""
        return self.path or f"{self.host}:{self.port}"

    def connect(self) -> socket.socket:
        """A socket to it. Raises Cut, Unanswered."""
        try:
            return self._connect()
        except TimeoutError:
            raise Unanswered("Timeout connecting to server") from None
        except OSError as error:
            number, text = error.errno, error.strerror or error
            raise Cut(f"Error {number} connecting to {self.name}. {text}.") from None

    def _connect(self) -> socket.socket:
        if self.path:
            made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        else:
            # as bytes: for a text, of whatever letters, 1 MB of tables of names in other scripts is loaded
            host = self.host.encode("ascii" if self.host.isascii() else "idna")
            made = socket.create_connection((host, self.port), self.connect_timeout)  # type: ignore[arg-type]
        try:
            made.settimeout(self.connect_timeout)
            if self.path:
                made.connect(self.path)
            else:
                _stay_alive(made)
            if self.tls is not None:
                made = _wrapped(made, self.host, self.tls)
            made.settimeout(self.timeout)
        except BaseException:
            made.close()
            raise
        return made

    def greeting(self) -> list[tuple[str, ...]]:
        """What is said first: who we are, and which database we want. The last command may be refused."""
        said: list[tuple[str, ...]] = []
        if self.username or self.password:
            login = (self.username, self.password) if self.username else (self.password,)
            said.append(("AUTH", *login))
        if self.client_name:
            said.append(("CLIENT", "SETNAME", self.client_name))
        if self.db:
            said.append(("SELECT", str(self.db)))
        # Redis before 7.2 does not know it. It is said all the same: an answer shows that somebody is there, and
        # what TLS sends behind its handshake is read with it, so a socket that is readable later has an answer
        return [*said, ("CLIENT", "SETINFO", "LIB-NAME", "goflow")]


def locate(url: str, options: Mapping[str, Any], *, tls: bool) -> Place:
    """The place that the URL of a single server means; `options` are those of its query and the timeouts."""
    parts = urlsplit(url)
    unix = parts.scheme == "unix"
    db = "" if unix else unquote(parts.path).strip("/")
    return Place(
        host=unquote(parts.hostname or "localhost"),
        port=parts.port or 6379,
        path=unquote(parts.path) if unix else "",
        username=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        db=int(db or options.get("db", 0)),
        client_name=options.get("client_name", ""),
        connect_timeout=options["socket_connect_timeout"],
        timeout=options["socket_timeout"],
        tls={name: value for name, value in options.items() if name.startswith("ssl_")}
        if tls
        else None,
    )


def _stay_alive(made: socket.socket) -> None:
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE.items():
        number = getattr(socket, name, None)
        if number is not None:
            made.setsockopt(socket.IPPROTO_TCP, number, value)


def _wrapped(bare: socket.socket, host: str, options: Mapping[str, Any]) -> socket.socket:
    """The socket within TLS. Raises OSError."""
    import ssl

    wanted = options.get("ssl_cert_reqs", "required")
    context = ssl.create_default_context()
    context.check_hostname = wanted != "none" and options.get("ssl_check_hostname", True)
    context.verify_mode = {
        "none": ssl.CERT_NONE,
        "optional": ssl.CERT_OPTIONAL,
        "required": ssl.CERT_REQUIRED,
    }[wanted]
    certificate, key = options.get("ssl_certfile"), options.get("ssl_keyfile")
    if certificate:
        context.load_cert_chain(certificate, key)
    if "ssl_ca_certs" in options:
        context.load_verify_locations(options["ssl_ca_certs"])
    return context.wrap_socket(bare, server_hostname=host)
