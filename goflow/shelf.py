"""Which backend a name or a URL means, and how it is taken from the shelf."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final, Protocol

from goflow.errors import ConfigError, nearest

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from goflow.backend import Backend
    from goflow.config import Config


#: the built-in ones, so that loading one needs no scan of installed packages
BUILT_IN: Final = {"local": "goflow_local:LocalBackend", "redis": "goflow_redis:RedisBackend"}


#: URL schemes that mean a built-in backend
SCHEMES: Final = {
    "file": "local",
    "redis": "redis",
    "rediss": "redis",
    "unix": "redis",
    "redis+sentinel": "redis",
    "redis+cluster": "redis",
}


class BackendClass(Protocol):
    """What the entry-point group `goflow.backends` holds: a class that opens itself."""

    def open(self, url: str, config: Config, *, ephemeral: bool = False) -> Backend:
        """Open the store that a URL or bare name means. Raises BackendError, ConfigError."""
        ...


def load_backend(url: str, config: Config, *, ephemeral: bool = False) -> Backend:
    """Open the backend that `local`, `redis`, a plug-in's name or a URL means.

    `host:port` without a scheme is a Redis. Call it before user code changes `sys.path`: a `redis.py`
    beside somebody's flow.py would otherwise be imported instead of the library.
    Raises ConfigError for a name nobody provides, BackendError where the store refuses.
    """
    whole = f"redis://{url}" if "://" not in url and ":" in url else url
    store = _class_of(url).open(whole, config, ephemeral=ephemeral)
    if not config.payload.blobs or ephemeral:
        return store
    from goflow.blobs.backend import with_blobs

    try:
        return with_blobs(store, config)
    except BaseException:
        store.close()
        raise


def provider(url: str) -> str:
    """The name of the backend that a name or a URL means; nothing says that anybody provides it."""
    scheme, mark, _ = url.partition("://")
    if not mark and ":" in url:
        return "redis"
    return SCHEMES.get(scheme, scheme)


def unknown(url: str) -> str | None:
    """Which one may be meant by a backend's name or URL that nobody provides, as the end of a message;
    None for one that somebody does, or of which `load_backend` has more to say."""
    name, mark, _ = url.partition("://")
    if name in BUILT_IN or (mark and name in (*SCHEMES, "http", "https")):
        return None
    found = _plug_ins()
    return None if name in found else nearest(name, [*BUILT_IN, *(SCHEMES if mark else ()), *found])


def _class_of(url: str) -> BackendClass:
    """What opens the store that a URL or bare name means. Raises ConfigError."""
    name = provider(url)
    if name in BUILT_IN:
        module, _, attribute = BUILT_IN[name].partition(":")
        built_in: BackendClass = getattr(import_module(module), attribute)
        return built_in
    found = _plug_ins()
    if name in found:
        plug_in: BackendClass = found[name].load()
        return plug_in
    if name in ("http", "https"):
        raise ConfigError(
            f"{url} is a server, not a backend: use `goflow submit --server {url}`, or in Python"
            f" goflow.Client({url!r})"
        )
    raise ConfigError(
        f"no backend {name!r}{unknown(url) or ''}; expected a name or a URL such as"
        " local, redis or redis://localhost:6379/0"
    )


def _plug_ins() -> dict[str, EntryPoint]:
    """What installed packages provide, by name."""
    from importlib.metadata import entry_points  # 30 ms, so only for plug-ins

    return {point.name: point for point in entry_points(group="goflow.backends")}
