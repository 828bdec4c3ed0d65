"""What a Redis URL means: which kind of service, where, and what error messages may say of it.

| URL | means |
| --- | --- |
| `redis://[user:password@]host[:6379][/0]`, `rediss://` with TLS | one server |
| `unix://[user:password@]/path/of.sock[?db=0]` | one server on this machine |
| `redis+sentinel://[user:password@]host[:26379],.../[master][/0]` | the master that these sentinels name |
| `redis+cluster://[user:password@]host[:6379],...` | a Redis Cluster; with `?tls=1` by TLS |

`redis`, `rediss` and `unix` take redis-py's query options too (`ssl_ca_certs`, `socket_timeout`, ...).
"""

from __future__ import annotations

from typing import Literal, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from goflow.errors import ConfigError

_PORTS = {"single": 6379, "sentinel": 26379, "cluster": 6379}


class Address(NamedTuple):
    """A parsed URL. `name` is safe to show; `master` and `db` are Sentinel's."""

    kind: Literal["single", "sentinel", "cluster"]
    url: str
    name: str
    hosts: tuple[tuple[str, int], ...] = ()
    username: str | None = None
    password: str | None = None
    master: str = "mymaster"
    db: int = 0
    tls: bool = False


def parse(url: str) -> Address:
    """The address a URL means. Raises ConfigError, without credentials, for one that means none."""
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return Address("single", url, f"unix socket {unquote(parts.path)}")
    if parts.scheme not in ("redis", "rediss", "redis+sentinel", "redis+cluster"):
        raise ConfigError(
            f"expected a Redis URL (redis://, rediss://, unix://, redis+sentinel://, redis+cluster://),"
            f" got one that begins with {parts.scheme or 'nothing'}://"
        )
    _, _, places = parts.netloc.rpartition("@")
    kind: Literal["single", "sentinel", "cluster"] = "single"
    if parts.scheme == "redis+sentinel":
        kind = "sentinel"
    elif parts.scheme == "redis+cluster":
        kind = "cluster"
    hosts = tuple(_host(place, _PORTS[kind]) for place in (places or "localhost").split(","))
    name = ", ".join(f"{host}:{port}" for host, port in hosts)
    if kind == "single":
        return Address(kind, url, name, hosts)
    path = [unquote(part) for part in parts.path.split("/") if part]
    master = path[0] if path else "mymaster"
    db = _number(path[1], "database number") if len(path) > 1 else 0
    tls = parse_qs(parts.query).get("tls", ["0"])[0] in ("1", "true")
    told = f"sentinel {name} (master {master})" if kind == "sentinel" else f"cluster {name}"
    # urlsplit decodes nothing, and its `port` fails on several hosts, so both are read by hand
    login, _, _ = parts.netloc.rpartition("@")
    user, _, secret = login.partition(":")
    username, password = unquote(user) or None, unquote(secret) or None
    return Address(kind, url, told, hosts, username, password, master, db, tls)


def _host(place: str, port: int) -> tuple[str, int]:
    host, mark, number = place.rpartition(":")
    if not mark or number.endswith("]"):
        return place.strip("[]") or "localhost", port
    return host.strip("[]") or "localhost", _number(number, "port")


def _number(text: str, what: str) -> int:
    if not text.isdecimal():
        raise ConfigError(f"the Redis URL has {text!r} where a {what} is expected")
    return int(text)
