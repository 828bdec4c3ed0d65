"""Failures: repeated, saved by a handler, or the run's; and the handlers at its end."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from goflow import Context, Dag, NodeFailed, RunFailed, Workflow
from goflow.engine import LONGEST_DELAY, after_failure, refusal
from goflow.message import TIMED_OUT, WORKER_LOST, Failure
from goflow.state import NodeState, RunState
from goflow.testing import Simulation, run
from goflow.testing.driver import as_flow
from tests.authoring.flows import Work, fails, failure, node_plan, show, task


class Flaky:
    """Fails a number of times, then answers with the attempt."""

    def __init__(self, times: int) -> None:
        self.times = times
        self.keys: list[str] = []

    def __call__(self, data: bytes, options: object, context: Context) -> str:
        self.keys.append(context.idempotency_key)
        if context.attempt <= self.times:
            raise ValueError(f"attempt {context.attempt}")
        return f"attempt {context.attempt}"


def test_a_failing_node_is_repeated() -> None:
    dag = Dag()
    flaky = Flaky(2)
    dag.node("n", flaky, retries=2)
    assert run(dag).text() == "attempt 3"
    assert len(flaky.keys) == 3
    assert len(set(flaky.keys)) == 1, "every attempt has the same idempotency key"


def test_a_node_fails_for_good_after_its_retries() -> None:
    dag = Dag()
    dag.node("n", Flaky(3), retries=2)
    with pytest.raises(RunFailed) as raised:
        run(dag)
    assert str(raised.value) == "run test failed: n: ValueError: attempt 3"
    assert isinstance(raised.value.__cause__, ValueError)


def test_what_a_node_may_have_meant_by_a_name_is_told() -> None:
    dag = Dag()
    dag.node("n", lambda data, context: context.querys)
    with pytest.raises(RunFailed, match="no attribute 'querys', did you mean 'query'"):
        run(dag)


def test_an_aggregator_that_fails_is_repeated_like_the_function() -> None:
    dag = Dag()
    dag.node("join", show, aggregator=Flaky(1), retries=1)
    dag.node("a") >> "join"
    simulation = Simulation(as_flow(dag))
    assert simulation.run().text() == "<attempt 2>"
    assert simulation.order == ["a", "join", "join"]


def test_a_nodes_on_failure_saves_it_with_another_result() -> None:
    errors: list[NodeFailed] = []

    def rescue(error: NodeFailed) -> dict[str, str]:
        errors.append(error)
        return {"instead": error.message}

    dag = Dag()
    dag.node("n", fails, retries=1, on_failure=rescue) >> dag.node("after", show)
    simulation = Simulation(as_flow(dag))
    assert simulation.run().text() == '<{"instead":"boom"}>'
    assert simulation.states["n"] == NodeState.SUCCEEDED
    (error,) = errors
    assert (error.node, error.type, error.message, error.attempt) == ("n", "ValueError", "boom", 2)


def test_an_on_failure_that_raises_fails_the_run() -> None:
    def rescue(error: NodeFailed) -> bytes:
        raise KeyError("worse")

    dag = Dag()
    dag.node("n", fails, on_failure=rescue)
    assert failure(dag) == "run test failed: n: KeyError: 'worse'"


def test_what_follows_a_failed_node_never_starts() -> None:
    dag = Dag()
    dag.node("n", fails) >> dag.node("after")
    simulation = Simulation(as_flow(dag))
    with pytest.raises(RunFailed):
        simulation.run()
    assert simulation.order == ["n"]


def test_a_node_that_exits_or_raises_what_cannot_be_printed_fails_like_any_other() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    def leave(data: bytes) -> None:
        raise SystemExit(3)

    def mute(data: bytes) -> None:
        raise Mute

    dag = Dag()
    dag.node("n", leave)
    assert failure(dag) == "run test failed: n: SystemExit: the node called sys.exit(3)"
    dag = Dag()
    dag.node("n", mute)
    assert failure(dag).startswith("run test failed: n: Mute: ")


def with_handlers(work: Work, seen: list[object], worse: bool = False) -> Callable[..., None]:
    def define(workflow: Workflow, context: Context) -> None:
        workflow.dag.node("n", work, retries=1)

        @workflow.on_failure
        def handle(error: NodeFailed) -> None:
            seen.append((error.node, error.type, error.message, error.attempt, context.node))
            context.set("told", error.message)
            if worse:
                raise KeyError("worse")

        @workflow.finally_
        def last(state: RunState) -> None:
            seen.append((state, context.node, context.get("told")))
            if worse:
                raise KeyError("worst")

    return define


def test_handlers_run_at_the_end_of_a_failed_run() -> None:
    seen: list[object] = []
    with pytest.raises(RunFailed):
        run(with_handlers(fails, seen))
    assert seen == [
        ("n", "ValueError", "boom", 2, "~on_failure"),
        ("failed", "~finally", "boom"),
    ]


def test_finally_alone_runs_when_a_run_succeeds() -> None:
    seen: list[object] = []
    assert run(with_handlers(show, seen), b"x").text() == "<x>"
    assert seen == [(RunState.SUCCEEDED, "~finally", None)]


def test_a_handler_that_raises_changes_nothing() -> None:
    seen: list[object] = []
    simulation = Simulation(as_flow(with_handlers(fails, seen, worse=True)))
    with pytest.raises(RunFailed, match="n: ValueError: boom") as raised:
        simulation.run()
    assert isinstance(raised.value.__cause__, ValueError)
    assert len(seen) == 2
    assert simulation.states["~on_failure"] == NodeState.FAILED
    assert run(with_handlers(show, seen, worse=True), b"x").text() == "<x>"


BOOM = Failure("ValueError", "boom", "n")


def test_delays_grow_by_the_backoff_with_up_to_a_quarter_of_jitter() -> None:
    plan = node_plan(retries=9, retry_delay=2, retry_backoff=3)
    for attempt, least in {1: 2, 2: 6, 3: 18}.items():
        delays = [after_failure(plan, task("n", attempt=attempt), BOOM)[0] for _ in range(20)]
        assert all(delay is not None and least <= delay <= least * 1.25 for delay in delays)
        assert len(set(delays)) > 1, "what failed together does not come back together"


def test_a_delay_is_a_day_at_most_however_many_attempts() -> None:
    for backoff in (10, 1e300):
        plan = node_plan(retries=10_000, retry_backoff=backoff)
        delay, _ = after_failure(plan, task("n", attempt=9999), BOOM)
        assert delay is not None
        assert LONGEST_DELAY <= delay <= LONGEST_DELAY * 1.25


def test_after_the_last_retry_comes_the_nodes_own_handler_and_then_nothing() -> None:
    plan = node_plan(retries=1, on_failure=show)
    assert after_failure(plan, task("n", attempt=1), BOOM)[1] is False
    assert after_failure(plan, task("n", attempt=2), BOOM) == (None, True)
    assert after_failure(plan, task("n", attempt=2, failure=BOOM), BOOM) == (None, False)
    assert after_failure(node_plan(), task("n"), BOOM) == (None, False)


def test_a_timeout_is_retried_and_a_lost_worker_given_up_is_not() -> None:
    plan = node_plan(retries=1)
    assert after_failure(plan, task("n"), Failure(TIMED_OUT, ""))[0] is not None
    assert after_failure(plan, task("n"), Failure(WORKER_LOST, "")) == (None, False)


@pytest.mark.parametrize("path", ["each", "~on_failure", "~finally", "~result", "each[0]"])
def test_branches_joins_and_handlers_are_not_retried(path: str) -> None:
    assert after_failure(node_plan(retries=5), task(path), BOOM) == (None, False)


def test_a_vanished_worker_means_again_unless_the_node_says_fail() -> None:
    plan = node_plan()
    assert refusal(plan, task("n")) is None
    assert refusal(plan, task("n", lost=1)) is None
    assert refusal(plan, task("~finally", lost=1)) is None
    given_up = refusal(plan, task("n", lost=3))
    assert given_up is not None
    assert given_up.type == WORKER_LOST
    assert "3 times" in given_up.message
    refused = refusal(node_plan(on_worker_lost="fail"), task("n", lost=1))
    assert refused is not None
    assert 'on_worker_lost is "fail"' in refused.message
