"""What is told of a node that was executed again: beside how it was recorded, to a person or for `--json`."""

from __future__ import annotations

from typing import Any, Final

from goflow.backend import Attempt, NodeRun
from goflow.drawing.text import duration
from goflow.message import Failure, Step
from goflow.payload import Payload
from goflow.recorded import Again, Recorded
from goflow.workflow import Flow
from goflow_cli.session import note
from goflow_cli.table import clean
from goflow_cli.told import value

#: what a task is called, by the role of the function it runs
WHAT: Final = {
    "work": "",
    "open": " (what opens it)",
    "close": " (what closes it)",
    "handler": "",
}
#: scopes that are named
_NAMED: Final = 10


def tell_code(recorded: Recorded, flow: Flow, path: str, earlier: Attempt | None) -> None:
    """Which node, how it was recorded, and whether its code is what ran then."""
    told: NodeRun | Attempt | None = earlier or recorded.nodes.get(path)
    how = "" if told is None else f", recorded as {told.state} in attempt {max(told.attempt, 1)}"
    if told is not None and told.started is not None and told.finished is not None:
        how += f" after {duration(told.finished - told.started)}"
    note(f"goflow: {path} of run {recorded.run.id}{how}")
    if told is None or not told.digest:
        return
    digest = flow.digest(flow.plan.locate(path).static)
    if digest != told.digest:
        note(f"goflow: its code has changed since ({told.digest} ran then, this is {digest})")


def tell(each: Again, made: Step | None, error: Failure | None) -> None:
    """What a task made, or why it failed, to a person."""
    where = f"{each.task.path}{WHAT[each.role]}"
    if error is not None:
        note(f"goflow: {where} failed:\n{error.detail}{clean(str(error))}")
        return
    assert made is not None
    if made.opened is not None:
        note(f"goflow: {where} opens {_opened(made)}")
    for key, payload in made.writes.items():
        written = "deletes it" if payload is None else _short(payload)
        note(f"goflow: context {key!r}: {written} (not recorded)")
    for arrival in made.arrivals:
        if arrival.payload is not None:
            note(f"goflow: to {arrival.target}: {_short(arrival.payload)}")


def _opened(made: Step) -> str:
    assert made.opened is not None
    keys = made.opened.keys
    count = len(made.opened.items) if keys is None else len(keys)
    if keys is None:
        return "1 scope" if count == 1 else f"{count} scopes"
    more = ", ..." if count > _NAMED else ""
    return f"{count} of them: {', '.join(keys[:_NAMED])}{more}"


def _short(payload: Payload) -> str:
    text = payload.data[:100].decode(errors="replace")
    return clean(text) + ("..." if len(payload.data) > len(text) else "")


def as_record(each: Again, made: Step | None, error: Failure | None) -> dict[str, Any]:
    """The same for `--json`."""
    told: dict[str, Any] = {"role": each.role, "path": each.task.path}
    if error is not None:
        failure = {"type": error.type, "message": error.message, "detail": error.detail}
        return told | {"state": "failed", "error": failure}
    assert made is not None
    told["state"] = "succeeded"
    if made.output is not None:
        told |= {"media_type": made.output.media_type, "result": value(made.output)}
    if made.opened is not None:
        opened = made.opened
        told["keys"] = None if opened.keys is None else list(opened.keys)
        told["scopes"] = len(opened.items)
    writes = {key: None if p is None else value(p) for key, p in made.writes.items()}
    return told | ({"context": writes} if writes else {})


def same_as_recorded(
    recorded: Recorded,
    path: str,
    made: Step | None,
    error: Failure | None,
    earlier: Attempt | None,
) -> bool | None:
    """Whether it came to what is recorded; None where there is nothing to compare."""
    if earlier is not None and earlier.error is not None:
        return error is not None and str(error) == earlier.error
    node = recorded.nodes.get(path)
    output = recorded.output(path)
    if error is not None:
        if node is None or node.failure is None:
            return None if node is None or output is None else False
        return (node.failure.type, node.failure.message) == (error.type, error.message)
    if made is None or made.output is None:
        return None
    if output is None:
        return None if node is None or node.failure is None else False
    return made.output == output
