"""The arguments commands share: run ids, flow names, nodes, limits. Run ids and flow names complete in the shell."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from goflow.errors import GoflowError

_C = TypeVar("_C", bound=Callable[..., Any])


#: more than any list shows, and than a store could be asked for
MOST = 1_000_000_000


class Name(click.ParamType[str]):
    """Text that a store can be asked for: an argument that is not UTF-8 comes with halves of letters in it."""

    name = "name"
    #: what is said where it is missing: what is expected, and where one is found
    missing = ""

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            value.encode()
        except UnicodeEncodeError:
            self.fail(f"expected UTF-8 text, got {os.fsencode(value)!r}", param, ctx)
        return value

    def get_missing_message(self, param: click.Parameter, ctx: click.Context | None) -> str | None:
        return self.missing or None


class RunId(Name):
    """A run id; completes to the newest runs."""

    name = "run"
    missing = "Expected a run id; `goflow runs` lists them."

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        return _complete(_runs, incomplete)


class FailedRunId(RunId):
    """The id of a run that failed."""

    missing = "Expected ids of runs that failed; `goflow dead list` lists them."


class NodePath(Name):
    """A node of a run: its path, or where that is unique its plain name."""

    name = "node"
    missing = "Expected a node's path; `goflow show RUN` lists them."


class RunFile(click.ParamType[str]):
    """A file that `goflow export` wrote."""

    name = "file"

    def get_missing_message(self, param: click.Parameter, ctx: click.Context | None) -> str | None:
        return "Expected an exported run; `goflow export RUN -o FILE` writes one."


class FlowName(Name):
    """A flow's name; completes to those the store and goflow.toml know."""

    name = "flow"
    missing = "Expected a flow's name; `goflow flows` lists those that are known."

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        return _complete(_flows, incomplete)


class FlowOrFile(FlowName):
    """A flow file or a flow's name; completes to the names, and to files where none fits."""

    missing = (
        "Expected a flow file, such as flow.py (`goflow init` writes a first one), or a flow's name"
        " (`goflow flows` lists those that are known)."
    )

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from goflow_cli.session import is_path

        return value if is_path(value) else super().convert(value, param, ctx)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        files = CompletionItem(incomplete, type="file")  # first: what comes later adds to it
        return [files, *super().shell_complete(ctx, param, incomplete)]


def run_argument(command: _C) -> _C:
    """RUN, as `run_id`."""
    return click.argument("run_id", metavar="RUN", type=RunId())(command)


def limit_option(command: _C) -> _C:
    """`--limit`, on what lists."""
    number = click.IntRange(1, MOST)
    return click.option("--limit", metavar="N", type=number, default=20, show_default=True)(command)


def _complete(source: Callable[[], Iterable[tuple[str, str]]], prefix: str) -> list[CompletionItem]:
    try:
        return [CompletionItem(n, help=text) for n, text in source() if n.startswith(prefix)]
    except GoflowError:
        return []  # a store that cannot be read completes nothing; the command itself will say why


def _runs() -> list[tuple[str, str]]:
    from goflow_cli.session import Session

    return [(run.id, f"{run.flow} {run.state}") for run in Session().backend.runs(limit=50)]


def _flows() -> list[tuple[str, str]]:
    from goflow_cli.session import Session

    session = Session()
    names = {definition.flow: definition.file for definition in session.backend.definitions()}
    return sorted((names | {flow: f.file for flow, f in session.flows().items()}).items())
