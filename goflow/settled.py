"""What a node's state comes to when its run ends without it: no store writes that, every reader sees it so.

A run that has ended, or is about to, leaves ready tasks and open branches as they were. To people they are `skipped`,
`stopped` or `failed`; so are nodes of the plan of which nothing is recorded.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from goflow.backend import NodeRun, Run
from goflow.nodepath import around
from goflow.state import NodeState, RunState


def unreached_state(run: Run) -> NodeState:
    """The state of a node that the run has not come to."""
    end = run.state if run.state.terminal else run.ending
    if end == RunState.STOPPED or run.state == RunState.STOPPING:
        return NodeState.STOPPED
    return NodeState.WAITING if end is None else NodeState.SKIPPED


def failed_around(recorded: Iterable[NodeRun], run: Run) -> frozenset[str]:
    """The paths of everything around a failed instance: what cannot complete because of it. Of a run that goes on or
    has succeeded nothing is, and nothing is read."""
    if run.state == RunState.SUCCEEDED or unreached_state(run) == NodeState.WAITING:
        return frozenset()
    return frozenset(around(n.path for n in recorded if n.state == NodeState.FAILED))


def settled(node: NodeRun, run: Run, failed: frozenset[str]) -> NodeRun:
    """The instance with a state that can be true now that the run has ended, or is about to."""
    other = unreached_state(run)
    if other == NodeState.WAITING or node.path.startswith("~"):
        return node
    pending = (NodeState.WAITING, NodeState.READY, NodeState.RETRYING)
    open_branch = node.state == NodeState.RUNNING and node.width is not None
    if open_branch and node.path in failed:
        return msgspec.structs.replace(node, state=NodeState.FAILED)
    if node.state in pending or (run.state.terminal and node.state == NodeState.RUNNING):
        return msgspec.structs.replace(node, state=other)
    return node
