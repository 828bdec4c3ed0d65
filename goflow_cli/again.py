"""A recorded node executed here, in this process, with nothing recorded: `debug`, and `replay --node`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from types import CodeType
from typing import Any

from msgspec.structs import replace

from goflow.asof import AsOf, Then, then
from goflow.described import describe
from goflow.engine import Read, step
from goflow.errors import Conflict, UnknownFlow, UnknownNode
from goflow.loglines import show_logging
from goflow.message import FINALLY, ON_FAILURE, Failure, Step
from goflow.recorded import Again, Recorded, again, named, rescue
from goflow.workflow import Flow
from goflow_cli.exit_codes import DONE, FAILED
from goflow_cli.session import Session, note, put_result
from goflow_cli.spans import Within
from goflow_cli.table import clean
from goflow_cli.told import print_json
from goflow_cli.told_again import as_record, same_as_recorded, tell, tell_code


def flow_of(
    session: Session, recorded: Recorded, flow_file: str | None, *, trusted: bool = True
) -> Flow:
    """The flow as a file has it now: that of `--flow-file`, of goflow.toml, or where it was recorded.

    A run that is not `trusted` came with somebody's file: what that names is not executed. Says so where
    it is another definition than the run's. Raises UnknownFlow.
    """
    name = recorded.run.flow
    if flow_file is not None:
        flow = session.flow(flow_file, name)
    else:
        found = session.flows().get(name) if session.config.flows else None
        if found is None and not (trusted and os.path.isfile(recorded.file)):  # noqa: PTH113
            advice = "Say which file defines it now: --flow-file FLOW.py"
            if recorded.file:
                advice += f" (where it was recorded that was {clean(recorded.file)})"
            raise UnknownFlow(name, session.flows() if session.config.flows else (), advice)
        flow = found or session.flow(recorded.file, name)
    theirs, ours = recorded.run.fingerprint, flow.plan.fingerprint
    if theirs != ours:
        note(
            f"goflow: {flow.file} defines {name!r} otherwise than the run had it"
            f" ({ours}, the run has {theirs}): nodes or edges differ"
        )
    return flow


def execute(
    recorded: Recorded,
    flow: Flow,
    name: str,
    *,
    pdb: bool,
    as_json: bool,
    number: int | None = None,
    within: Within,
) -> int:
    """Run a node and tell how it went beside how it was recorded: its last attempt, or the one of this number.
    `within` is what each task is executed in. Raises UnknownNode, Conflict."""
    path = named(recorded, name)
    try:
        tasks = again(recorded, flow.plan, path)
    except UnknownNode:
        raise Conflict(f"{flow.file} has no node {path} any more") from None
    if number is not None and tasks[0].role == "open":
        raise Conflict(f"{path} is a branch: what opens and what closes it have no one attempt")
    stood = [then(recorded, each, number) for each in tasks]
    earlier = stood[0].attempt if number is not None else None
    show_logging()
    if not as_json:
        tell_code(recorded, flow, path, earlier)
    trial = _Trial(recorded, flow, pdb=pdb, quiet=as_json, within=within)
    result, error = trial.all(tasks, stood, alone=earlier is not None)
    same = same_as_recorded(recorded, path, result, error, earlier)
    if as_json:
        print_json(
            {
                "run_id": recorded.run.id,
                "path": path,
                "attempt": tasks[0].task.attempt if earlier is None else earlier.attempt,
                "steps": trial.told,
                "same": same,
            }
        )
    else:
        if same is not None:
            note(f"goflow: {'the same as' if same else 'another end than'} is recorded")
        if result is not None and result.output is not None:
            put_result(result.output.data)
    return DONE if error is None else FAILED


class _Trial:
    """Tasks of one node executed here, and what is told of them: to a person, or (`quiet`) for `--json`."""

    def __init__(
        self, recorded: Recorded, flow: Flow, *, pdb: bool, quiet: bool, within: Within
    ) -> None:
        self._recorded = recorded
        self._flow = flow
        self._pdb = pdb
        self._quiet = quiet
        self._within = within
        self.told: list[dict[str, Any]] = []

    def all(
        self, tasks: Sequence[Again], stood: Sequence[Then], *, alone: bool
    ) -> tuple[Step | None, Failure | None]:
        """Each in its turn, up to one that fails; unless it is `alone`, the node's `on_failure` comes after that.
        How the last one ended."""
        result, error = None, None
        for each, moment in zip(tasks, stood, strict=True):
            result, error = self._one(each, moment)
            if error is None:
                continue
            handled = (
                each.role != "handler" and self._flow.plan.locate(each.task.path).node.on_failure
            )
            if handled and not alone:
                if not self._quiet:
                    note("goflow: its on_failure comes next")
                handler = Again("handler", rescue(each.task, error), each.inputs)
                result, error = self._one(handler, then(self._recorded, handler))
            break
        return result, error

    def _one(self, each: Again, moment: Then) -> tuple[Step | None, Failure | None]:
        if each.role != "open" and moment.attempt is not None:
            attempt = moment.attempt
            each = each._replace(
                task=replace(each.task, attempt=attempt.attempt, token=attempt.token)
            )
        notes: list[str] = []
        read = AsOf(self._recorded, moment, notes.append if self._quiet else _say).read
        with self._within(self._flow.plan, each.task):
            result, error = _attempt(read, self._flow, each, pdb=self._pdb)
        self.told.append(as_record(each, result, error) | ({"notes": notes} if notes else {}))
        if not self._quiet:
            tell(each, result, error)
        return result, error


def _say(text: str) -> None:
    note(f"goflow: {clean(text)}")


def _attempt(
    read: Read, flow: Flow, each: Again, *, pdb: bool
) -> tuple[Step | None, Failure | None]:
    """One task: what it made, or why it failed."""

    def work() -> Step:
        return step(flow, each.task, each.inputs, read=read)

    try:
        if not pdb:
            with _prints_to_stderr():
                return work(), None
        from goflow_cli.debugger import Debugger

        return Debugger(_functions(flow, each)).run_until(work), None
    except (Exception, SystemExit) as error:
        if pdb:
            from goflow_cli.debugger import Left, post_mortem

            if isinstance(error, Left):
                raise
            post_mortem(error)
        return None, describe(error, each.task.path)


def _functions(flow: Flow, each: Again) -> list[CodeType]:
    """The code of the author's functions that a task calls, as far as there is any."""
    path = each.task.path
    if path in (ON_FAILURE, FINALLY):
        called = [flow.handlers["on_failure" if path == ON_FAILURE else "finally_"]]
    else:
        code = flow.code[flow.plan.locate(path).static]
        gathers = [code.aggregator] if code.aggregator is not None else []
        if each.task.failure is not None:
            called = [code.on_failure] if code.on_failure is not None else []
        elif each.role == "open":
            called = [code.choose] if code.choose is not None else []
        else:
            called = [*gathers, *(code.works if each.role == "work" else ())]
        called += code.forwarders.values()
    return [function.code for function in called if function.code is not None]


@contextmanager
def _prints_to_stderr() -> Iterator[None]:
    """The result alone goes to stdout: what the node and its child processes print does not."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)
