"""Random nested flows give what the reference says over every backend, with each attempt claimed and
committed by hand, in any order."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st

from goflow.backend import Backend
from tests.properties.hands import HANDLERS, ByHand, ends_as_told
from tests.properties.reference import Told, repeated
from tests.properties.shapes import Artist, Flow, Seeded
from tests.properties.strategies import flows

bounded = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))


@bounded
@given(flows(), st.integers(0, 2**32))
def test_every_order_of_claims_and_commits_gives_what_the_reference_says(
    store: Backend, shape: Flow, seed: int
) -> None:
    told = Told(shape)
    run = ByHand(store, shape, seed)
    succeeded = ends_as_told(store, run.id, told)
    event("succeeds" if succeeded else "fails")
    if succeeded:
        assert run.executed == told.executed
    handlers = {path: n for path, n in run.hands.executed.items() if path in HANDLERS}
    expected = [shape.on_failure and not succeeded, shape.finally_]
    assert handlers == {path: 1 for path, due in zip(HANDLERS, expected, strict=True) if due}


@bounded
@given(flows(), st.integers(0, 2**32), st.data())
def test_a_retry_from_any_node_repeats_it_and_all_after_it_and_nothing_else(
    store: Backend, shape: Flow, seed: int, data: st.DataObject
) -> None:
    told = Told(shape)
    run = ByHand(store, shape, seed)
    for _ in range(2):
        assume(run.paths)
        path = data.draw(st.sampled_from(run.paths))
        run.again(path)
        if ends_as_told(store, run.id, told):
            assert run.executed == repeated(shape, told.executed, path)


@pytest.mark.parametrize("seed", [48, 132, 281, 372])
def test_flows_that_once_went_wrong(store: Backend, seed: int) -> None:
    shape = Artist(Seeded(seed)).flow()
    run = ByHand(store, shape, seed)
    ends_as_told(store, run.id, Told(shape))
    for path in run.paths:
        run.again(path)
        ends_as_told(store, run.id, Told(shape))
