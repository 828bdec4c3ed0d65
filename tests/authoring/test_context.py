"""What a node's function learns and keeps by its context."""

from __future__ import annotations

import asyncio
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import goflow
from goflow import Context, ContextError, Dag, Payload, PayloadError, RunFailed, Workflow
from goflow.engine import step
from goflow.message import Input, Step, Task
from goflow.payload import EMPTY, JSON, TEXT, of_input
from goflow.testing import Simulation, run
from goflow.testing.driver import as_flow
from goflow.workflow import build
from tests.authoring.flows import Work, failure, gives, parallel, task


def test_the_context_tells_about_the_run_and_the_node() -> None:
    dag = Dag()

    def tell(data: bytes, options: object, context: Context) -> list[object]:
        return [context.run_id, context.flow, context.node, context.attempt, context.query]

    dag.foreach_branch("each", gives({"k": "v"})).node("x", tell)
    simulation = Simulation(as_flow(dag), EMPTY, {"q": ["1", "2"]}, run_id="my-run")
    assert simulation.run().json() == {"k": ["my-run", "test", "each[k]/x", 1, {"q": ["1", "2"]}]}


def test_headers_are_those_of_the_request() -> None:
    dag = Dag()
    dag.node("n", lambda data, context: context.headers)
    made = step(as_flow(dag), task("n", headers={"x-user": "ada"}), [Input("", EMPTY)])
    assert made.output == Payload(b'{"x-user":"ada"}', JSON)


def test_node_input_holds_the_raw_inputs_by_name() -> None:
    dag = parallel(b"\xff", {"x": 1}, aggregator=gives("aggregated"))
    dag.node("before")
    dag.edge("before", "join", execution_only=True)
    seen: list[tuple[str, bytes]] = []
    dag.node("join", lambda data, context: seen.extend(context.node_input.items()))
    simulation = Simulation(as_flow(dag))
    simulation.run(lambda ready: len(ready) - 1)
    assert seen == [("b", b"\xff"), ("a", b'{"x":1}')]


def key_of(path: str, run_id: str = "r", **more: Any) -> str:
    keys: list[str] = []
    dag = Dag()
    note: Work = lambda data, context: keys.append(context.idempotency_key)  # noqa: E731
    dag.node("n", note)
    dag.foreach_branch("each", gives([])).node("x", note)
    given = Task(run_id=run_id, flow="f", fingerprint="f", path=path, token="t", **more)
    step(as_flow(dag), given, [Input("", EMPTY)])
    return keys[0]


def test_an_idempotency_key_belongs_to_run_node_and_round_alone() -> None:
    key = key_of("n")
    assert key_of("n", attempt=2, lost=1) == key
    others = [key_of("each[0]/x"), key_of("each[1]/x"), key_of("n", "other"), key_of("n", round=2)]
    assert len({key, *others}) == 5


def test_the_definitions_context_stands_for_the_run_that_is_executing() -> None:
    def define(workflow: Workflow, context: Context) -> None:
        workflow.dag.node("n", lambda data: [context.run_id, context.node])

    flow = build("flow", define)
    for run_id in ("one", "two"):
        assert Simulation(flow, run_id=run_id).run().json() == [run_id, "n"]


def test_outside_a_node_the_context_raises_a_clear_error() -> None:
    def define(workflow: Workflow, context: Context) -> None:
        with pytest.raises(ContextError, match="not while the flow is being defined"):
            context.run_id  # noqa: B018
        workflow.dag.node("n")

    build("flow", define)
    with pytest.raises(ContextError, match="use it inside a node's function"):
        goflow.current_context()
    context = goflow.workflow.context
    assert repr(context) == "<context of no run>"
    for use in (
        lambda: context.get("k"),
        lambda: context.set("k", 1),
        lambda: context.delete("k"),
        lambda: context.idempotency_key,
        lambda: context.logger,
        lambda: context.node_input,
    ):
        with pytest.raises(ContextError):
            use()


def test_current_context_is_the_same_context() -> None:
    dag = Dag()
    dag.node("n", lambda data, context: goflow.current_context() is context)
    assert run(dag).json() is True


def test_a_thread_that_a_node_starts_sees_the_nodes_context() -> None:
    dag = Dag()

    def work(data: bytes) -> list[str]:
        seen: list[str] = []
        thread = threading.Thread(target=lambda: seen.append(goflow.current_context().node))
        thread.start()
        thread.join()
        return seen

    dag.node("n", work)
    assert run(dag).json() == ["n"]
    with pytest.raises(ContextError):
        goflow.current_context()


