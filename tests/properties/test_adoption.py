"""Random runs that failed move to random other definitions of their flows, or are refused."""

from __future__ import annotations

from goflow import Conflict, Context, Workflow
from goflow.backend import Backend
from goflow.client import Client
from goflow.errors import UnknownNode
from goflow.host import register
from goflow.message import RESULT
from goflow.state import NodeState, RunState
from goflow.workflow import Flow, build
from tests.properties.changes import changed
from tests.properties.hands import ByHand, Hands
from tests.properties.reference import Told
from tests.properties.shapes import Artist, Seeded, define

#: seeds of flows that fail, and how many of them each store is given
SEEDS = [seed for seed in range(300) if Told(Artist(Seeded(seed)).flow()).failed]
EXAMPLES = {"LocalBackend": 80, "RedisBackend": 20}


def test_a_run_that_moves_ends_and_starts_no_node_without_what_it_waits_for(
    store: Backend,
) -> None:
    moved = [_move(store, seed) for seed in SEEDS[: EXAMPLES[type(store).__name__]]]
    assert moved.count("moved") > len(moved) / 5, "most were refused, and little was tried"


def test_a_start_keeps_the_input_of_its_run_where_the_former_definition_is_not_known(
    store: Backend,
) -> None:
    outcomes = [b"first", b"second"]

    def build_flow(retries: int) -> Flow:
        def draw(workflow: Workflow, context: Context) -> None:
            workflow.dag.node("a", lambda data: outcomes.pop(0) + data)
            workflow.dag.node("b", lambda data: data, retries=retries)
            workflow.dag.edge("a", "b")

        return build("unknown-former", draw)

    former, present = build_flow(1), build_flow(2)
    client = Client(store)
    run = client.submit("unknown-former", b"!", plan=former.plan)
    Hands(store, former, Seeded(1).integer).work()
    client.retry(run.id, from_node="a", plan=present.plan)
    Hands(store, present, Seeded(1).integer).work()
    assert client.result(run.id).data == b"second!"


def _move(store: Backend, seed: int) -> str:
    dice = Seeded(seed)
    shape = Artist(dice).flow()
    run = ByHand(store, shape, seed)
    if seed % 3:  # else the store does not know the former definition
        register(store, run.flow)
    flow = build("random", define(changed(shape, dice)))
    register(store, flow)
    paths = run.paths
    from_node = paths[dice.integer(0, len(paths) - 1)] if dice.integer(0, 2) == 2 else None
    try:
        Client(store).retry(run.id, plan=flow.plan, from_node=from_node)
    except (Conflict, UnknownNode):
        return "refused"
    Hands(store, flow, dice.integer).work()
    ended = store.run(run.id)
    assert ended.state.terminal
    assert ended.failure is None or ended.failure.type != "KeyError", ended.failure
    if ended.state is RunState.SUCCEEDED:
        states = {node.path: node.state for node in store.nodes(run.id)}
        for path in (*flow.plan.graph.nodes, *([RESULT] if len(flow.plan.graph.ends) > 1 else [])):
            assert states[path] == NodeState.SUCCEEDED
    return "moved"
