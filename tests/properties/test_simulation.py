"""Random nested flows, driven in memory in any order, give what the reference interpreter says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import cycle

from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st

from goflow import RunFailed
from goflow.plan import Plan
from goflow.state import NodeState
from goflow.testing import Simulation
from goflow.workflow import build
from tests.properties.reference import Told
from tests.properties.shapes import Flow, Seeded, deepened, define
from tests.properties.strategies import flows

HANDLERS = ("~on_failure", "~finally")


def any_order(numbers: list[int]) -> Callable[[Sequence[str]], int]:
    """A schedule: which of the ready nodes comes next, by these numbers over and over."""
    left = cycle(numbers)
    return lambda ready: next(left) % len(ready)


orders = st.lists(st.integers(0, 1000), min_size=1, max_size=20).map(any_order)
thorough = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@thorough
@given(flows(), orders)
def test_every_order_gives_what_the_reference_says(
    shape: Flow, choose: Callable[[Sequence[str]], int]
) -> None:
    told = Told(shape)
    simulation = Simulation(build("random", define(shape)), shape.payload())
    event("fails" if told.failed else "succeeds")
    if told.failed:
        fails_as_told(simulation, told, shape, choose)
    else:
        assert simulation.run(choose) == told.result
        outputs = dict(simulation.outputs)
        assert outputs.pop("~finally", None) == (
            simulation.outputs["~finally"] if shape.finally_ else None
        )
        assert outputs == told.outputs
        executed = Counter(path for path in simulation.order if path not in HANDLERS)
        assert executed == told.executed
        assert set(simulation.states.values()) == {NodeState.SUCCEEDED}


@settings(thorough, max_examples=8, phases=[Phase.generate])  # to shrink one takes minutes
@given(flows(), st.integers(0, 2**32), st.sampled_from([120, 350, 1000]), orders)
def test_flows_nested_deeper_than_any_stack_give_what_the_reference_says(
    shape: Flow, seed: int, levels: int, choose: Callable[[Sequence[str]], int]
) -> None:
    shape = deepened(shape, Seeded(seed), levels)
    told = Told(shape)
    flow = build("random", define(shape))
    simulation = Simulation(flow, shape.payload())
    if told.failed:
        fails_as_told(simulation, told, shape, choose)
    else:
        assert simulation.run(choose) == told.result
        outputs = {path: made for path, made in simulation.outputs.items() if path not in HANDLERS}
        assert outputs == told.outputs
    again = Plan.from_json(flow.plan.to_json())
    assert again.fingerprint == flow.plan.fingerprint
    assert [path for path, _ in again.walk()] == [path for path, _ in flow.plan.walk()]


def fails_as_told(
    simulation: Simulation, told: Told, shape: Flow, choose: Callable[[Sequence[str]], int]
) -> None:
    try:
        simulation.run(choose)
    except RunFailed:
        assert simulation.failure is not None
        where = simulation.failure.node
        assert where in told.failed
        assert simulation.states[where] == NodeState.FAILED
        outputs = dict(simulation.outputs)
        handled = [path for path in HANDLERS if outputs.pop(path, None) is not None]
        assert handled == ["~on_failure"] * shape.on_failure + ["~finally"] * shape.finally_
        assert outputs.items() <= told.outputs.items()
    else:
        raise AssertionError(f"it should have failed at one of {told.failed}")


@settings(thorough, max_examples=40)
@given(flows())
def test_a_shape_makes_the_same_flow_again(shape: Flow) -> None:
    again = Flow.from_json(shape.to_json())
    assert again == shape
    plan = build("random", define(shape)).plan
    assert build("random", define(again)).plan == plan
    assert Plan.from_json(plan.to_json()).fingerprint == plan.fingerprint


@settings(thorough, max_examples=40)
@given(flows())
def test_every_executed_node_path_leads_back_to_its_place(shape: Flow) -> None:
    flow = build("random", define(shape))
    statics = {path for path, _ in flow.plan.walk()}
    for path in Told(shape).executed:
        if path.endswith("]"):
            assert flow.plan.scope(path).prefix == path + "/"
        elif not path.startswith("~"):
            assert flow.plan.locate(path).static in statics
