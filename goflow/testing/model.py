"""What a run should look like after any sequence of accepted words: the seam's rules in plain Python.

No leases, no transactions, no storage: the machine feeds it what a backend accepted and compares.
"""

from __future__ import annotations

from collections.abc import Sequence

from goflow.backend import Action, FlowKey
from goflow.message import (
    FINALLY,
    ON_FAILURE,
    Arrival,
    Claim,
    Failure,
    Item,
    Outcome,
    Reads,
    Request,
    Rewind,
    Step,
)
from goflow.payload import EMPTY, Payload
from goflow.state import NodeState, RunState
from goflow.testing.model_node import Inbox, ModelNode

#: node states that a run may leave behind when it is terminal
SETTLED = {NodeState.SUCCEEDED, NodeState.FAILED, NodeState.SKIPPED, NodeState.STOPPED}
#: states of a node that is not finished: the next round takes it up again
_UNFINISHED = {NodeState.READY, NodeState.RETRYING, NodeState.FAILED, NodeState.STOPPED}


class ModelRun:
    """One run. `recorded` are the (path, state) of attempts that ended, in order."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.nodes: dict[str, ModelNode] = {}
        self.round = 1
        self.started = self.paused = self.terminal = self.killing = False
        self.ending: RunState | None = None
        self.failure: Failure | None = None
        #: the node whose output is the result, once it is recorded
        self.end = ""
        #: who alone may execute it, and whether that one is gone
        self.owner = request.owner
        self.orphan = False
        self.recorded: list[tuple[str, str]] = []
        #: every value its store had, by key, and what its attempts were given and made of them
        self.versions: dict[str, list[Payload | None]] = {}
        #: what one commit recorded stands together: a store may record what failed after what succeeded
        self.accesses: list[list[tuple[str, Reads, dict[str, int]]]] = []
        self._branches: set[str] = set()
        for name in request.starts:
            self._deliver(Arrival(name, "", 1, request.payload), EMPTY)

    @property
    def key(self) -> FlowKey:
        """The definition its tasks need."""
        return self.request.flow, self.request.fingerprint

    @property
    def state(self) -> RunState:
        """The state people see."""
        if self.terminal:
            assert self.ending is not None
            return self.ending
        if self.ending is RunState.STOPPED:
            return RunState.STOPPING
        if self.paused:
            return RunState.PAUSED
        return RunState.RUNNING if self.started else RunState.QUEUED

    def claimable(self) -> list[ModelNode]:
        """What a worker may be given now."""
        if self.terminal or self.paused:
            return []
        ready = [node for node in self.nodes.values() if node.state is NodeState.READY]
        if self.ending is None:
            return ready
        return [node for node in ready if node.path.startswith("~") and node.path in self._handlers]

    def is_branch(self, path: str) -> bool:
        """Whether a node has opened scopes, in any round."""
        return path in self._branches

    def held(self, worker: int | None = None) -> list[ModelNode]:
        """What workers have, or one of them."""
        return [n for n in self.nodes.values() if n.held and worker in (None, n.worker)]

    def doomed(self, node: ModelNode) -> bool:
        """Whether whoever holds it must kill it."""
        return self.killing and node.path not in (ON_FAILURE, FINALLY)

    def claim(self, claim: Claim, worker: int) -> None:
        """A worker was given a task: it must have been ready, and say what is recorded."""
        task = claim.task
        node = self.nodes.get(task.path)
        assert node in self.claimable(), f"{task.path} was not ready"
        assert node is not None
        assert (task.attempt, task.lost) == (node.attempt, node.lost)
        assert task.failure == (self.failure if task.path == ON_FAILURE else node.failure)
        assert task.closing == node.closing
        if node.closing:
            assert (task.keys, task.width) == (node.keys, node.width)
        if task.path == FINALLY:
            assert task.outcome == self.ending
        node.round = node.round or task.round
        assert task.round == node.round, "an instance keeps its idempotency key"
        node.state, node.token, node.worker = NodeState.RUNNING, task.token, worker
        self.started = True

    def inputs(self, path: str) -> Inbox:
        """What a claimed task must bring."""
        node = self.nodes[path]
        return node.closings if node.closing else node.inbox

    def commit(self, outcome: Outcome, staged: Sequence[Item] = ()) -> None:
        """An outcome was accepted; `staged` are the scopes that its attempt had staged."""
        node = self.nodes[outcome.task.path]
        assert node.held, f"{node.path} was not held"
        assert node.token == outcome.task.token, "an old token was accepted"
        if outcome.touches:
            self._touch(outcome)
        if outcome.step is not None:
            self._succeed(node, outcome.step, staged)
        elif outcome.released:
            node.ready(attempt=node.attempt, lost=node.lost, failure=node.failure)
        elif outcome.stopped:
            self._record(node, NodeState.STOPPED, "stopped")
        else:
            assert outcome.failure is not None
            self._fail(node, outcome, outcome.failure)
        self._settle()

    def _touch(self, outcome: Outcome) -> None:
        """What it read and wrote of the run's store."""
        numbers = {}
        for key, value in (outcome.step.writes if outcome.step else {}).items():
            values = self.versions.setdefault(key, [None])
            numbers[key] = len(values)
            values.append(value)
        self.accesses[-1].append((outcome.task.path, outcome.reads or Reads(), numbers))

    def lose(self, worker: int) -> None:
        """A worker's vanishing was noticed."""
        for node in self.held(worker):
            self.lose_one(node)

    def lose_one(self, node: ModelNode) -> None:
        """The loss of whoever held it was noticed."""
        node.ready(attempt=node.attempt, lost=node.lost + 1, failure=node.failure)
        self._settle()

    def promote(self) -> None:
        """All retries are due (the machine knows no others), unless the run is about to end."""
        for node in self.nodes.values():
            if node.state is NodeState.RETRYING and self.ending is None:
                node.ready(attempt=node.attempt, failure=node.failure)

    def adopt(self) -> None:
        """Its owner's going was noticed: it is anybody's now, with what the owner held."""
        owner, self.owner, self.orphan = self.owner, 0, False
        self.lose(owner)

    def control(self, action: Action) -> None:
        """Pause, resume or stop a run that has not ended."""
        assert not self.terminal
        if action == "stop":
            self.paused, self.killing = False, True
            self.ending = self.ending or RunState.STOPPED
            self._settle()
        elif action == "resume":
            self.paused = False
        elif self.ending is None:
            self.paused = True

    def retry(self, rewind: Rewind | None, owner: int = 0) -> None:
        """A new round."""
        self.owner, self.orphan = owner, False
        for path in (ON_FAILURE, FINALLY):
            self.nodes.pop(path, None)
        self.round += 1
        self.terminal = self.started = self.paused = self.killing = False
        self.ending = self.failure = None
        for node in self.nodes.values():
            if node.state in _UNFINISHED:
                node.ready()
        if rewind is not None:
            self._rewind(rewind)
        if self.end in self.nodes and self.nodes[self.end].state is NodeState.SUCCEEDED:
            self.ending = RunState.SUCCEEDED
            self._settle()

    # -- what follows from an accepted outcome ----------------------------------------------------

    def _succeed(self, node: ModelNode, step: Step, staged: Sequence[Item]) -> None:
        if step.opened is not None:
            opened = step.opened
            node.end(NodeState.RUNNING)
            self._branches.add(node.path)
            node.keys, node.width, node.window = opened.keys, opened.expects, opened.window
            node.items = [*staged, *opened.items]
            self._release(node)
            return
        assert step.output is not None
        node.output = step.output
        self._record(node, NodeState.SUCCEEDED, "succeeded")
        if step.ends:
            self.end = node.path
            self.ending = self.ending or RunState.SUCCEEDED
        for arrival in step.arrivals:
            self._deliver(arrival, step.output)

    def _fail(self, node: ModelNode, outcome: Outcome, failure: Failure) -> None:
        self._record(node, NodeState.FAILED, "failed")
        if node.path in (ON_FAILURE, FINALLY) or self.ending is not None:
            node.given_up = outcome.rescue or outcome.retry_at is not None
            return
        if outcome.retry_at is not None:
            node.attempt, node.lost = node.attempt + 1, 0
            node.state = NodeState.RETRYING
        elif outcome.rescue:
            node.ready(attempt=node.attempt, failure=failure)
        else:
            self.ending, self.failure = RunState.FAILED, failure

    def _record(self, node: ModelNode, state: NodeState, how: str) -> None:
        node.end(state)
        self.recorded.append((node.path, how))

    def _deliver(self, arrival: Arrival, output: Payload) -> None:
        target = self.nodes.setdefault(arrival.target, ModelNode(arrival.target))
        box = target.closings if arrival.closing else target.inbox
        payload = output if arrival.payload is None else arrival.payload
        box.setdefault(arrival.source, payload if arrival.carries else None)
        if arrival.closing:
            if len(box) == target.width:
                target.closing = True
                target.ready()
            self._release(target)
        elif target.state is NodeState.WAITING and len(box) == arrival.expects:
            target.ready()

    def _release(self, branch: ModelNode) -> None:
        """Let as many scopes be on their way as the window has room for."""
        while branch.items:
            if branch.window and branch.released - len(branch.closings) >= branch.window:
                return
            item = branch.items.pop(0)
            branch.released += 1
            for name in item.starts:
                self._deliver(Arrival(item.prefix + name, "", 1, item.payload), EMPTY)

    @property
    def _handlers(self) -> Sequence[str]:
        """The handlers that this ending calls for."""
        wanted = {FINALLY} | ({ON_FAILURE} if self.ending is RunState.FAILED else set())
        return [path for path in self.request.handlers if path in wanted]

    def _settle(self) -> None:
        """Go on to the next handler, or end, once nothing runs any more."""
        if self.ending is None or self.terminal or self.held():
            return
        for path in self._handlers:
            node = self.nodes.setdefault(path, ModelNode(path))
            if node.state is NodeState.WAITING:
                node.ready()
            if node.state is NodeState.READY:
                return
        self.terminal, self.paused = True, False
        self.owner, self.orphan = 0, False

    # -- rewinding --------------------------------------------------------------------------------

    def _rewind(self, rewind: Rewind) -> None:
        for path in list(self.nodes):
            if any(inside(path, removed) for removed in rewind.removed):
                inbox = self.nodes.pop(path).inbox
                if path in rewind.removed:
                    self.nodes[path] = again = ModelNode(path)
                    again.inbox = inbox
        for target, source, closing in rewind.dropped:
            if target in self.nodes:
                node = self.nodes[target]
                (node.closings if closing else node.inbox).pop(source, None)
        for path in [p for p, n in self.nodes.items() if not n.inbox and not n.closings]:
            del self.nodes[path]
        for path in rewind.reopened:
            node = self.nodes[path]
            node.state, node.closing, node.output = NodeState.RUNNING, False, None
        for path in rewind.ready:
            self.nodes[path].ready()


def inside(path: str, removed: str) -> bool:
    """Whether a node path is a removed one or lies in it. `each[a]` is a join, and holds nothing."""
    if path == removed or path.startswith(removed + "["):
        return True
    return not removed.endswith("]") and path.startswith(removed + "/")
