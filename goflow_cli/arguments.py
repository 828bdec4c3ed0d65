"""The arguments commands share: a run id, a flow name; both complete in the shell."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from goflow.errors import GoflowError

_C = TypeVar("_C", bound=Callable[..., Any])


class RunId(click.ParamType[str]):
    """A run id; completes to the newest runs."""

    name = "run"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        return _complete(_runs, incomplete)


class FlowName(click.ParamType[str]):
    """A flow's name; completes to those the store and goflow.toml know."""

    name = "flow"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        return _complete(_flows, incomplete)


class FlowOrFile(FlowName):
    """A flow file or a flow's name; completes to the names, and to files where none fits."""

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        files = CompletionItem(incomplete, type="file")  # first: what comes later adds to it
        return [files, *super().shell_complete(ctx, param, incomplete)]


def run_argument(command: _C) -> _C:
    """RUN, as `run_id`."""
    return click.argument("run_id", metavar="RUN", type=RunId())(command)


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
