"""Recording outcomes, fenced by the token under which a task is held."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from goflow.message import Item, Opened, Outcome, Step, Task, pack
from goflow.state import RunState
from goflow_local.change import Change
from goflow_local.context import access
from goflow_local.ending import end, proceed
from goflow_local.rows import (
    FAILED,
    HANDLERS,
    HELD,
    OPEN,
    READY,
    RETRYING,
    STOPPED,
    SUCCEEDED,
    Held,
    RunRow,
    code_of,
    fence,
)

_READ = (
    "SELECT id, run, path, state, token, attempt, lost, worker, staged, items, queued FROM node"
    " WHERE id = ?"
)
_SUCCEED = (
    "UPDATE node SET state = ?, finished = ?, digest = ?, failure = NULL, doomed = 0,"
    " rescue = 0,"
    " started = CASE WHEN width IS NULL THEN ? ELSE started END WHERE id = ?"
)
_UNFINISH = (
    "UPDATE node SET state = ?, attempt = ?, lost = 0, due = ?, failure = ?, rescue = ?, doomed = 0,"
    " started = CASE WHEN width IS NULL THEN ? ELSE started END, finished = ?, digest = ?"
    " WHERE id = ?"
)
_RELEASE = (
    f"UPDATE node SET state = {READY}, token = 0, doomed = 0,"
    " started = CASE WHEN width IS NOT NULL THEN started END"
    " WHERE id = ?"
)
_OUTPUT = "INSERT OR REPLACE INTO output VALUES (?, ?, ?)"
_LOG = "INSERT INTO log VALUES (?, ?, ?, ?, ?, ?, ?)"
_ATTEMPT = "INSERT INTO attempt VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_ITEM = "INSERT INTO item VALUES (?, ?, ?, ?, ?, ?)"

#: bytes of an output from which its statement is not kept: with it SQLite would keep the output until the next one
_LARGE: Final = 1 << 20


def commit(change: Change, outcomes: Sequence[Outcome]) -> list[bool]:
    """Record what became of tasks. One bool each: whether the task was (still) theirs to settle."""
    fences = [fence(outcome.task.token) for outcome in outcomes]
    found = _held(change, [node for node, _ in fences])
    accepted = []
    settled: set[int] = set()
    touched: dict[int, RunRow] = {}
    good: list[tuple[RunRow, Held, Outcome, Step]] = []
    bad: list[tuple[RunRow, Held, Outcome]] = []
    for outcome, (node, token) in zip(outcomes, fences, strict=True):
        held = found.get(node)
        mine = held is not None and held.token == token
        accepted.append(mine)
        if held is None or not mine or held.state != HELD or node in settled:
            continue  # not its holder's any more, or the same outcome again
        settled.add(node)
        run = touched[held.run] = change.run(held.run)
        run.next()
        if outcome.step is not None:
            good.append((run, held, outcome, outcome.step))
        else:
            bad.append((run, held, outcome))
        if outcome.log:
            _log(change, run, held, outcome.finished, outcome.log)
    if good:
        _succeed(change, good)
    for run, held, outcome in bad:
        _fail(change, run, held, outcome)
    for run in touched.values():
        if run.ending is not None:
            proceed(change, run)
    return accepted


def _held(change: Change, nodes: Sequence[int]) -> dict[int, Held]:
    """The rows of these nodes, of those that there are."""
    known = {} if change.memory is None else change.memory.held
    found = {node: known.pop(node) for node in nodes if node in known}
    if len(found) < len(nodes):
        missing = [(node,) for node in nodes if node not in found]
        for row in change.connection.executemany(_READ, missing):
            found[row[0]] = Held(*row)
    return found


def _succeed(change: Change, good: Sequence[tuple[RunRow, Held, Outcome, Step]]) -> None:
    """Results first, then what they send on, so that what becomes ready finds everything."""
    states, outputs = [], []
    for run, held, outcome, step in good:
        state = SUCCEEDED if step.opened is None else OPEN
        finished = outcome.finished if step.opened is None else None
        states.append((state, finished, outcome.digest, outcome.started, held.id))
        if step.output is not None:
            outputs.append((held.id, code_of(step.output.media_type), step.output.data))
        if outcome.touches:
            access(change, run, held.path, held.attempt, outcome)
        for arrival in step.arrivals:
            change.arrive(run, held.id, arrival)
    change.connection.executemany(_SUCCEED, states)
    small = all(len(data) < _LARGE for *_, data in outputs)
    change.connection.executemany(_OUTPUT, outputs, can_cache=small)
    for run, held, _, step in good:
        if step.opened is not None:
            _open(change, run, held, step.opened)
    change.settle_nodes()
    for run, held, _, step in good:
        if step.ends:
            run.result = held.id
            run.altered = True
            if run.ending is None:
                end(change, run, RunState.SUCCEEDED)


def _open(change: Change, run: RunRow, held: Held, opened: Opened) -> None:
    """Make a branch's scopes visible, staged ones and new ones, as far as its window goes."""
    staged = held.staged == held.token
    items = add_items(change, held.id, (held.items or 0) if staged else 0, opened.items)
    if opened.keys is not None:
        keys = pack(opened.keys)
        change.execute("INSERT OR REPLACE INTO opening VALUES (?, ?)", (held.id, keys))
    change.execute(
        "UPDATE node SET width = ?, window = ?, items = ?, released = 0, done = 0, attempt = 1,"
        " lost = 0 WHERE id = ?",
        (opened.expects, opened.window, items, held.id),
    )
    spot = change.spot(run, held.path, 0)
    assert spot is not None
    change.check_closing(run, spot)


