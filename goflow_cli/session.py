"""What commands share: configuration, the backend, and where flows come from."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any, TypeVar

import click

from goflow.backend import Backend, Run, load_backend
from goflow.config import Config, load_config
from goflow.errors import UnknownFlow, UnknownRun
from goflow.shelf import provider
from goflow.workflow import Flow

_C = TypeVar("_C", bound=Callable[..., Any])

#: among how many of the newest runs the one that was meant is looked for
NEAREST_OF = 200


def backend_option(command: _C) -> _C:
    """`--backend`, on every command that reads or writes a store."""
    return click.option(
        "--backend", metavar="B", help="local, redis, a plug-in's name or a URL.", default=None
    )(command)


def json_option(command: _C) -> _C:
    """`--json`, wherever there is something to read."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def force_option(command: _C) -> _C:
    """`--force`, on every command that writes files: none writes over one without it."""
    return click.option("--force", is_flag=True, help="Write over files that exist.")(command)


class Session:
    """One command's surroundings, opened as far as they are asked for.

    `start` is the flow file or folder from which goflow.toml is looked for, upwards.
    """

    def __init__(
        self,
        start: str | None = None,
        backend: str | None = None,
        *,
        ephemeral: bool = False,
        **overrides: object,
    ) -> None:
        options = {key.replace("__", "."): value for key, value in overrides.items()}
        self.config: Config = load_config(start, {"backend": backend, **options})
        self.ephemeral = ephemeral

    @cached_property
    def backend(self) -> Backend:
        """The store, opened once. Open it before loading flow files: they change `sys.path`.

        An ephemeral one is this process's memory, whatever is configured: in a shared store nobody's worker would find it.
        """
        url = "local" if self.ephemeral else self.config.backend
        return load_backend(url, self.config, ephemeral=self.ephemeral)

    def run(self, run_id: str) -> Run:
        """The run of that id. Raises UnknownRun with the nearest of the newest ones."""
        try:
            return self.backend.run(run_id)
        except UnknownRun:
            known = [run.id for run in self.backend.runs(limit=NEAREST_OF)]
            raise UnknownRun(run_id, known, self.backend.name) from None

    def flow(self, file: str, name: str | None) -> Flow:
        """The one flow of a file, or that of the name; or goflow.toml's flow that `file` is the name of.

        Raises UnknownFlow, LoadError.
        """
        from goflow.loader import load, pick

        if is_path(file) or not self.config.flows:
            return pick(load(file), name)
        flows = self.flows()
        if file not in flows:
            if os.path.exists(file):  # noqa: PTH110 - no flow, and as a file it is refused by what it is
                load(file)
            raise UnknownFlow(file, flows, "`goflow flows` lists them; a file works too")
        if name not in (None, file):
            raise click.UsageError(
                f"--flow {name}: expected with a file that has several flows, and {file!r} is a flow"
            )
        return flows[file]

    def flows(self, files: tuple[str, ...] = ()) -> dict[str, Flow]:
        """All flows of these files, else of goflow.toml's `flows`."""
        from goflow.loader import load_all, load_files

        if files:
            return load_files(files)
        return load_all(self.config.flows, self.config.base)


class Asking(Session):
    """The surroundings of a command that asks or steers, and executes nobody's code."""

    @cached_property
    def backend(self) -> Backend:
        """The store, opened once; and sooner."""
        if provider(self.config.backend) != "redis":
            return super().backend
        with _without_redis_metrics():
            return super().backend


@contextmanager
def _without_redis_metrics() -> Iterator[None]:
    """Have redis-py do without OpenTelemetry's metrics, which take a fifth of the time it needs to be imported.

    It would report its own metrics to an application's meter. In these commands there is neither; where flows are
    executed there may be, so there it finds what it wants.
    """
    wanted = "opentelemetry.sdk.metrics"
    if wanted in sys.modules or "redis" in sys.modules:
        yield
        return
    sys.modules[wanted] = None  # type: ignore[assignment]  # an import of it is an ImportError
    try:
        yield
    finally:
        del sys.modules[wanted]


def is_path(flow_or_file: str) -> bool:
    """Whether it stands for a file: one that exists, or what can be no flow's name."""
    if os.path.isfile(flow_or_file):  # noqa: PTH113 - pathlib is not loaded here
        return True
    return flow_or_file.endswith(".py") or os.sep in flow_or_file


def put_result(data: bytes) -> None:
    """A result's bytes to stdout exactly; a newline only on a terminal."""
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    if data and not data.endswith(b"\n") and sys.stdout.isatty():
        sys.stdout.buffer.write(b"\n")
    sys.stdout.buffer.flush()


def note(text: str) -> None:
    """Something for the person, not for the pipe: to stderr, without control characters."""
    print(harmless(text), file=sys.stderr)


def harmless(text: str) -> str:
    """Text of anybody's that cannot drive a terminal: control characters become visible."""
    return "".join(c if c.isprintable() or c in "\n\t" else f"\\x{ord(c):02x}" for c in text)
