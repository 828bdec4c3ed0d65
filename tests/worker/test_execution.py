"""What a worker does with nodes that behave: retries, handlers, the store of a run, joins, fan-outs."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from goflow import host
from goflow.backend import Ask
from goflow.blobs.carrier import Carrier
from goflow.errors import BackendError, NodeFailed, StoreAway, StoreFull
from goflow.message import DIED, TIMED_OUT, WORKER_LOST, Outcome, Task
from goflow.observer import Quiet
from goflow.workflow import build
from tests.worker.bench import Acting, Bench, note, trace


def test_a_retry_waits_without_holding_others_up(bench: Bench, tmp_path: Path) -> None:
    """One child only: what is ready runs while the failed node waits for its second attempt."""

    def define(workflow: Any, context: Any) -> None:
        def hopeful(data: bytes) -> bytes:
            note(tmp_path, f"hopeful {context.attempt}")
            if context.attempt < 3:
                raise OSError("not yet")
            return b"at last"

        def named(name: str) -> Any:
            return lambda data: note(tmp_path, name)

        dag = workflow.dag
        dag.node("hopeful", hopeful, retries=2, retry_delay=0.2)
        before = None
        for name in "abc":
            node = dag.node(name, named(name))
            if before is not None:
                before >> node
            before = node

    run = bench.execute(define, concurrency=1)
    assert run.state == "succeeded"
    assert trace(tmp_path) == ["hopeful 1", "a", "b", "c", "hopeful 2", "hopeful 3"]
    states = [(a.attempt, a.state) for a in bench.store.attempts(run.id) if a.path == "hopeful"]
    assert states == [(1, "failed"), (2, "failed"), (3, "succeeded")]


def test_retries_run_out(bench: Bench, tmp_path: Path) -> None:
    def define(workflow: Any, context: Any) -> None:
        def work(data: bytes) -> None:
            note(tmp_path, context.idempotency_key)
            os._exit(3)

        workflow.dag.node("work", work, retries=2, retry_delay=0.01)

    run = bench.execute(define)
    assert run.state == "failed"
    assert len(trace(tmp_path)) == 3
    assert len(set(trace(tmp_path))) == 1


@pytest.mark.parametrize(
    ("how", "kind", "words"),
    [
        ("raise", "ValueError", "no luck"),
        ("crash", DIED, "exited with code 9"),
        ("hang", TIMED_OUT, "timed out after 0.2 s"),
    ],
)
def test_a_nodes_own_handler_saves_it_however_it_failed(
    bench: Bench, how: str, kind: str, words: str
) -> None:
    def work(data: bytes) -> None:
        if how == "raise":
            raise ValueError("no luck")
        if how == "crash":
            os._exit(9)
        time.sleep(600)

    def handler(error: NodeFailed) -> list[object]:
        return [error.node, error.type, error.message, error.attempt]

    def define(workflow: Any, context: Any) -> None:
        timeout = 0.2 if how == "hang" else None
        node = workflow.dag.node("work", work, on_failure=handler, timeout=timeout)
        node >> workflow.dag.node("next", lambda data: data)

    run = bench.execute(define)
    assert run.state == "succeeded", run.error
    node, type_, message, attempt = bench.result(run).json()
    assert (node, type_, attempt) == ("work", kind, 1)
    assert words in message


def test_the_flows_handlers_run_after_a_crash(bench: Bench, tmp_path: Path) -> None:
    def define(workflow: Any, context: Any) -> None:
        workflow.dag.node("work", lambda data: os._exit(9))
        workflow.on_failure(lambda error: note(tmp_path, f"failed {error.node} {error.type}"))
        workflow.finally_(lambda state: note(tmp_path, f"finally {state}"))

    run = bench.execute(define)
    assert run.state == "failed"
    assert trace(tmp_path) == [f"failed work {DIED}", "finally failed"]


def test_a_handler_that_crashes_changes_nothing(bench: Bench) -> None:
    def define(workflow: Any, context: Any) -> None:
        workflow.dag.node("work", lambda data: b"fine")
        workflow.finally_(lambda state: os._exit(9))

    run = bench.execute(define)
    assert run.state == "succeeded"
    assert bench.result(run).data == b"fine"
    [end] = [n for n in bench.store.nodes(run.id) if n.path == "~finally"]
    assert end.state == "failed"


def test_the_runs_timeout_ends_it(bench: Bench, tmp_path: Path) -> None:
    def define(workflow: Any, context: Any) -> None:
        workflow.timeout = 0.3
        node = workflow.dag.node("hang", lambda data: time.sleep(600))
        node >> workflow.dag.node("never", lambda data: note(tmp_path, "never"))
        workflow.finally_(lambda state: note(tmp_path, f"finally {state}"))

    run = bench.execute(define)
    assert run.state == "failed"
    assert run.failure is not None
    assert run.failure.type == TIMED_OUT
    assert trace(tmp_path) == ["finally failed"]


@pytest.mark.parametrize("policy", ["retry", "fail"])
def test_a_vanished_workers_node_follows_its_policy(
    bench: Bench, tmp_path: Path, policy: str
) -> None:
    def define(workflow: Any, context: Any) -> None:
        def work(data: bytes) -> int:
            note(tmp_path, "work")
            return int(context.attempt)

        workflow.dag.node("work", work, on_worker_lost=policy)

    flow = build("flow", define)
    run = bench.submit(flow)
    _take_and_vanish(bench, flow, 1)
    [ended] = bench.work([flow], run)
    if policy == "retry":
        assert bench.result(ended).json() == 1
        assert trace(tmp_path) == ["work"]
    else:
        assert ended.failure is not None
        assert ended.failure.type == WORKER_LOST
        assert "on_worker_lost" in ended.failure.message
        assert trace(tmp_path) == []


def test_a_node_that_may_kill_its_workers_is_given_up(bench: Bench, tmp_path: Path) -> None:
    def define(workflow: Any, context: Any) -> None:
        workflow.dag.node(
            "work",
            lambda data: note(tmp_path, "work"),
            retries=5,
            on_failure=lambda error: str(error.type),
        )

    flow = build("flow", define)
    run = bench.submit(flow)
    _take_and_vanish(bench, flow, 3)
    [ended] = bench.work([flow], run)
    assert bench.result(ended).text() == WORKER_LOST
    assert trace(tmp_path) == []


def _take_and_vanish(bench: Bench, flow: Any, times: int) -> None:
    """Workers that take the task and are gone, as the kernel would show it to the others."""
    for _ in range(times):
        me = bench.enter(flow)
        other = bench.enter(flow)
        [_] = bench.store.claim(Ask(worker=me, limit=1, flows=(flow.key,)))
        bench.store._store.locks.drop(me)
        bench.store.tick(other)
        bench.store.leave(other)


def test_what_must_not_run_twice_travels_alone(bench: Bench, tmp_path: Path) -> None:
    """Other nodes travel in batches, and what a batch had finished runs again when it dies."""

    def define(workflow: Any, context: Any) -> None:
        each = workflow.dag.foreach_branch("each", lambda data: list(range(200)))

        def work(data: int) -> int:
            note(tmp_path, str(data))
            if data % 50 == 20:
                os._exit(9)
            return data

        each.node("work", work, on_worker_lost="fail", on_failure=lambda error: -1)

    run = bench.execute(define)
    assert bench.result(run).json() == [-1 if n % 50 == 20 else n for n in range(200)]
    assert sorted(trace(tmp_path), key=int) == [str(n) for n in range(200)]


def test_a_failed_run_starts_nothing_that_was_claimed_ahead(bench: Bench, tmp_path: Path) -> None:
    def work(data: int) -> None:
        note(tmp_path, str(data))
        if data == 20:
            raise ValueError(data)

    def define(workflow: Any, context: Any) -> None:
        each = workflow.dag.foreach_branch("each", lambda data: range(40))
        each.node("work", work, timeout=30)  # small, so claimed ahead; with a timeout, so alone

    run = bench.execute(define, concurrency=1)
    assert run.error == "each[20]/work: ValueError: 20"
    assert trace(tmp_path) == [str(n) for n in range(21)]


def test_what_was_claimed_ahead_of_a_long_task_goes_back_without_penalty(bench: Bench) -> None:
    """A worker that turns slow keeps nothing from others that it cannot begin."""
    held: list[list[str]] = []

    def look() -> None:
        nodes = [node for node in bench.store.nodes("run-1") if node.path.endswith("/work")]
        held.append([node.path for node in nodes if node.state == "running"])

    def work(data: int) -> None:
        if data == 20:
            time.sleep(0.4)

    def define(workflow: Any, context: Any) -> None:
        each = workflow.dag.foreach_branch("each", lambda data: range(40))
        each.node("work", work, timeout=30)  # small, so claimed ahead; with a timeout, so alone

    run = bench.execute(define, concurrency=1, observer=Acting(look))
    assert any(len(paths) > 1 for paths in held), "nothing was claimed ahead"
    assert ["each[20]/work"] in held
    assert run.state == "succeeded"
    assert {(a.state, a.attempt) for a in bench.store.attempts(run.id)} == {("succeeded", 1)}


def test_a_node_begins_while_whoever_watches_is_told_of_the_one_before(
    bench: Bench, tmp_path: Path
) -> None:
    """And they are told in the order of things all the same."""
    told: list[tuple[str, str]] = []

    class Slow(Quiet):
        def started(self, task: Task) -> None:
            told.append(("started", task.path))

        def finished(self, outcome: Outcome, accepted: bool) -> None:
            until = time.monotonic() + 20
            while outcome.task.path == "first" and not trace(tmp_path):
                assert time.monotonic() < until, "the next node waits for a watcher"
                time.sleep(0.001)
            told.append(("finished", outcome.task.path))

    def define(workflow: Any, context: Any) -> None:
        first = workflow.dag.node("first", lambda data: data)
        first >> workflow.dag.node("next", lambda data: note(tmp_path, "next"))

    run = bench.execute(define, concurrency=1, observer=Slow())
    assert run.state == "succeeded", run.error
    in_order = [(what, path) for path in ("first", "next") for what in ("started", "finished")]
    assert told == in_order


def test_the_store_of_a_run_is_seen_by_later_nodes_in_other_processes(bench: Bench) -> None:
    def define(workflow: Any, context: Any) -> None:
        def first(data: bytes) -> None:
            assert context.get("key") is None
            context.set("key", {"n": 1})
            context.set("bytes", b"\xff")
            context.set("none", None)
            assert context.get("key") == {"n": 1}

        def crash(data: bytes) -> None:
            if context.attempt == 1:
                context.set("key", "from a failed attempt")
                raise OSError("away")

        def last(data: bytes) -> list[object]:
            context.delete("none")
            return [
                context.get("key"),
                list(context.get("bytes")),
                context.get("none", "gone"),
                context.get("never", 7),
            ]

        dag = workflow.dag
        a = dag.node("first", first)
        b = dag.node("crash", crash, retries=1, retry_delay=0.01)
        a >> b >> dag.node("die", lambda data: os._exit(1), on_failure=lambda error: b"")
        dag.edge("die", "last")
        dag.node("last", last)

    run = bench.execute(define)
    assert bench.result(run).json() == [{"n": 1}, [255], "gone", 7]


def test_threads_of_a_node_each_get_the_value_they_asked_for(bench: Bench) -> None:
    def define(workflow: Any, context: Any) -> None:
        def put(data: bytes) -> None:
            for n in range(200):
                context.set(f"k{n}", n)

        def get(data: bytes) -> list[int]:
            with ThreadPoolExecutor(8) as pool:
                return list(pool.map(lambda n: context.get(f"k{n}"), range(200)))

        workflow.dag.node("put", put) >> workflow.dag.node("get", get, timeout=20)

    run = bench.execute(define)
    assert run.state == "succeeded", run.error
    assert bench.result(run).json() == list(range(200))


def test_a_join_too_wide_for_one_message_sees_each_input_once(bench: Bench) -> None:
    def define(workflow: Any, context: Any) -> None:
        dag = workflow.dag
        dag.node("start")
        for n in range(1200):
            dag.node(f"n{n}", lambda data, n=n: n)
            dag.edge("start", f"n{n}")
            dag.edge(f"n{n}", "join")

        def join(inputs: dict[str, int]) -> list[object]:
            return [list(inputs) == [f"n{n}" for n in range(1200)], sum(inputs.values())]

        dag.node("join", aggregator=join)

    run = bench.execute(define)
    assert bench.result(run).json() == [True, sum(range(1200))]


def test_a_wide_foreach_is_joined_in_order(bench: Bench) -> None:
    def define(workflow: Any, context: Any) -> None:
        each = workflow.dag.foreach_branch(
            "each",
            lambda data: {f"key {n}": n for n in range(3000)},
            aggregator=lambda results: [list(results)[:2], len(results)],
        )
        each.node("double", lambda data: int(data) * 2)

    run = bench.execute(define)
    assert bench.result(run).json() == [["key 0", "key 1"], 3000]


def test_a_wide_execution_only_branch_closes_without_reading_what_it_does_not_need(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    inputs = bench.store.inputs

    def noted(task: Task) -> Any:
        read.append(task.path)
        return inputs(task)

    monkeypatch.setattr(bench.store, "inputs", noted)

    def define(workflow: Any, context: Any) -> None:
        dag = workflow.dag
        dag.foreach_branch("dry", lambda data: range(1500), execution_only=True).node("work")
        dag.foreach_branch("wet", lambda data: range(1500), aggregator=len).node("work")

    run = bench.execute(define)
    assert bench.result(run).json() == {"dry": None, "wet": 1500}
    assert read == ["wet"]


def test_heavy_payloads_travel_whole(bench: Bench) -> None:
    big = os.urandom(1_000_000) * 8

    def define(workflow: Any, context: Any) -> None:
        dag = workflow.dag
        a = dag.node("a", lambda data: data)
        (
            a
            >> [dag.node("b", lambda data: data), dag.node("c", lambda data: data)]
            >> dag.node("join", aggregator=lambda inputs: b"".join(inputs.values()))
        )

    run = bench.execute(define, big)
    assert bench.result(run).data == big * 2


def test_concurrency_is_a_limit_and_is_used(bench: Bench, tmp_path: Path) -> None:
    """The first three wait for each other, so they meet; a fourth is never with them."""

    def define(workflow: Any, context: Any) -> None:
        def meet(data: int) -> None:
            note(tmp_path, "in")
            while trace(tmp_path).count("in") < 3:
                time.sleep(0.005)
            note(tmp_path, "out")

        each = workflow.dag.foreach_branch("each", lambda data: list(range(12)))
        each.node("meet", meet)

    run = bench.execute(define, concurrency=3)
    assert run.state == "succeeded"
    here = highest = 0
    for line in trace(tmp_path):
        here += 1 if line == "in" else -1
        highest = max(highest, here)
    assert (here, highest) == (0, 3)


def test_a_stopped_run_kills_its_nodes_and_leaves_the_others(bench: Bench, tmp_path: Path) -> None:
    def hang(workflow: Any, context: Any) -> None:
        def forever(data: bytes) -> None:
            note(tmp_path, "hang")
            time.sleep(600)

        workflow.dag.node("hang", forever)
        workflow.finally_(lambda state: note(tmp_path, f"finally {state}"))

    def quick(workflow: Any, context: Any) -> None:
        workflow.dag.node("quick", lambda data: b"fine")

    flows = [build("hang", hang), build("quick", quick)]
    hanging = bench.submit(flows[0])
    quick_run = bench.submit(flows[1])

    def stop() -> None:
        if trace(tmp_path) == ["hang"]:
            bench.store.control(hanging.id, "stop")

    stopped, fine = bench.work(flows, hanging, quick_run, observer=Acting(stop))
    assert (stopped.state, fine.state) == ("stopped", "succeeded")
    assert trace(tmp_path) == ["hang", "finally stopped"]


def test_a_drained_worker_hands_back_what_it_held(bench: Bench, tmp_path: Path) -> None:
    def define(workflow: Any, context: Any) -> None:
        each = workflow.dag.foreach_branch("each", lambda data: list(range(20)))

        def work(data: int) -> int:
            note(tmp_path, str(data))
            while not (tmp_path / "go").exists():
                time.sleep(0.005)
            return int(context.attempt)

        each.node("work", work)

    flow = build("flow", define)
    run = bench.submit(flow)

    def drain() -> None:
        assert bench.worker is not None
        if trace(tmp_path):
            bench.worker.drain(0)

    bench.work([flow], run, until=lambda: False, observer=Acting(drain))
    assert {n.state for n in bench.store.nodes(run.id) if "]/" in n.path} == {"ready"}
    (tmp_path / "go").touch()
    [ended] = bench.work([flow], run)
    assert bench.result(ended).json() == [1] * 20
    assert {a.attempt for a in bench.store.attempts(run.id)} == {1}


def test_a_result_larger_than_a_payload_may_be_is_a_failure_that_says_so(bench: Bench) -> None:
    def define(workflow: Any, context: Any) -> None:
        small = workflow.dag.node("small", lambda data: b"x" * 100)
        small >> workflow.dag.node("large", lambda data: data * 11)

    run = bench.execute(define, carrier=Carrier(None, 1000, 1000))
    assert run.error is not None
    assert "what it made has 1100 bytes, payload.max_size allows 1000" in run.error


def test_leases_are_renewed_though_the_wall_clock_is_set_back(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else what a worker holds would be taken from it until the clock has caught up."""
    true, renew, renewed = time.time, bench.store.renew, 0

    def counting(worker: int, tasks: Sequence[Task]) -> Any:
        nonlocal renewed
        renewed += 1
        if renewed == 2:
            monkeypatch.setattr(time, "time", lambda: true() - 7200)
        return renew(worker, tasks)

    monkeypatch.setattr(bench.store, "renew", counting)
    flow = build("naps", lambda workflow, context: workflow.dag.node("nap", _nap))
    bench.work([flow], bench.submit(flow), lease=0.3)
    assert renewed > 4


def _nap(data: bytes) -> bytes:
    time.sleep(0.8)
    return data


@pytest.mark.parametrize("refusal", [StoreAway("away"), StoreFull("its disk is full")])
def test_a_worker_whose_store_takes_no_leave_ends_all_the_same(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, refusal: BackendError
) -> None:
    def refuse(worker: int) -> None:
        raise refusal

    monkeypatch.setattr(bench.store, "leave", refuse)
    with host._entered(bench.store, 1):
        pass
