"""Configuration: goflow.toml, the environment and options, with defaults filled in.

What is nearer to the command wins: options beat the environment, the environment beats the file. Everything
wrong in all three is told at once, with file and line. Loaded at every start, so without a goflow.toml
nothing of TOML is imported, and paths are texts (`pathlib` costs 5 ms).
"""

# ruff: noqa: PTH100, PTH111, PTH113, PTH117, PTH118, PTH123

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

import msgspec

from goflow import layers
from goflow.errors import ConfigError
from goflow.setting import (
    Keys,
    backend,
    choice,
    duration,
    folder_or_url,
    path,
    redis_url,
    size,
    text,
    texts,
    whole,
)

#: what the file is called
NAME: Final = "goflow.toml"

StrPath = str | os.PathLike[str]


def state_folder() -> str:
    """Where runs rest when there is no goflow.toml: $XDG_STATE_HOME/goflow, else ~/.local/state/goflow."""
    root = os.environ.get("XDG_STATE_HOME", "")
    if not os.path.isabs(root):  # the XDG specification: relative ones are to be ignored
        root = os.path.expanduser("~/.local/state")
    return os.path.join(root, "goflow")


class Local(msgspec.Struct, frozen=True, kw_only=True):
    """[local]: the embedded store. `path` is its folder; `sync` "full" survives a power cut too."""

    path: str = msgspec.field(default_factory=state_folder)
    sync: Literal["normal", "full"] = "normal"


class Redis(msgspec.Struct, frozen=True, kw_only=True):
    """[redis]: where it is, and what all keys begin with."""

    url: str = "redis://localhost:6379/0"
    namespace: str = "goflow"

    def __repr__(self) -> str:
        return f"Redis(url=..., namespace={self.namespace!r})"  # a URL may hold a password


class Worker(msgspec.Struct, frozen=True, kw_only=True):
    """[worker]: tasks at a time; seconds a task stays held without a sign of life, and to drain."""

    concurrency: int = 5
    lease: float = 30.0
    grace: float = 30.0


class Serve(msgspec.Struct, frozen=True, kw_only=True):
    """[serve]: the HTTP API. `max_body` in bytes, `max_wait` in seconds, `max_queued` 0 for no limit."""

    host: str = "127.0.0.1"
    port: int = 8080
    secret: str = ""
    secret_file: str = ""
    allowed_hosts: tuple[str, ...] = ()
    max_body: int = 10_000_000
    max_wait: float = 300.0
    max_queued: int = 0

    def read_secret(self) -> str:
        """The secret, from its file if it has one; "" for none. Raises ConfigError where that is no use."""
        if not self.secret_file:
            return self.secret
        try:
            with open(self.secret_file, encoding="utf-8") as file:
                secret = file.read().strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not UTF-8 text"
            raise ConfigError(
                f"cannot read serve.secret_file {self.secret_file}: {reason}"
            ) from None
        if not secret:
            raise ConfigError(
                f"serve.secret_file {self.secret_file} is empty: expected the secret in it"
            )
        return secret

    def __repr__(self) -> str:
        return (
            f"Serve(host={self.host!r}, port={self.port}, ...)"  # the secret stays out of every log
        )


class PayloadLimits(msgspec.Struct, frozen=True, kw_only=True):
    """[payload]: bytes of one payload, bytes kept in the store itself, and where larger ones go."""

    max_size: int = 64_000_000
    inline_limit: int = 256_000
    blobs: str = ""


class Logs(msgspec.Struct, frozen=True, kw_only=True):
    """[logs]: bytes kept of what one attempt prints; how `goflow worker` and `serve` tell events."""

    max_per_attempt: int = 1_000_000
    format: Literal["text", "json"] = "text"


class Telemetry(msgspec.Struct, frozen=True, kw_only=True):
    """[telemetry]: where traces go. `endpoint` is an OTLP one over HTTP; "" leaves it to OTEL_*."""

    traces: Literal["off", "console", "otlp"] = "off"
    endpoint: str = ""

    @property
    def on(self) -> bool:
        """Whether traces are told. OpenTelemetry's own switches beat `traces`."""
        if self.traces == "off":
            return False
        disabled = os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
        return not disabled and os.environ.get("OTEL_TRACES_EXPORTER", "").strip() != "none"


class Retention(msgspec.Struct, frozen=True, kw_only=True):
    """[retention]: seconds that finished runs and dead letters are kept."""

    finished_runs: float = 7 * 86400.0
    dead: float = 30 * 86400.0


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """All of goflow.toml. Sizes are bytes, times seconds, paths absolute.

    `flows` are patterns as they were written, seen from the folder `base`. `file` is the goflow.toml
    this came from, None where there is none.
    """

    flows: tuple[str, ...] = ()
    backend: str = "local"
    local: Local = msgspec.field(default_factory=Local)
    redis: Redis = msgspec.field(default_factory=Redis)
    worker: Worker = msgspec.field(default_factory=Worker)
    serve: Serve = msgspec.field(default_factory=Serve)
    payload: PayloadLimits = msgspec.field(default_factory=PayloadLimits)
    logs: Logs = msgspec.field(default_factory=Logs)
    telemetry: Telemetry = msgspec.field(default_factory=Telemetry)
    retention: Retention = msgspec.field(default_factory=Retention)
    file: str | None = None
    base: str = "."


