"""Whether a run as a backend tells it is the run as the model has it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from goflow.backend import Backend, NodeRun, Versioned
from goflow.state import NodeState, RunState
from goflow.testing.model import SETTLED, ModelRun
from goflow.testing.model_node import ModelNode
from goflow.wholesale import OneLook, Ordered

#: states of a node that the model leaves to the store: when what a run leaves behind is settled
_LEFT = SETTLED - {NodeState.SUCCEEDED}


def agree(backend: Backend, model: ModelRun, *, late: bool = False) -> int:
    """Assert that run and node states, results and attempts are those of the model; the revision. `late`: what is ready
    may wait to be shown."""
    run_id = model.request.run_id
    run = backend.run(run_id)
    assert (run.state, run.round) == (model.state, model.round)
    assert model.terminal or run.ending == model.ending
    assert (run.finished is not None) == model.terminal
    assert run.failure == model.failure
    assert run.owner == model.owner
    assert run.abandoned == model.orphan
    _compare_nodes(backend, model, backend.nodes(run_id), late)
    _compare_attempts(backend, model)
    _compare_tries(backend, run_id, run.round)
    _compare_versions(backend, model)
    if model.state is RunState.SUCCEEDED:
        assert backend.result(run_id) == model.nodes[model.end].output
    return run.revision


def _compare_nodes(backend: Backend, model: ModelRun, nodes: Sequence[NodeRun], late: bool) -> None:
    found = {node.path: node for node in nodes}
    assert len(found) == len(nodes), "a node instance is recorded twice"
    assert set(found) <= set(model.nodes)
    for path, node in model.nodes.items():
        if path not in found and node.state is NodeState.READY and model.ending is not None:
            continue  # a scope that opened too late to start may be recorded in the next round
        state = found[path].state if path in found else NodeState.WAITING
        if late and node.state is NodeState.READY and state is NodeState.WAITING:
            continue
        assert state in _possible(model, node), f"{path}: {state}, expected {node.state}"
        if node.state in (NodeState.SUCCEEDED, NodeState.WAITING):
            assert backend.output(model.request.run_id, path) == node.output
        if path in found and node.width:
            assert (found[path].width, found[path].done) == (node.width, len(node.closings))


def _compare_attempts(backend: Backend, model: ModelRun) -> None:
    """Every accepted outcome once; how often a branch succeeds (opens, closes) is the store's own."""
    told = Counter((a.path, a.state) for a in backend.attempts(model.request.run_id))
    known = Counter(model.recorded)
    for path, how in known.keys() | told.keys():
        if how == "succeeded" and model.is_branch(path):
            assert told[path, how] >= known[path, how]
        elif how in ("succeeded", "failed", "stopped"):
            assert told[path, how] == known[path, how]


def _compare_tries(backend: Backend, run_id: str, round_: int) -> None:
    """One look shows what two do, and leaves out no attempt that its node's record does not tell."""
    if not isinstance(backend, OneLook):
        return
    nodes, tries = backend.nodes_and_tries(run_id)
    assert nodes == backend.nodes(run_id)
    attempts = backend.attempts(run_id)
    often = Counter(each.path for each in attempts)
    assert tries == [each for each in attempts if each in tries]
    for each in attempts:
        told_by_node = round_ == 1 and often[each.path] == 1 and each.state == "succeeded"
        assert told_by_node or each in tries
    if isinstance(backend, Ordered):
        assert backend.order_and_tries(run_id) == ([node.path for node in nodes], tries)


def _compare_versions(backend: Backend, model: ModelRun) -> None:
    """Every value that was written is there in its order, and who read and wrote which."""
    if not isinstance(backend, Versioned):
        return
    run_id = model.request.run_id
    told = [(a.path, a.reads, a.writes) for a in backend.accesses(run_id)]
    for of_one_commit in model.accesses:
        some, told = told[: len(of_one_commit)], told[len(of_one_commit) :]
        assert len(some) == len(of_one_commit)
        assert all(access in of_one_commit for access in some), (some, of_one_commit)
    assert not told
    for key, values in model.versions.items():
        assert backend.present(run_id, key) == (len(values) - 1, values[-1])
        if model.terminal:
            assert [backend.version(run_id, key, n) for n in range(len(values))] == values


def _possible(model: ModelRun, node: ModelNode) -> set[NodeState]:
    """The states a store may show for a node."""
    state = node.state
    if node.given_up and not model.terminal:
        return _LEFT | {state, NodeState.RETRYING, NodeState.READY}
    if node.given_up and model.ending is RunState.STOPPED:
        return {state, NodeState.STOPPED}
    if state in (NodeState.SUCCEEDED, NodeState.FAILED, NodeState.STOPPED):
        return {state}
    if model.terminal:
        return _LEFT | ({state} & {NodeState.WAITING})
    possible: set[NodeState] = {state}
    if state is NodeState.RETRYING:
        possible.add(NodeState.READY)
    return possible if model.ending is None or node.held else possible | _LEFT