def test_a_thread_left_behind_cannot_reach_the_run_that_comes_next() -> None:
    """Nor can a thread or a job that it starts meanwhile; a pool that stays works for who hands in."""
    pool = ThreadPoolExecutor(1)
    go, told = threading.Event(), []

    def note() -> None:
        try:
            goflow.current_context().set("owner", "first")
        except ContextError as error:
            told.append(str(error))

    def late() -> None:
        go.wait(10)
        note()
        thread = threading.Thread(target=note)
        thread.start()
        thread.join()
        pool.submit(note).result()

    left = threading.Thread(target=late)

    def first(data: bytes) -> str:
        left.start()
        return pool.submit(lambda: goflow.current_context().node).result()

    def second(data: bytes, options: object, context: Context) -> list[object]:
        go.set()
        left.join()
        node = pool.submit(lambda: goflow.current_context().node).result()
        copied = asyncio.run(asyncio.to_thread(lambda: goflow.current_context().node))
        return [node, copied, context.get("owner")]

    def define(workflow: Workflow, context: Context) -> None:
        workflow.dag.node("first", first) >> workflow.dag.node("second", second)

    with pool:
        assert Simulation(build("flow", define)).run().json() == ["second", "second", None]
    assert len(told) == 3
    assert all("the node that started this thread has ended (first of run " in t for t in told)


@pytest.mark.parametrize("kind", ["blob:text/plain", "image/png", ""])
def test_a_payload_is_of_one_of_three_media_types(kind: str) -> None:
    dag = Dag()
    dag.node("n", lambda data: Payload(b"x", kind))
    words = f"is application/octet-stream, text/plain or application/json, got {kind!r}"
    with pytest.raises(RunFailed, match=words):
        run(dag)
    with pytest.raises(PayloadError, match=words):
        of_input(Payload(b"x", kind))


def test_the_logger_is_named_after_flow_and_node(caplog: pytest.LogCaptureFixture) -> None:
    dag = Dag()
    dag.node("n", lambda data, context: context.logger.warning("careful"))
    with caplog.at_level(logging.WARNING):
        run(dag)
    assert caplog.record_tuples == [("goflow.test.n", logging.WARNING, "careful")]


@pytest.mark.parametrize(
    ("value", "back"),
    [
        (b"\xff", b"\xff"),
        ("text", "text"),
        ("", ""),
        (b"", b""),
        (0, 0),
        (None, None),
        ([1, {"a": None}], [1, {"a": None}]),
        ((1, 2), [1, 2]),
    ],
    ids=repr,
)
def test_the_runs_store_gives_back_what_was_put_into_it(value: object, back: object) -> None:
    seen: list[object] = []
    dag = Dag()
    put = dag.node("put", lambda data, context: context.set("k", value))
    put >> dag.node("get", lambda data, context: seen.append(context.get("k", "default")))
    run(dag)
    assert seen == [back]


def test_a_key_that_is_not_there_gives_the_default() -> None:
    seen: list[object] = []

    def work(data: bytes, options: object, context: Context) -> None:
        seen.append(context.get("k"))
        seen.append(context.get("k", 5))
        context.set("k", 1)
        seen.append(context.get("k", 5))
        context.delete("k")
        context.delete("never there")
        seen.append(context.get("k", 5))

    dag = Dag()
    dag.node("n", work) >> dag.node("m", lambda data, context: seen.append(context.get("k", 6)))
    run(dag)
    assert seen == [None, 5, 1, 5, 6]


def test_the_writes_of_a_failed_attempt_are_dropped() -> None:
    seen: list[object] = []

    def work(data: bytes, options: object, context: Context) -> None:
        seen.append(context.get("k"))
        context.set("k", context.attempt)
        seen.append(context.get("k"))
        if context.attempt == 1:
            raise ValueError

    dag = Dag()
    dag.node("n", work, retries=1) >> dag.node("m", lambda data, context: context.get("k"))
    assert run(dag).json() == 2
    assert seen == [None, 1, None, 2]


def test_writes_travel_with_the_result() -> None:
    dag = Dag()

    def work(data: bytes, options: object, context: Context) -> None:
        context.set("a", 1)
        context.set("b", "x")
        context.delete("a")

    dag.node("n", work)
    made = step(as_flow(dag), task("n"), [Input("", EMPTY)])
    assert made == Step(output=EMPTY, ends=True, writes={"a": None, "b": Payload(b"x", TEXT)})


def test_conditions_foreach_forwarders_and_aggregators_write_too() -> None:
    dag = Dag()

    def note(name: str, value: object) -> Work:
        return lambda data, context: (context.set(name, 1), value)[1]

    dag.conditional_branch("kind", ["k"], note("condition", "k"))["k"].node("x")
    dag.foreach_branch("each", note("foreach", [1]), aggregator=note("aggregator", 1)).node("x")
    dag.edge("kind", "each", forwarder=note("forwarder", 1))
    simulation = Simulation(as_flow(dag))
    simulation.run()
    assert set(simulation.context) == {"condition", "foreach", "aggregator", "forwarder"}


@pytest.mark.parametrize("key", ["", "x" * 1025, 5, None, "\ud800"], ids=ascii)
def test_a_key_of_the_runs_store_is_a_bounded_text(key: Any) -> None:
    dag = Dag()
    dag.node("n", lambda data, context: context.set(key, 1))
    assert "a context key is a text of 1 to 1024 bytes" in failure(dag)


def test_the_runs_store_takes_json_and_bytes_alone() -> None:
    dag = Dag()
    dag.node("n", lambda data, context: context.set("k", object()))
    assert "PayloadError: cannot encode object as JSON" in failure(dag)