_SECTIONS: Final[Mapping[str, Callable[..., Any]]] = {
    "local": Local,
    "redis": Redis,
    "worker": Worker,
    "serve": Serve,
    "payload": PayloadLimits,
    "logs": Logs,
    "telemetry": Telemetry,
    "retention": Retention,
}

_SECRETS: Final = ("secret", "secret_file")

#: every key by section ("" for the top level), and how it is read
KEYS: Final[Keys] = {
    "": {
        "flows": texts(
            'a list of files, such as ["flow.py", "flows/*.py"]', split=f",{os.pathsep}"
        ),
        "backend": backend(),
    },
    "local": {"path": path("a folder"), "sync": choice("normal", "full")},
    "redis": {
        "url": redis_url(),
        "namespace": text(
            "letters, digits, '.', '_', ':' and '-', at most 64", r"[A-Za-z0-9._:-]{1,64}"
        ),
    },
    "worker": {"concurrency": whole(1), "lease": duration(2), "grace": duration()},
    "serve": {
        "host": text("a host name or address", r"[^\s/]+"),
        "port": whole(0, 65535),
        "secret": text("text", secret=True),
        "secret_file": path("a file"),
        "allowed_hosts": texts('a list of host names, such as ["flows.example.com"]'),
        "max_body": size(1),
        "max_wait": duration(),
        "max_queued": whole(0),
    },
    "payload": {
        "max_size": size(1),
        "inline_limit": size(),
        "blobs": folder_or_url("a folder or an s3:// URL"),
    },
    "logs": {"max_per_attempt": size(), "format": choice("text", "json")},
    "telemetry": {
        "traces": choice("off", "console", "otlp"),
        "endpoint": text(
            'a URL such as "http://localhost:4318", or ""', r"(?:https?://[^\s/]\S*)?"
        ),
    },
    "retention": {"finished_runs": duration(1), "dead": duration(1)},
}


def find(start: StrPath | None = None) -> str | None:
    """The nearest goflow.toml from a flow file or folder upwards (None: the current folder)."""
    folder = os.path.abspath(os.fspath(start or "."))
    while True:
        file = os.path.join(folder, NAME)
        if os.path.isfile(file):
            return file
        parent = os.path.dirname(folder)
        if parent == folder:
            return None
        folder = parent


def load_config(
    start: StrPath | None = None,
    overrides: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Config:
    """The configuration that holds for a flow file or folder.

    `overrides` are options by dotted name, None for one that was not given. In the environment a list's
    items are separated by commas (those of GOFLOW_FLOWS also by the path separator), an empty variable is as
    good as none, and relative paths start from the current folder.
    Raises ConfigError that lists every problem of file, environment and options.

    >>> load_config(overrides={"worker.concurrency": 2, "worker.lease": "1m"}).worker.lease
    60.0
    """
    problems: list[str] = []
    try:
        here = os.getcwd()
    except FileNotFoundError:
        raise ConfigError("the current folder no longer exists; change to one that does") from None
    file = find(start)
    found = [
        layers.of_file(file, KEYS, problems) if file else [],
        layers.of_environment(os.environ if environ is None else environ, KEYS, here, problems),
        layers.of_options(overrides or {}, KEYS, here, problems),
    ]
    values: dict[str, dict[str, Any]] = {section: {} for section in KEYS}
    base = os.path.dirname(file) if file else here
    if file:
        values["local"]["path"] = os.path.join(base, ".goflow")
    for layer in found:
        _drop_other_secret(layer, values["serve"], problems)
        for setting in layer:
            layers.read(setting, KEYS, values, problems)
            if setting.key == "flows":
                base = setting.base
    if problems:
        raise ConfigError(layers.together(problems, file))
    sections = {name: make(**values[name]) for name, make in _SECTIONS.items()}
    return Config(**values[""], **sections, file=file, base=base)


def _drop_other_secret(
    layer: list[layers.Setting], serve: dict[str, Any], problems: list[str]
) -> None:
    """A secret takes the place of a secret_file set further away, and the other way round."""
    given = {s.key: s for s in layer if s.section == "serve" and s.key in _SECRETS and s.value}
    if len(given) == 2:
        problems.append(
            f"{given['secret_file'].where()}: expected either secret or secret_file, got both"
        )
    elif given:
        for key in _SECRETS:
            serve.pop(key, None)
