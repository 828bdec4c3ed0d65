"""`goflow doctor`: is everything as it should be, and if not, what to do."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator
from typing import Final

import click
import msgspec

from goflow.backend import Backend, Diagnosable, Finding
from goflow.config import Config, find
from goflow.errors import GoflowError
from goflow.layers import display
from goflow_cli.commands.check import configuration, named_files
from goflow_cli.exit_codes import DONE, FAILED
from goflow_cli.session import Session, backend_option, harmless, json_option
from goflow_cli.told import print_json

#: what goflow stands on, as packages are called
PACKAGES: Final = ("goflow-cli", "msgspec", "apsw", "redis")


@click.command()
@click.option("--fix", is_flag=True, help="Repair what can be repaired without loss.")
@backend_option
@json_option
def doctor(fix: bool, backend: str | None, as_json: bool) -> int:
    """Check configuration, flows, versions and the store, and say what to do.

    Ends with 1 where a problem remains; a warning is none.
    """
    found: list[Finding] = []
    for finding in _findings(fix, backend):
        found.append(finding)
        if not as_json:
            word = _word(finding)
            text = " ".join(finding.text.split())  # some errors are lists
            print(harmless(f"{word:<7}  {finding.name}: {text}"), flush=True)
    healthy = all(finding.ok for finding in found)
    if as_json:
        print_json({"ok": healthy, "findings": msgspec.to_builtins(found)})
    return DONE if healthy else FAILED


def _word(finding: Finding) -> str:
    if finding.fixed:
        return "fixed"
    if finding.warning:
        return "warning"
    return "ok" if finding.ok else "problem"


def _findings(fix: bool, backend: str | None) -> Iterator[Finding]:
    yield _versions()
    yield _start_method()
    problems: list[str] = []
    config = configuration((), problems)
    if config is None:
        yield from (_problem("configuration", text) for text in problems)
        return
    yield Finding(
        name="configuration", ok=True, text=find() or "no goflow.toml: all is as by default"
    )
    yield from _store(fix, backend)  # before flow files can change sys.path
    yield from _flows(config)


def _versions() -> Finding:
    from importlib.metadata import version

    told = [f"Python {platform.python_version()}"]
    told += [f"{package} {version(package)}" for package in PACKAGES]
    return Finding(name="versions", ok=True, text=", ".join([*told, platform.platform()]))


def _start_method() -> Finding:
    """How children come to be, which a flow file may notice."""
    from goflow.starting import start_method

    return Finding(name="children", ok=True, text=f"started by {start_method()} ({sys.platform})")


def _flows(config: Config) -> Iterator[Finding]:
    from goflow.loader import load

    problems: list[str] = []
    files = named_files(config, problems)
    yield from (_problem("flows", text) for text in problems)
    seen: dict[str, str] = {}
    for file in files:
        try:
            flows = load(file)
        except GoflowError as error:
            yield _problem("flows", str(error))
            continue
        for name in flows:
            if seen.setdefault(name, file) != file:
                yield _problem("flows", f"{name!r} is defined in {seen[name]} and in {file}")
        yield Finding(name="flows", ok=True, text=f"{display(file)}: {', '.join(flows)}")
    if not files and not problems:
        yield Finding(name="flows", ok=True, text="goflow.toml names none")


def _store(fix: bool, backend: str | None) -> Iterator[Finding]:
    try:
        store = Session(None, backend).backend
    except GoflowError as error:
        yield _problem("backend", str(error))
        return
    yield Finding(name="backend", ok=True, text=f"{store.name} can be reached")
    sound = True
    try:
        if isinstance(store, Diagnosable):
            for found in store.diagnose(fix):
                sound = sound and found.ok
                yield found
        yield from _unserved(store)
    except GoflowError as error:
        if sound:  # else it is what has been named already that cannot be read
            yield _problem("backend", str(error))


def _unserved(store: Backend) -> Iterator[Finding]:
    """Ready tasks that no living worker can take; a warning, for it may be about to be started."""
    served = {key for worker in store.workers() if worker.alive for key in worker.flows}
    flows = {flow for flow, _ in served}
    waiting = {key: count for key, count in store.waiting().items() if key not in served}
    for (flow, fingerprint), count in sorted(waiting.items()):
        what = f"this definition of {flow!r} ({fingerprint})" if flow in flows else repr(flow)
        many = "1 task waits" if count == 1 else f"{count} tasks wait"
        text = f"{many} and no worker knows {what}: `goflow explain RUN` says what each run needs"
        yield Finding(name="waiting work", ok=True, warning=True, text=text)
    if not waiting:
        yield Finding(name="waiting work", ok=True, text="all of it has workers")


def _problem(name: str, text: str) -> Finding:
    return Finding(name=name, ok=False, text=text)
