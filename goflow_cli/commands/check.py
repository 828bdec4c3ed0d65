"""`goflow check`: everything wrong with flow files and configuration, at once."""

from __future__ import annotations

import glob
import os

import click

from goflow.config import Config, find, load_config
from goflow.errors import GoflowError
from goflow.layers import display
from goflow.loader import load
from goflow_cli.exit_codes import DONE, FAILED
from goflow_cli.session import json_option
from goflow_cli.told import print_json


@click.command()
@click.argument("files", metavar="[FILE]...", nargs=-1)
@json_option
def check(files: tuple[str, ...], as_json: bool) -> int:
    """Load and validate FILEs (else goflow.toml's flows) and the configuration.

    Ends with 1 where there are problems, all of which are told.
    """
    problems: list[str] = []
    flows: list[dict[str, object]] = []
    config = configuration(files, problems)
    seen: dict[str, str] = {}
    for file in files or named_files(config, problems):
        try:
            found = load(file)
        except GoflowError as error:
            problems.append(str(error))
            continue
        for name, flow in found.items():
            flows.append({"flow": name, "nodes": flow.plan.size, "file": flow.file})
            if seen.setdefault(name, flow.file) != flow.file:
                problems.append(f"flow {name!r} is defined in {seen[name]} and in {flow.file}")
    if as_json:
        print_json({"ok": not problems, "problems": problems, "flows": flows})
    else:
        for flow_told in flows:
            count = flow_told["nodes"]
            nodes = f"{count} node" + "s" * (count != 1)
            print(f"ok  {flow_told['flow']} ({nodes})  {display(str(flow_told['file']))}")
        for problem in problems:
            click.echo(f"problem  {problem}", err=True)
        if not flows and not problems:
            click.echo(
                "goflow: nothing to check: give files, or name them in goflow.toml", err=True
            )
    return FAILED if problems else DONE


def configuration(files: tuple[str, ...], problems: list[str]) -> Config | None:
    """The configuration of the first file's folder; what is wrong with it becomes a problem."""
    try:
        return load_config(files[0] if files else None)
    except GoflowError as error:
        problems.append(str(error))
        return None


def named_files(config: Config | None, problems: list[str]) -> list[str]:
    """The files that goflow.toml's `flows` mean; a pattern that means none becomes a problem."""
    if config is None:
        return []
    named: list[str] = []
    for pattern in config.flows:
        matched = sorted(glob.glob(os.path.join(config.base, pattern), recursive=True))  # noqa: PTH207, PTH118
        if not matched:
            problems.append(f"{find() or 'GOFLOW_FLOWS'}: flows: nothing matches {pattern!r}")
        named += matched
    return named
