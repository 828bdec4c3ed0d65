"""Waiting for a run that others execute: woken, never polling."""

from __future__ import annotations

import time
from threading import TIMEOUT_MAX

import click

from goflow.backend import Backend, Run
from goflow.plan import Plan
from goflow_cli.ending import print_end
from goflow_cli.exit_codes import INTERRUPTED, TIMED_OUT
from goflow_cli.session import Session, note


class Seconds(click.ParamType[float]):
    """A time in seconds, with an s or without; for ever where it is longer than any clock counts."""

    name = "seconds"

    def __init__(self, least: float = 0.0, most: float | None = None) -> None:
        self._least = least
        self._most = most

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        try:
            seconds = float(str(value).removesuffix("s"))
        except ValueError:
            self.fail(f"expected seconds, such as 30, got {value!r}", param, ctx)
        if not seconds >= self._least:
            self.fail(f"expected seconds >= {self._least:g}, got {value!r}", param, ctx)
        if self._most is not None and seconds > self._most:
            self.fail(f"expected seconds <= {self._most:g}, got {value!r}", param, ctx)
        return seconds if seconds < TIMEOUT_MAX else float(FOREVER)


class WaitCommand(click.Command):
    """A command whose `--wait` may be followed by a number, and leaves any other word alone."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        prepared: list[str] = []
        for position, word in enumerate(args):
            prepared.append(word)
            if word == "--":
                prepared += args[position + 1 :]
                break
            following = args[position + 1] if position + 1 < len(args) else ""
            if word == "--wait" and not _is_number(following):
                prepared[-1] = f"--wait={FOREVER}"
        return super().parse_args(ctx, prepared)


#: what a bare `--wait` means
FOREVER = "inf"
#: seconds after which a killed owner is noticed by whoever waits for its run
OWNER_LOOK = 1.0


def wait_watching(
    session: Session, run: Run, seconds: float | None, *, as_json: bool = False, live: bool = False
) -> int:
    """Wait for the end of a run and print it; with `live` it is watched meanwhile.

    Ctrl-C stops the waiting, not the run.
    """
    from goflow_cli.watching import watch

    backend = session.backend
    bounded = seconds is not None and seconds != float(FOREVER)
    deadline = time.monotonic() + seconds if bounded and seconds is not None else None
    plan = Plan.from_json(backend.definition(run.flow, run.fingerprint).plan)
    try:
        if not run.state.terminal:
            tell_worker(backend, run)
        ended = watch(backend, plan, run.id, deadline, patience(run), quiet=not live)
    except KeyboardInterrupt:
        note(f"goflow: run {run.id} goes on; `goflow result {run.id} --wait` waits again")
        return INTERRUPTED
    if not ended.state.terminal and not ended.abandoned:
        note(f"goflow: run {run.id} has not ended after {seconds:g} s: it is {ended.state}")
        return TIMED_OUT
    return print_end(backend, ended, as_json=as_json)


def patience(run: Run) -> float | None:
    """Seconds to sleep at most before looking again: a killed owner wakes nobody. None: until woken."""
    return OWNER_LOOK if run.owner else None


def tell_worker(backend: Backend, run: Run) -> None:
    """Say on stderr that nobody is there to execute a run, where that is so."""
    from goflow_cli.watching import has_worker

    if run.owner:
        return
    if has_worker(backend, run):
        return
    workers = [worker for worker in backend.workers() if worker.alive]
    reason = (
        f"no worker has this definition of {run.flow!r} ({run.fingerprint})"
        if any(run.flow == name for worker in workers for name, _ in worker.flows)
        else f"no worker knows the flow {run.flow!r}"
    )
    note(f"goflow: {reason}; run {run.id} waits until `goflow worker FILE` is started")


def _is_number(word: str) -> bool:
    try:
        float(word.removesuffix("s"))
    except ValueError:
        return False
    return True
