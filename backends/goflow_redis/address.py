"""What a Redis URL means: which kind of service, where, and what error messages may say of it.

| URL | means |
| --- | --- |
| `redis://[user:password@]host[:6379][/0]`, `rediss://` with TLS | one server |
| `unix://[user:password@]/path/of.sock[?db=0]` | one server on this machine |
| `redis+sentinel://[user:password@]host[:26379],.../[master][/0]` | the master that these sentinels name |
| `redis+cluster://[user:password@]host[:6379],...` | a Redis Cluster |

All take the options in `OPTIONS` as a query: certificates, timeouts; the last two also `tls=1`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from goflow.errors import ConfigError, nearest

_PORTS = {"single": 6379, "sentinel": 26379, "cluster": 6379}
_SCHEMES: Final = ("redis", "rediss", "unix", "redis+sentinel", "redis+cluster")


class Address(NamedTuple):
    """A parsed URL. `name` is safe to show; `master` and `db` are Sentinel's; `options` are redis-py's."""

    kind: Literal["single", "sentinel", "cluster"]
    url: str
    name: str
    hosts: tuple[tuple[str, int], ...] = ()
    username: str | None = None
    password: str | None = None
    master: str = "mymaster"
    db: int = 0
    tls: bool = False
    options: Mapping[str, Any] = MappingProxyType({})


def parse(url: str) -> Address:
    """The address a URL means. Raises ConfigError, without credentials, for one that means none."""
    try:
        parts = urlsplit(url)
    except ValueError:  # a bracket that is not closed; its text would repeat the password
        raise ConfigError(
            "the Redis URL is none: expected redis://HOST:PORT/0, an IPv6 address as [::1]"
        ) from None
    if parts.scheme not in _SCHEMES:
        raise ConfigError(
            f"expected a Redis URL (redis://, rediss://, unix://, redis+sentinel://, redis+cluster://),"
            f" got one that begins with {parts.scheme or 'nothing'}://"
        )
    options = _options(parts.query)
    tls = bool(options.pop("tls", parts.scheme == "rediss"))
    needless = [name for name in options if name.startswith("ssl_") and not tls]
    if needless:
        raise ConfigError(
            f"the Redis URL's option {needless[0]} needs TLS: write rediss:// (of one server) or tls=1"
        )
    if parts.scheme == "unix":
        name = f"unix socket {unquote(parts.path)}"
        return Address("single", url, name, options=options)
    _, _, places = parts.netloc.rpartition("@")
    kind: Literal["single", "sentinel", "cluster"] = "single"
    if parts.scheme == "redis+sentinel":
        kind = "sentinel"
    elif parts.scheme == "redis+cluster":
        kind = "cluster"
    hosts = tuple(_host(place, _PORTS[kind]) for place in (places or "localhost").split(","))
    name = ", ".join(f"{host}:{port}" for host, port in hosts)
    path = [unquote(part) for part in parts.path.split("/") if part]
    if kind == "single":
        if path:
            _number(path[0], "database number")
        if len(hosts) > 1:
            raise ConfigError(
                f"the Redis URL names {len(hosts)} hosts: write redis+sentinel:// or redis+cluster://"
            )
        return Address(kind, url, name, hosts, tls=tls, options=options)
    master = path[0] if path else "mymaster"
    db = _number(path[1], "database number") if len(path) > 1 else int(options.pop("db", 0))
    told = f"sentinel {name} (master {master})" if kind == "sentinel" else f"cluster {name}"
    # urlsplit decodes nothing, and its `port` fails on several hosts, so both are read by hand
    login, _, _ = parts.netloc.rpartition("@")
    user, _, secret = login.partition(":")
    username, password = unquote(user) or None, unquote(secret) or None
    return Address(kind, url, told, hosts, username, password, master, db, tls, options)


# -- options --------------------------------------------------------------------------------------


def _flag(text: str) -> bool:
    known = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
    if text.lower() not in known:
        raise ValueError("1 or 0")
    return known[text.lower()]


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not seconds > 0:
        raise ValueError("seconds, such as 5")
    return seconds


def _database(text: str) -> int:
    if not text.isdecimal():
        raise ValueError("a database number")
    return int(text)


def _file(text: str) -> str:
    if not os.path.isfile(text):  # noqa: PTH113 - pathlib costs 5 ms at every start
        raise ValueError(f"a file, there is none called {text}")
    return text


def _certificates(text: str) -> str:
    if text not in ("required", "optional", "none"):
        raise ValueError("required, optional or none")
    return text


#: what may follow the `?` of a URL, and how it is read. `ssl_*` need TLS; the names are redis-py's
OPTIONS: Final[Mapping[str, Callable[[str], Any]]] = {
    "tls": _flag,
    "ssl_ca_certs": _file,
    "ssl_certfile": _file,
    "ssl_keyfile": _file,
    "ssl_cert_reqs": _certificates,
    "ssl_check_hostname": _flag,
    "socket_timeout": _seconds,
    "socket_connect_timeout": _seconds,
    "client_name": str,
    "db": _database,
    "sentinel_username": str,
    "sentinel_password": str,
}


def _options(query: str) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in OPTIONS:
            raise ConfigError(
                f"the Redis URL has an unknown option {name!r}{nearest(name, OPTIONS)}"
            )
        try:
            options[name] = OPTIONS[name](value)
        except ValueError as error:
            raise ConfigError(f"the Redis URL's option {name}: expected {error}") from None
    return options


def _host(place: str, port: int) -> tuple[str, int]:
    host, mark, number = place.rpartition(":")
    if not mark or number.endswith("]"):
        return place.strip("[]") or "localhost", port
    return host.strip("[]") or "localhost", _number(number, "port")


def _number(text: str, what: str) -> int:
    if not text.isdecimal():
        raise ConfigError(f"the Redis URL has {text!r} where a {what} is expected")
    return int(text)
