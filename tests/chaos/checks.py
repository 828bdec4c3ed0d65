"""What must hold when an episode is over, whatever was done to it. Every check answers what it found wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from math import inf

from goflow.backend import Backend
from goflow.errors import RunFailed, UnknownRun
from goflow.state import NodeState, RunState
from tests.chaos.load import Submitted
from tests.chaos.oracle import BEGINNINGS, Line, Oracle
from tests.chaos.world import LEASE, World

#: seconds after a run's end in which an attempt that had begun before may still say something
AFTER_END = LEASE + 1.0
#: seconds by which times of the store and of a worker may differ, one machine's clock apart: both are cut to ms
CUT = 0.01


def judge(
    backend: Backend,
    oracle: Oracle,
    runs: Collection[Submitted],
    repeats: int,
    *,
    steady: float = inf,
) -> list[str]:
    """Everything that is wrong; `repeats` executions are explained by what was done. `steady` is when the first clock
    was set, by the monotonic one."""
    by_run: dict[str, list[Line]] = {}
    for line in oracle.lines():
        by_run.setdefault(line.run, []).append(line)
    problems: list[str] = []
    for run in runs:
        lines = by_run.get(run.id, [])
        problems += run_is_as_expected(backend, run)
        problems += each_node_is_recorded_once(backend, run, lines)
        problems += nothing_late_is_recorded(backend, run, lines, steady)
        problems += nothing_starts_before_its_inputs(run, lines)
        problems += nothing_runs_after_the_end(run, lines)
    excess = repeated(backend, oracle, runs)
    if sum(excess.values()) > repeats:
        problems.append(
            f"{sum(excess.values())} executions were repeated, {repeats} explained: {excess}"
        )
    return problems


def run_is_as_expected(backend: Backend, run: Submitted) -> Iterator[str]:
    """It has ended, with the result of an undisturbed run or as that one fails."""
    try:
        found = backend.run(run.id)
    except UnknownRun:
        yield f"{run.id} was accepted and is gone"
        return
    if not found.state.terminal:
        yield f"{run.id} has not ended: {found.state}"
        return
    try:
        result = backend.result(run.id)
    except RunFailed as failed:
        if failed.error != run.expected.error:
            yield f"{run.id} failed: {failed.error!r}, expected {run.expected.error!r}"
    else:
        if result != run.expected.result:
            yield f"{run.id} made {result}, expected {run.expected.result}"


def each_node_is_recorded_once(
    backend: Backend, run: Submitted, lines: list[Line]
) -> Iterator[str]:
    """One outcome per node: what an undisturbed run makes of it, and what some attempt was seen to make."""
    try:
        nodes = backend.nodes(run.id)
    except UnknownRun:
        return
    for path, count in Counter(node.path for node in nodes).items():
        if count > 1:
            yield f"{run.id} {path} is recorded {count} times"
    done = Counter(
        (each.path, each.round) for each in backend.attempts(run.id) if each.state == "succeeded"
    )
    made = {(line.path, line.value) for line in lines if line.what == "end"}
    ended = {line.path for line in lines if line.what == "end"}
    for node in nodes:
        if node.state is not NodeState.SUCCEEDED or node.path.startswith("~"):
            continue
        output = backend.output(run.id, node.path)
        if output != run.expected.outputs.get(node.path):
            yield f"{run.id} {node.path} made {output}, expected {run.expected.outputs.get(node.path)}"
        if node.path in ended and output is not None and (node.path, output.text()) not in made:
            yield f"{run.id} {node.path} has a result that nobody was seen to make"
        if node.path in ended and sum(done[node.path, r] for r in range(1, 50)) != 1:
            yield f"{run.id} {node.path} succeeded in {done} attempts"
    recorded = {node.path for node in nodes if node.state is NodeState.SUCCEEDED}
    if backend.run(run.id).state is RunState.SUCCEEDED:
        for path in run.expected.outputs.keys() - recorded - {"~finally", "~on_failure"}:
            yield f"{run.id} succeeded without {path}"


def nothing_late_is_recorded(
    backend: Backend, run: Submitted, lines: list[Line], steady: float
) -> Iterator[str]:
    """What is recorded of a node began after the task was queued under whose token it is recorded: else it is the result
    of somebody from whom the task had been taken by then."""
    try:
        attempts = backend.attempts(run.id)
    except UnknownRun:
        return
    nodes = {line.path for line in lines if line.what == "end"}  # branches are queued twice
    nodes -= {line.path for line in lines if line.at > steady}
    for each in attempts:
        if each.state != "succeeded" or each.path not in nodes or each.ready is None:
            continue
        if each.started < each.ready - CUT:
            yield (
                f"{run.id} {each.path} is recorded as executed {each.ready - each.started:.3f} s before the task"
                " was queued whose result it is"
            )


def nothing_starts_before_its_inputs(run: Submitted, lines: list[Line]) -> Iterator[str]:
    """Whatever leads to a node has been seen to end before the node began."""
    ended: set[str] = set()
    speaking = {_moment(run, line) for line in lines}
    for line in lines:
        moment = _moment(run, line)
        if line.what in BEGINNINGS or moment.endswith("!"):
            missing = _last_words(moment, run, speaking) - ended
            if missing:
                yield f"{run.id} {moment} began before {sorted(missing)[:5]} had ended"
        if line.what in ("end", "rescue", "open") or moment.endswith("!"):
            ended.add(moment)


def _moment(run: Submitted, line: Line) -> str:
    """What a line is about, as `Expectation.before` calls it."""
    closing = f"{line.path}!"
    return closing if line.what == "join" and closing in run.expected.before else line.path


def _last_words(moment: str, run: Submitted, speaking: set[str]) -> set[str]:
    """What leads to it and says something; behind what says nothing, what leads to that."""
    found: set[str] = set()
    for before in run.expected.before.get(moment, ()):
        found |= {before} if before in speaking else _last_words(before, run, speaking)
    return found


def nothing_runs_after_the_end(run: Submitted, lines: list[Line]) -> Iterator[str]:
    """An attempt that had begun before may go on for a lease; nothing else does."""
    if run.ended is None:
        return
    for line in lines:
        if line.what in BEGINNINGS and line.at > run.ended + AFTER_END:
            yield f"{run.id} {line.path} began {line.at - run.ended:.1f} s after the run had ended"


def repeated(backend: Backend, oracle: Oracle, runs: Collection[Submitted]) -> Counter[str]:
    """Executions beyond the attempts whose outcome was recorded, by run and node."""
    excess: Counter[str] = Counter()
    recorded: dict[str, Counter[str]] = {}
    for run in runs:
        try:
            attempts = backend.attempts(run.id)
            recorded[run.id] = Counter(each.path for each in attempts if each.state != "lost")
        except UnknownRun:
            recorded[run.id] = Counter()
    for (name, path), count in oracle.executions().items():
        if name in recorded and count > recorded[name][path]:
            excess[f"{name} {path}"] = count - recorded[name][path]
    return excess


def nothing_is_left(world: World) -> list[str]:
    """Once the workers have gone: no task, key, process or file that nobody needs."""
    problems = [f"left in the store: {each}" for each in world.stage.leftovers()]
    problems += [f"process {pid} is left" for pid in world.processes()]
    problems += [f"{file} is left" for file in world.strays()]
    told = world.told()
    for word in ("Traceback", "mistake", "Error in"):
        if word in told:
            problems.append(f"a worker wrote {word!r}: {told[told.index(word) :][:3000]}")
    return problems
