"""A run's nodes as `goflow show` lists them: one row an instance, those to come among them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from goflow.backend import NodeRun, Run
from goflow.nodepath import encode_key, is_join
from goflow.plan import Graph, Node, Plan
from goflow.settled import failed_around, settled, unreached_state
from goflow.state import NodeState
from goflow.unnested import Walk, flattened


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A node instance as `goflow show --json` lists it."""

    path: str
    state: NodeState
    attempt: int = 0
    started: float | None = None
    finished: float | None = None
    error: str | None = None


def rows(plan: Plan, run: Run, recorded: Iterable[NodeRun]) -> Iterator[Row]:
    """The recorded instances in their order, then those to come in scopes that are known.

    A scope is known when it is open, or when its condition was decided against (its nodes are then
    `skipped`). The joins the engine adds (`each[alice]`, `~result`) are listed only where they failed.
    `recorded` can be gone through twice; of its plain nodes only the paths are kept, so that it may come in pieces.
    """
    failed = failed_around(recorded, run)
    opening = {path.rpartition("/")[2] for path, node in plan.walk() if node.kind != "node"}
    seen: dict[str, NodeRun | None] = {}
    for node in recorded:
        if is_join(node.path) and node.state != NodeState.FAILED:
            continue
        node = settled(node, run, failed)
        seen[node.path] = node if node.path.rpartition("/")[2] in opening else None
        yield Row(
            path=node.path,
            state=node.state,
            attempt=node.attempt,
            started=node.started,
            finished=node.finished,
            error=node.error,
        )
    yield from flattened(_unseen(plan.graph, "", unreached_state(run), seen))


def _unseen(
    graph: Graph, prefix: str, unreached: NodeState, seen: dict[str, NodeRun | None]
) -> Walk[Row]:
    for node in graph.in_order:
        path = prefix + node.name
        if path not in seen:
            yield Row(path=path, state=unreached)
            continue
        record = seen[path]
        if record is None:
            continue
        for head, inner, chosen in _scopes(node, record):
            state = unreached if chosen else NodeState.SKIPPED
            yield _unseen(inner, head, state, seen)


def _scopes(node: Node, record: NodeRun) -> Iterator[tuple[str, Graph, bool]]:
    """The known scopes of a recorded branch or sub-DAG, and whether each is open."""
    opened = record.width is not None
    if node.kind == "conditional" and (opened or record.state == NodeState.SUCCEEDED):
        chosen = set(record.keys or ())
        for key, inner in node.dags.items():
            encoded = encode_key(key)
            yield f"{record.path}[{encoded}]/", inner, encoded in chosen
    elif node.kind == "foreach" and opened:
        keys = record.keys if record.keys is not None else map(str, range(record.width or 0))
        for key in keys:
            yield f"{record.path}[{key}]/", node.dags[""], True
    elif node.kind == "sub_dag" and opened:
        yield f"{record.path}/", node.dags[""], True