def add_items(change: Change, node: int, count: int, items: Sequence[Item]) -> int:
    """Write scopes behind the `count` there are (0: what an earlier attempt staged goes first)."""
    if count == 0:
        drop_items(change, node)
    rows = [
        (
            node, count + n, item.prefix, "/".join(item.starts),
            code_of(item.payload.media_type), item.payload.data,
        )
        for n, item in enumerate(items)
    ]  # fmt: skip
    change.connection.executemany(_ITEM, rows)
    return count + len(rows)


def drop_items(change: Change, node: int) -> None:
    """Forget the scopes that an attempt staged which came to nothing."""
    change.execute("DELETE FROM item WHERE node = ?", (node,))


def printed(change: Change, pieces: Sequence[tuple[Task, bytes]]) -> None:
    """Record what tasks that are held print."""
    for task, data in pieces:
        node, token = fence(task.token)
        row = change.execute(_READ, (node,)).fetchone()
        held = None if row is None else Held(*row)
        if held is not None and held.state == HELD and held.token == token:
            _log(change, change.run(held.run), held, change.now, data)


def _log(change: Change, run: RunRow, held: Held, time: float, data: bytes) -> None:
    change.execute(_LOG, (run.key, run.next(), held.path, run.round, held.attempt, time, data))


def record_attempt(
    change: Change,
    run: RunRow,
    node: tuple[str, int, int],
    state: str,
    times: tuple[float | None, float, float],
    error: str | None,
    *,
    token: str,
    digest: str = "",
) -> None:
    """Keep an attempt that is not the one which made the node's result. `node`: path, attempt, worker;
    `times`: queued, started, finished."""
    path, attempt, worker = node
    queued, started, finished = times
    place = (run.key, run.next(), path, run.round, attempt, state)
    row = (*place, started, finished, error, worker, digest, queued, token)
    change.execute(_ATTEMPT, row)


def _fail(change: Change, run: RunRow, held: Held, outcome: Outcome) -> None:
    """Everything but success: what the node is now, and whether the run goes on."""
    if held.staged == held.token:
        drop_items(change, held.id)
    if outcome.released:
        change.execute(_RELEASE, (held.id,))
        change.enqueue(run, held.id, held.path)
        return
    handler = held.path in HANDLERS
    state = FAILED if handler and not outcome.stopped else _after(run, outcome)
    failure = outcome.failure
    _keep_attempt(change, run, held, outcome)
    if outcome.touches:
        access(change, run, held.path, held.attempt, outcome)
    change.execute(
        _UNFINISH,
        (
            state,
            held.attempt + (state == RETRYING),
            outcome.retry_at if run.ending is None else None,
            None if failure is None else pack(failure),
            outcome.rescue,
            outcome.started,
            outcome.finished,
            outcome.digest,
            held.id,
        ),
    )
    if state == READY:
        change.enqueue(run, held.id, held.path)
    if state == FAILED and run.ending is None:
        end(change, run, RunState.FAILED, outcome.failure)


def _after(run: RunRow, outcome: Outcome) -> int:
    """A node's state after an attempt that came to nothing."""
    if outcome.rescue:
        return READY
    if outcome.stopped:
        return READY if run.ending is None else STOPPED
    return FAILED if outcome.retry_at is None else RETRYING


def _keep_attempt(change: Change, run: RunRow, held: Held, outcome: Outcome) -> None:
    failure = outcome.failure
    record_attempt(
        change,
        run,
        (held.path, held.attempt, held.worker),
        "stopped" if failure is None else "failed",
        (held.queued, outcome.started, outcome.finished),
        None if failure is None else str(failure),
        token=outcome.task.token,
        digest=outcome.digest,
    )
