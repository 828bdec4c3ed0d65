"""Recording outcomes: once, under the token that holds, everything of a commit together."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest

from goflow.message import Task
from goflow.payload import JSON, Payload
from goflow.state import NodeState, RunState
from goflow.testing.store import Store, Worker, edge, failure, outcome, request, success
from goflow.testing.suite.base import Suite


class Committing(Suite):
    def test_a_result_is_recorded_and_its_edges_are_followed(self, store: Store) -> None:
        w = store.worker()
        store.submit("r")
        assert w.succeed(w.one("a"), b"A", edge("a", "b"))
        seen = store.connect()
        output = seen.output("r", "a")
        assert output is not None
        assert output.data == b"A"
        (node,) = seen.nodes("r", ["a"])
        assert node.state is NodeState.SUCCEEDED
        assert node.started is not None
        assert node.finished is not None
        assert node.finished >= node.started
        assert node.digest == "c0de"
        assert w.data(w.one("b")) == {"a": b"A"}

    def test_a_commit_can_claim_what_it_made_ready(self, store: Store) -> None:
        w = store.worker()
        store.submit("r")
        claim = w.one("a")
        accepted, claims = store.backend.commit([success(claim, b"A", edge("a", "b"))], w.ask(5))
        assert accepted == [True]
        assert [c.task.path for c in claims] == ["b"]
        assert w.data(claims[0]) == {"a": b"A"}
        assert w.claim() == []

    def test_a_commit_without_outcomes_is_a_claim(self, store: Store) -> None:
        w = store.worker()
        store.submit("r")
        accepted, claims = store.backend.commit([], w.ask(5))
        assert accepted == []
        assert [c.task.path for c in claims] == ["a"]

    def test_one_commit_answers_for_many_outcomes_in_their_order(self, store: Store) -> None:
        w = store.worker()
        store.submit("r1", "a", "b")
        store.submit("r2")
        claims = {(c.task.run_id, c.task.path): c for c in w.claim()}
        stale = claims["r1", "b"]
        assert w.release(stale)
        w.one("b")
        outcomes = [
            success(claims["r1", "a"], b"1"),
            success(stale, b"stale"),
            success(claims["r2", "a"], b"2", ends=True),
        ]
        accepted, _ = store.backend.commit(outcomes)
        assert accepted == [True, False, True]
        assert store.output("a", "r1") == b"1"
        assert store.output("b", "r1") is None
        assert store.backend.result("r2").data == b"2"

    def test_the_same_commit_twice_changes_nothing(self, store: Store) -> None:
        w = store.worker()
        store.submit("r", "a", "b")
        a, b = w.each("a", "b")
        once = success(a, b"A", edge("a", "join", 2), edge("a", "next"), log=b"printed")
        assert store.backend.commit([once])[0] == [True]
        before, revision = store.nodes(), store.run("r").revision
        store.backend.commit([once])
        store.connect().commit([once, once])
        assert store.nodes() == before
        assert store.run("r").revision == revision
        assert len(store.backend.attempts("r")) == 1
        assert [line.data for line in store.backend.logs("r")] == [b"printed"]
        assert w.paths() == ["next"], "the join still waits for b"
        assert w.succeed(b, b"B", edge("b", "join", 2))
        store.backend.commit([once])
        assert w.data(w.one("join")) == {"a": b"A", "b": b"B"}
        assert w.claim() == []

    def test_the_same_commit_in_one_call_counts_once(self, store: Store) -> None:
        w = store.worker()
        store.submit("r")
        once = success(w.one("a"), b"A", edge("a", "b"), log=b"printed")
        accepted, claims = store.backend.commit([once, once], w.ask())
        assert accepted[0]
        assert [c.task.path for c in claims] == ["b"]
        again = outcome(claims[0], failure=failure(claims[0]), retry_at=0.0, log=b"failed")
        assert store.backend.commit([again, again])[0][0]
        store.tick()
        assert w.one("b").task.attempt == 2
        assert [(a.path, a.state) for a in store.backend.attempts("r")] == [
            ("a", "succeeded"),
            ("b", "failed"),
        ]
        assert [line.data for line in store.backend.logs("r")] == [b"printed", b"failed"]

    def test_a_late_commit_changes_nothing(self, store: Store) -> None:
        zombie, w = store.worker(own=True), store.worker()
        store.submit("r")
        old = zombie.one("a")
        store.vanish(zombie)
        store.tick()
        new = w.one("a")
        assert new.task.token != old.task.token
        before = store.run("r")
        late = {"key": Payload(b"late")}
        assert not zombie.succeed(old, b"late", edge("a", "wrong"), writes=late, log=b"late")
        assert store.run("r") == before
        assert store.output("a") is None
        assert w.claim() == [], "nothing of the late commit was made ready"
        assert w.succeed(new, b"right", edge("a", "b"))
        assert not zombie.succeed(old, b"late", edge("a", "wrong"), writes=late, log=b"late")
        assert store.output("a") == b"right"
        assert store.backend.context("r", "key") is None
        assert store.backend.logs("r") == []
        assert w.data(w.one("b")) == {"a": b"right"}
        assert w.claim() == []

    def test_a_late_failure_does_not_fail_the_run(self, store: Store) -> None:
        zombie, w = store.worker(own=True), store.worker()
        store.submit("r")
        old = zombie.one("a")
        store.vanish(zombie)
        store.tick()
        new = w.one("a")
        assert not zombie.fail(old)
        assert not zombie.retry(old, at=0)
        assert not zombie.rescue(old)
        assert not zombie.killed(old)
        assert not zombie.release(old)
        assert store.state("r") is RunState.RUNNING
        assert w.claim() == []
        assert w.succeed(new, b"right", ends=True)
        assert not zombie.fail(old)
        assert store.backend.result("r").data == b"right"

    def test_a_task_nobody_was_given_is_refused(self, store: Store) -> None:
        w = store.worker()
        store.submit("r")
        claim = w.one("a")
        task = msgspec.structs.replace(claim.task, token=claim.task.token + "0")
        wrong = msgspec.structs.replace(claim, task=task)
        assert not w.succeed(wrong, b"wrong", ends=True)
        assert w.lost(wrong) == [("a", "lost")]
        assert store.nodes() == {"a": NodeState.RUNNING}
        assert w.succeed(claim, b"right", ends=True)

    def test_a_join_is_ready_exactly_when_it_is_complete(self, store: Store) -> None:
        w = store.worker()
        store.submit("r", "a", "b", "c")
        a, b, c = w.each("a", "b", "c")
        assert w.succeed(c, b"C", edge("c", "join", 3))
        assert w.claim() == []
        assert w.succeed(a, b"A", edge("a", "join", 3))
        assert w.claim() == []
        assert dict(store.backend.arrivals("r", "join")) == {"a": Payload(b"A"), "c": Payload(b"C")}
        assert w.succeed(b, b"B", edge("b", "join", 3))
        assert w.data(w.one("join")) == {"a": b"A", "b": b"B", "c": b"C"}
        assert w.claim() == []

    def test_what_arrived_at_an_unfinished_join_survives_the_end_of_every_process(
        self, store: Store
    ) -> None:
        w = store.worker()
        store.submit("r", "a", "b")
        a, b = w.each("a", "b")
        assert w.succeed(a, b"A", edge("a", "join", 2))
        assert w.release(b)
        store.reopen()
        w = store.worker()
        assert w.succeed(w.one("b"), b"B", edge("b", "join", 2))
        assert w.data(w.one("join")) == {"a": b"A", "b": b"B"}

    def test_sources_that_finish_at_the_same_time_complete_a_join_once(self, store: Store) -> None:
        width = 24
        store.submit("r", *(f"n{i}" for i in range(width)))

        def drain(_: int) -> list[str]:
            backend = self.open_backend(store.folder)
            try:
                worker, got = Worker(backend), []
                while claims := worker.claim(1):
                    path = claims[0].task.path
                    got.append(path)
                    if path != "join":
                        assert worker.succeed(claims[0], path.encode(), edge(path, "join", width))
                return got
            finally:
                backend.close()

        with ThreadPoolExecutor(3) as pool:
            taken = [path for got in pool.map(drain, range(3)) for path in got]
        assert sorted(taken) == sorted(["join", *(f"n{i}" for i in range(width))])
        arrived = store.backend.arrivals("r", "join")
        assert sorted(source for source, _ in arrived) == sorted(f"n{i}" for i in range(width))

    def test_an_edge_brings_what_its_sender_recorded_or_what_it_says_itself(
        self, store: Store
    ) -> None:
        w = store.worker()
        store.submit("r")
        output = Payload(b'{"a":1}', JSON)
        sent = w.succeed(
            w.one("a"),
            output,
            edge("a", "plain"),
            edge("a", "forwarded", payload=b"reshaped"),
            edge("a", "empty", payload=b""),
            edge("a", "ordered", carries=False),
        )
        assert sent
        plain, forwarded, empty, ordered = w.each("plain", "forwarded", "empty", "ordered")
        assert w.inputs(plain) == {"a": output}
        assert w.inputs(forwarded) == {"a": Payload(b"reshaped")}
        assert w.inputs(empty) == {"a": Payload()}
        assert w.inputs(ordered) == {"a": None}
        seen = store.connect()
        assert seen.arrivals("r", "plain") == [("a", output)]
        assert seen.arrivals("r", "forwarded") == [("a", Payload(b"reshaped"))]
        assert seen.arrivals("r", "ordered") == [("a", None)]

    def test_a_large_result_goes_to_everyone_who_needs_it(self, store: Store) -> None:
        w = store.worker()
        store.submit("r")
        large = Payload(bytes(range(256)) * 8192)
        assert w.succeed(w.one("a"), large, edge("a", "b"), edge("a", "c"))
        for claim in w.each("b", "c"):
            assert w.inputs(claim) == {"a": large}
        assert store.connect().output("r", "a") == large

    def test_inputs_can_be_read_again_from_the_store(self, store: Store) -> None:
        w = store.worker()
        store.submit("r", "a", "b")
        for claim in w.each("a", "b"):
            name = claim.task.path
            assert w.succeed(claim, name.encode(), edge(name, "join", 2, carries=name == "a"))
        claim = w.one("join")
        pairs = [pair for chunk in store.connect().inputs(claim.task) for pair in chunk]
        assert sorted(pairs, key=str) == sorted([("a", Payload(b"a")), ("b", None)], key=str)

    def test_node_paths_may_hold_any_encoded_key(self, store: Store) -> None:
        w = store.worker()
        paths = [
            "kyc/a",
            "each[%20%2F%25]/b",
            "outer[x]/inner[ünï☃]/c",
            "each[" + "%0A" * 256 + "]/d",
        ]
        store.submit("r", *paths)
        for claim in w.each(*paths):
            assert w.succeed(claim, claim.task.path.encode())
        assert [store.output(path) for path in paths] == [path.encode() for path in paths]
        assert {a.path for a in store.backend.attempts("r")} == set(paths)

    def test_context_writes_are_recorded_with_the_result(self, store: Store) -> None:
        w = store.worker()
        store.submit("r", "a", "b")
        store.submit("r2")
        claims = {(c.task.run_id, c.task.path): c for c in w.claim()}
        written = {"n": Payload(b"1", JSON), "raw": Payload(b"\x00")}
        assert store.backend.context("r", "n") is None
        assert w.succeed(claims["r", "a"], b"", edge("a", "c"), writes=dict(written))
        seen = store.connect()
        assert {key: seen.context("r", key) for key in written} == written
        assert seen.context("r", "other") is None
        assert seen.context("r2", "n") is None, "another run has its own"
        assert w.succeed(claims["r", "b"], b"", writes={"n": Payload(b"2", JSON), "raw": None})
        assert seen.context("r", "n") == Payload(b"2", JSON), "the later commit wins"
        assert seen.context("r", "raw") is None, "None deletes"
        assert seen.context_keys("r") == ["n"]
        assert w.succeed(w.one("c"), b"", writes={"absent": None})
        assert seen.context("r", "absent") is None

    @pytest.mark.parametrize("key", ["k" * 1024, "ünï ☃", "a\nb:c/d", "{x}"])
    def test_a_context_key_may_be_any_text(self, store: Store, key: str) -> None:
        w = store.worker()
        store.submit("r")
        assert w.succeed(w.one("a"), b"", writes={key: Payload(b"v")})
        assert store.connect().context("r", key) == Payload(b"v")
        assert store.connect().context_keys("r") == [key]

    def test_each_connection_of_a_worker_may_commit_its_task(self, store: Store) -> None:
        w = store.worker()
        store.backend.submit(request("r"))
        claim: Task = w.one("a").task
        other = store.connect()
        renewed = other.renew(w.id, [claim])
        assert renewed == []
