"""The instances of a run worth a line each where there is room for few: failed, on their way, latest to end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from goflow.backend import NodeRun
from goflow.message import FINALLY, ON_FAILURE
from goflow.nodepath import is_join
from goflow.state import NodeState

#: how many instances of each sort `Overview.notable` keeps: more than any terminal shows
NOTABLE: Final = 100


class Notable:
    """The instances worth a line, picked while all go by; never many more are kept."""

    def __init__(self) -> None:
        self.handlers: list[NodeRun] = []
        self._failed: list[NodeRun] = []
        self._active: list[NodeRun] = []
        self._ended: list[NodeRun] = []

    def seen(self, node: NodeRun) -> NodeRun:
        """Look at one, and hand it on."""
        if node.path in (ON_FAILURE, FINALLY):
            self.handlers.append(node)
        if node.state == NodeState.FAILED:
            if len(self._failed) < NOTABLE:
                self._failed.append(node)
        elif is_join(node.path):
            pass
        elif node.state in (NodeState.RUNNING, NodeState.RETRYING):
            _keep(self._active, node, _by_start)
        elif node.finished is not None:
            _keep(self._ended, node, _by_end)
        return node

    def chosen(self) -> tuple[NodeRun, ...]:
        """Failed ones, those on their way by their start, then the latest that ended."""
        active = sorted(self._active, key=_by_start)[:NOTABLE]
        ended = sorted(self._ended, key=_by_end)[:NOTABLE]
        return (*self._failed, *active, *ended)


def _by_start(node: NodeRun) -> tuple[bool, float]:
    return node.width is not None, node.started or 0.0


def _by_end(node: NodeRun) -> tuple[bool, float]:
    return False, -(node.finished or 0.0)


def _keep(
    nodes: list[NodeRun], node: NodeRun, order: Callable[[NodeRun], tuple[bool, float]]
) -> None:
    """Add one; once there are ten times as many as anybody sees, forget the last in order."""
    nodes.append(node)
    if len(nodes) >= 10 * NOTABLE:
        nodes.sort(key=order)
        del nodes[NOTABLE:]
