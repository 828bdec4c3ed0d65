"""What goes wrong between us and a server, by kind.

The kinds are redis-py's, under its names where nothing is built in under them. A single server's connections
(line.py) do without redis-py, which takes 0.1 s and 11 MB to import; what it raises for a cluster or a sentinel is
turned into these by `ours`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final


class RedisError(Exception):
    """Whatever went wrong."""


class Cut(RedisError):
    """The connection could not be made, or was cut."""


class Unanswered(RedisError):
    """There was no answer in time."""


class AuthenticationError(Cut):
    """The login is missing or wrong."""


class BusyLoadingError(Cut):
    """The server is still loading its data."""


class MaxConnectionsError(Cut):
    """There are more connections than were asked for."""


class InvalidResponse(RedisError):
    """What came is no Redis protocol."""


class RedisClusterException(RedisError):
    """A cluster as a whole cannot be used."""


class ResponseError(RedisError):
    """The server refused a command; the connection is as good as before."""


class NoScriptError(ResponseError):
    """The server does not have the script."""


class OutOfMemoryError(ResponseError):
    """The server is full."""


class ReadOnlyError(ResponseError):
    """The server is a replica."""


class NoPermissionError(ResponseError):
    """The user may not do that."""


class ClusterDownError(ResponseError):
    """The cluster, or the master of this replica, is down."""


class MasterNotFoundError(Cut):
    """No sentinel names a master."""


#: by the first word of a server's error what it means; that word is then left out of the text
_BY_CODE: Final[Mapping[str, type[RedisError]]] = {
    "ERR": ResponseError,
    "OOM": OutOfMemoryError,
    "WRONGPASS": AuthenticationError,
    "NOAUTH": AuthenticationError,
    "LOADING": BusyLoadingError,
    "NOSCRIPT": NoScriptError,
    "READONLY": ReadOnlyError,
    "NOPERM": NoPermissionError,
    "CLUSTERDOWN": ClusterDownError,
    "MASTERDOWN": ClusterDownError,
}
#: the one text behind ERR that concerns the connection
_TOO_MANY: Final = "max number of clients reached"
#: by redis-py's name
_BY_NAME: Final[Mapping[str, type[RedisError]]] = {
    **{kind.__name__: kind for kind in (*_BY_CODE.values(), RedisClusterException)},
    **{kind.__name__: kind for kind in (MaxConnectionsError, InvalidResponse, MasterNotFoundError)},
    "ConnectionError": Cut,
    "TimeoutError": Unanswered,
    "RedisError": RedisError,
}


def read(text: str) -> RedisError:
    """A server's error as what it means."""
    code, _, rest = text.partition(" ")
    kind = _BY_CODE.get(code)
    if kind is None:
        return ResponseError(text)
    return Cut(rest) if rest == _TOO_MANY else kind(rest)


def ours(error: Exception) -> Exception:
    """The same error as one of these kinds, where redis-py raised it."""
    if not type(error).__module__.startswith("redis."):
        return error
    for kind in type(error).__mro__:
        if kind.__name__ in _BY_NAME and kind.__module__.startswith("redis."):
            return _BY_NAME[kind.__name__](str(error))
    return error
