"""Reading runs: lists, node states, attempts, logs, revisions, and ids nobody knows."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from goflow.backend import Backend, LogLine, Paged, Printing, Retry
from goflow.errors import GoflowError, UnknownRun
from goflow.glimpse import Glimpse, attempts_at, last_logs, of_arrivals, of_output, of_request
from goflow.payload import Payload
from goflow.state import NodeState, RunState
from goflow.testing.store import FLOW, OTHER, Store, edge, request, scopes
from goflow.testing.suite.base import Suite
from goflow.wholesale import all_arrivals, nodes_and_tries, outputs

_READS: dict[str, Callable[[Backend], object]] = {
    "run": lambda b: b.run("nobody"),
    "result": lambda b: b.result("nobody"),
    "request": lambda b: b.request("nobody"),
    "nodes": lambda b: b.nodes("nobody"),
    "some nodes": lambda b: b.nodes("nobody", ["a"]),
    "arrivals": lambda b: b.arrivals("nobody", "a"),
    "output": lambda b: b.output("nobody", "a"),
    "attempts": lambda b: b.attempts("nobody"),
    "nodes and tries": lambda b: nodes_and_tries(b, "nobody"),
    "logs": lambda b: b.logs("nobody"),
    "pause": lambda b: b.control("nobody", "pause"),
    "resume": lambda b: b.control("nobody", "resume"),
    "stop": lambda b: b.control("nobody", "stop"),
    "retry": lambda b: b.retry("nobody", Retry()),
    "context": lambda b: b.context("nobody", "key"),
    "context_keys": lambda b: b.context_keys("nobody"),
    "watch": lambda b: b.watch("nobody"),
}


class Reading(Suite):
    @pytest.mark.parametrize("read", _READS)
    def test_a_run_that_nobody_submitted_is_unknown(self, store: Store, read: str) -> None:
        store.submit("somebody")
        with pytest.raises(UnknownRun) as error:
            _READS[read](store.backend)
        assert "nobody" in str(error.value)

    def test_runs_are_listed_the_newest_first(self, store: Store) -> None:
        ids = [f"r{number}" for number in range(5)]
        for run_id in ids:
            store.submit(run_id)
        seen = store.connect()
        assert [run.id for run in seen.runs()] == ids[::-1]
        assert seen.runs() == [seen.run(run_id) for run_id in ids[::-1]]
        assert [run.id for run in seen.runs(limit=2)] == ["r4", "r3"]

    def test_runs_are_filtered_by_flow_and_state_before_they_are_counted(
        self, store: Store
    ) -> None:
        w = store.worker(FLOW, OTHER)
        store.submit("r1")
        store.submit("r2", flow=OTHER)
        for claim in w.claim():
            assert w.succeed(claim, b"", ends=True)
        store.submit("r3", flow=OTHER)
        store.submit("r4")
        for number in range(5, 9):
            store.submit(f"r{number}", flow=("third", "0" * 16))

        def listed(**filters: object) -> list[str]:
            return [run.id for run in store.backend.runs(**filters)]  # type: ignore[arg-type]

        assert listed(flow=FLOW[0]) == ["r4", "r1"]
        assert listed(flow=OTHER[0], limit=1) == ["r3"]
        assert listed(state=RunState.SUCCEEDED) == ["r2", "r1"]
        assert listed(state=RunState.SUCCEEDED, limit=1) == ["r2"]
        assert listed(flow=OTHER[0], state=RunState.QUEUED) == ["r3"]
        assert listed(flow="none") == []
        assert listed(state=RunState.STOPPED) == []
        assert store.backend.runs(limit=0) == []

    def test_a_run_is_listed_under_the_state_it_is_in(self, store: Store) -> None:
        w = store.worker()
        backend = store.backend

        def listed(state: RunState, flow: str | None = None) -> list[str]:
            return [run.id for run in backend.runs(flow, state)]

        for run_id in ("ok", "bad", "held", "stop"):
            store.submit(run_id)
        assert listed(RunState.QUEUED) == ["stop", "held", "bad", "ok"]
        backend.control("stop", "pause")
        assert listed(RunState.PAUSED) == listed(RunState.PAUSED, FLOW[0]) == ["stop"]
        held = {claim.task.run_id: claim for claim in w.claim()}
        assert listed(RunState.QUEUED) == []
        assert listed(RunState.RUNNING) == ["held", "bad", "ok"]
        backend.control("held", "stop")
        assert listed(RunState.STOPPING) == ["held"]
        backend.control("stop", "resume")
        assert listed(RunState.QUEUED, FLOW[0]) == ["stop"]
        backend.control("stop", "stop")
        assert w.succeed(held["ok"], b"", ends=True)
        assert w.fail(held["bad"])
        assert w.killed(held["held"])
        assert listed(RunState.SUCCEEDED) == ["ok"]
        assert listed(RunState.FAILED) == listed(RunState.FAILED, FLOW[0]) == ["bad"]
        assert listed(RunState.STOPPED) == ["stop", "held"]
        assert listed(RunState.STOPPED, OTHER[0]) == []
        backend.retry("bad", Retry())
        assert (listed(RunState.FAILED), listed(RunState.QUEUED)) == ([], ["bad"])
        backend.forget("held")
        assert listed(RunState.STOPPED) == ["stop"]
        assert [run.id for run in backend.runs()] == ["stop", "bad", "ok"]

    def test_a_list_goes_on_before_the_last_run_of_a_page(self, store: Store) -> None:
        w = store.worker(FLOW, OTHER)
        for number in range(20):
            store.submit(f"r{number:02}", flow=(FLOW, OTHER, ("third", "0" * 16))[number % 3])
        for claim in w.claim(9):
            assert w.succeed(claim, b"", ends=True)
        for flow in (None, FLOW[0], "third", "none"):
            for state in (None, RunState.QUEUED, RunState.SUCCEEDED):
                for run in store.backend.runs(flow, state):
                    assert flow in (None, run.flow)
                    assert state in (None, run.state)
                told = [run.id for run in store.backend.runs(flow, state)]
                paged: list[str] = []
                while page := store.backend.runs(flow, state, 3, paged[-1] if paged else None):
                    assert len(page) <= 3
                    paged += [run.id for run in page]
                assert paged == told == sorted(told, reverse=True)

    def test_a_list_goes_on_before_a_run_of_another_flow_and_state(self, store: Store) -> None:
        w = store.worker(OTHER)
        store.submit("old")
        store.submit("mark", flow=OTHER)
        store.submit("new")
        assert w.succeed(w.one("a"), b"", ends=True)
        assert [run.id for run in store.backend.runs(FLOW[0], RunState.QUEUED, 9, "mark")] == [
            "old"
        ]
        assert store.backend.runs(before="old") == []

    def test_no_list_goes_on_before_a_run_that_is_not_there(self, store: Store) -> None:
        store.submit("r")
        with pytest.raises(UnknownRun, match="nobody"):
            store.backend.runs(before="nobody")

    def test_of_what_is_recorded_a_page_reads_the_beginning(self, store: Store) -> None:
        """And the whole is what the other methods answer, by bytes and by type."""
        w = store.worker()
        long, text = b"0123456789" * 30_000, Payload("äöü".encode() * 100, "text/plain")
        asked = request("r", "a", payload=b"in" * 50_000)
        store.backend.submit(asked)
        made = Payload(long, "application/json")
        assert w.succeed(w.one("a"), made, edge("a", "b", expects=3), edge("a", "c"))
        assert w.succeed(w.one("c"), text, edge("c", "b", expects=3), edge("c", "d"))
        assert w.succeed(w.one("d"), b"", edge("d", "b", expects=3, carries=False))
        seen = store.connect()

        def begins(whole: Payload, most: int = 10) -> Glimpse:
            return Glimpse(Payload(whole.data[:most], whole.media_type), len(whole.data))

        found, size = of_request(seen, "r", 10)
        assert (found.payload, size) == (begins(asked.payload).payload, 100_000)
        assert replace(found, payload=asked.payload) == seen.request("r")
        assert of_output(seen, "r", "a", 10) == begins(made)
        assert of_output(seen, "r", "c", 10**6) == Glimpse(text, len(text.data))
        assert of_output(seen, "r", "b", 10) is None
        told, total = of_arrivals(seen, "r", "b", 10, 2)
        whole = [(source, each and begins(each)) for source, each in seen.arrivals("r", "b")]
        assert (told, total) == (whole[:2], 3)
        assert of_arrivals(seen, "r", "b", 10, 100) == (whole, 3)
        given = [(source, each and begins(each)) for source, each in seen.arrivals("r", "a")]
        assert of_arrivals(seen, "r", "a", 10, 100) == (given, len(given))
        assert of_arrivals(seen, "r", "nowhere", 10, 100) == ([], 0)
        assert w.succeed(w.one("b"), text, ends=True)
        assert of_output(seen, "r", None, 7) == begins(text, 7)
        with pytest.raises(UnknownRun):
            of_request(seen, "nobody", 1)
        with pytest.raises(UnknownRun):
            of_output(seen, "nobody", "a", 1)
        with pytest.raises(UnknownRun):
            of_arrivals(seen, "nobody", "a", 1, 1)
        with pytest.raises(UnknownRun):
            last_logs(seen, "nobody", None, 1)
        with pytest.raises(UnknownRun):
            attempts_at(seen, "nobody", "a")

    def test_the_end_of_a_log_is_read_from_its_end(self, store: Store) -> None:
        w = store.worker()
        for number in range(3):
            store.submit("r" if number == 0 else f"r{number}", "a", "b")
        for claim in w.claim():
            path = claim.task.path.encode()
            assert w.retry(claim, at=0, log=b"first " + path)
        store.tick()
        for claim in w.claim():
            path = claim.task.path.encode()
            assert w.succeed(claim, b"", log=b"second " + path)
        seen = store.connect()
        everything = seen.logs("r")
        assert len(everything) == 4
        assert last_logs(seen, "r", None, 10**6) == everything
        assert last_logs(seen, "r", None, 1) == everything[-1:]
        assert last_logs(seen, "r", None, 10) == everything[-2:]
        assert last_logs(seen, "r", "a", 10**6) == seen.logs("r", "a")
        assert last_logs(seen, "r", "a", 1) == seen.logs("r", "a")[-1:]
        assert last_logs(seen, "r", "nowhere", 10) == []
        for node in ("a", "b", "nowhere"):
            mine = [each for each in seen.attempts("r") if each.path == node]
            assert attempts_at(seen, "r", node) == mine
        assert [each.state for each in attempts_at(seen, "r", "a")] == ["failed", "succeeded"]

    def test_a_run_of_any_width_is_read_page_by_page(self, store: Store) -> None:
        w = store.worker()
        keys = tuple(str(number) for number in range(1500))
        store.submit("r", "each")
        each = w.one("each")
        assert w.open(each, scopes("each", keys), expects=len(keys), keys=keys)
        if not isinstance(store.backend, Paged):
            pytest.skip("this backend reads nodes all at once")
        pages = list(store.connect().node_pages("r"))  # type: ignore[attr-defined]
        assert max(map(len, pages)) <= 1000
        told = sorted((node for page in pages for node in page), key=lambda node: node.path)
        assert told == sorted(store.backend.nodes("r"), key=lambda node: node.path)
        with pytest.raises(UnknownRun):
            list(store.backend.node_pages("nobody"))

    def test_a_store_without_runs_lists_none(self, store: Store) -> None:
        assert store.backend.runs() == []

    def test_nodes_come_in_the_order_they_were_first_ready(self, store: Store) -> None:
        w = store.worker()
        store.submit("r", "z", "a")
        z, a = w.each("z", "a")
        assert w.succeed(a, b"A", edge("a", "m"), edge("a", "b"))
        assert w.retry(z, at=0)
        store.tick()
        assert w.one("m").task.path == "m"
        recorded = [node.path for node in store.connect().nodes("r")]
        assert recorded == ["z", "a", "m", "b"]

    def test_nodes_can_be_picked_by_path(self, store: Store) -> None:
        store.submit("r", "a", "b", "c")
        picked = store.backend.nodes("r", ["c", "a", "nowhere"])
        assert [node.path for node in picked] == ["a", "c"]
        assert store.backend.nodes("r", []) == []

    def test_a_node_tells_its_life(self, store: Store) -> None:
        w = store.worker()
        store.submit("r", "a")
        ready = store.node("a")
        assert (ready.state, ready.started, ready.finished) == (NodeState.READY, None, None)
        assert ready.ready is not None
        claim = w.one("a")
        running = store.node("a")
        assert (running.state, running.worker, running.finished) == (NodeState.RUNNING, w.id, None)
        assert running.started is not None
        assert w.fail(claim, "boom")
        failed = store.node("a")
        assert failed.state is NodeState.FAILED
        assert failed.finished is not None
        assert failed.error == "ValueError: boom"
        assert (failed.width, failed.done, failed.keys) == (None, 0, None)

    def test_a_join_waits_until_the_last_of_its_inputs(self, store: Store) -> None:
        w = store.worker()
        store.submit("r", "a", "b")
        a, b = w.each("a", "b")
        assert w.succeed(a, b"A", edge("a", "join", 2))
        assert store.nodes().get("join", NodeState.WAITING) is NodeState.WAITING
        assert w.succeed(b, b"B", edge("b", "join", 2))
        assert store.nodes()["join"] is NodeState.READY

    def test_what_is_not_recorded_is_none(self, store: Store) -> None:
        w = store.worker()
        store.submit("r")
        assert store.backend.output("r", "a") is None
        assert store.backend.output("r", "nowhere") is None
        assert store.backend.arrivals("r", "nowhere") == []
        assert store.backend.attempts("r") == []
        assert store.backend.logs("r") == []
        w.one("a")
        assert store.backend.output("r", "a") is None
        assert store.backend.attempts("r") == []

    def test_one_look_shows_the_nodes_and_the_attempts_that_they_do_not_tell(
        self, store: Store
    ) -> None:
        w = store.worker()
        store.submit("r", "a", "b", "c")
        a, b, c = w.each("a", "b", "c")
        assert w.retry(b, at=0)
        assert w.succeed(a, b"A")
        store.tick()
        assert w.succeed(w.one("b"), b"B")
        assert w.fail(c, "boom")
        nodes, tries = nodes_and_tries(store.connect(), "r")
        assert nodes == store.backend.nodes("r")
        more = [each for each in store.backend.attempts("r") if each.path != "a"]
        assert [(each.path, each.state) for each in more] == [
            ("b", "failed"),
            ("b", "succeeded"),
            ("c", "failed"),
        ]
        assert [each for each in tries if each.path != "a"] == more

    def test_what_many_nodes_recorded_is_read_as_one_by_one(self, store: Store) -> None:
        w, width = store.worker(), 40
        wide = [f"n{number}" for number in range(width)]
        store.submit("r", *wide)
        for claim in w.claim():
            name = claim.task.path
            sent = edge(name, "other", payload=b"reshaped"), edge(name, "ordered", carries=False)
            more = sent if name == "n0" else ()
            assert w.succeed(claim, name.encode(), edge(name, "join", width), *more)
        paths = [*wide, "join", "other", "ordered", "nowhere", "n0"]
        seen = store.connect()
        assert outputs(seen, "r", paths) == [seen.output("r", path) for path in paths]
        found = all_arrivals(seen, "r", paths)
        assert found == [seen.arrivals("r", path) for path in paths]
        assert len(found[width]) == width, "the join has all of its inputs"
        with pytest.raises(UnknownRun):
            outputs(seen, "nobody", ["a"])

    def test_attempts_tell_how_each_ended(self, store: Store) -> None:
        w = store.worker()
        store.submit("r", "a", "b")
        a, b = w.each("a", "b")
        assert w.retry(a, at=0, message="once")
        store.tick()
        assert w.succeed(w.one("a"), b"A")
        store.backend.control("r", "stop")
        assert w.killed(b)
        told = store.connect().attempts("r")
        assert [(t.path, t.attempt, t.state) for t in told] == [
            ("a", 1, "failed"),
            ("a", 2, "succeeded"),
            ("b", 1, "stopped"),
        ]
        assert told[0].error is not None
        assert "ValueError: once" in told[0].error
        assert (told[1].error, told[2].error) == (None, None)
        assert {t.digest for t in told} == {"c0de"}
        assert {t.round for t in told} == {1}
        assert "" not in {t.worker for t in told}, "HOST:PID, or at least its number"
        assert [t for t in told if not t.finished >= t.started > 0] == []

    def test_logs_are_kept_for_every_attempt_in_order(self, store: Store) -> None:
        w = store.worker()
        store.submit("r", "a", "b")
        a, b = w.each("a", "b")
        assert w.retry(a, at=0, log=b"first\n")
        assert w.succeed(b, b"B", log=b"\xff\x00 raw")
        store.tick()
        assert w.succeed(w.one("a"), b"A", edge("a", "c"), log=b"second\n")
        assert w.fail(w.one("c"), log=b"third\n")
        lines = store.connect().logs("r")
        assert [(line.path, line.attempt, line.data) for line in lines] == [
            ("a", 1, b"first\n"),
            ("b", 1, b"\xff\x00 raw"),
            ("a", 2, b"second\n"),
            ("c", 1, b"third\n"),
        ]
        ids = [line.id for line in lines]
        assert ids == sorted(set(ids))
        assert ids[0] > 0, "so that after=0 is the beginning"
        assert all(line.time > 0 for line in lines)
        assert store.backend.logs("r", after=ids[1]) == lines[2:]
        assert store.backend.logs("r", after=ids[-1]) == []
        assert store.backend.logs("r", path="a") == [lines[0], lines[2]]
        assert store.backend.logs("r", path="a", after=ids[0]) == [lines[2]]
        assert store.backend.logs("r", path="nowhere") == []
        assert store.backend.logs("r", limit=2) == lines[:2]
        assert store.backend.logs("r", after=ids[0], limit=2) == lines[1:3]
        assert store.backend.logs("r", path="a", limit=1) == [lines[0]]
        assert store.backend.logs("r", limit=9) == lines

    def test_logs_of_many_pieces_are_read_to_their_end_and_in_pages(self, store: Store) -> None:
        w, backend = store.worker(), store.backend
        if not isinstance(backend, Printing):
            pytest.skip("this backend records only what outcomes bring")
        store.submit("r", "a", "b")
        for claim in w.each("a", "b"):
            said = [f"{claim.task.path} {n}".encode() for n in range(300)]
            backend.printed([(claim.task, piece) for piece in said])
        lines = backend.logs("r")
        assert [line.data for line in lines] == [
            f"{name} {n}".encode() for name in "ab" for n in range(300)
        ]
        assert backend.logs("r", path="b", limit=1) == [lines[300]]
        paged: list[LogLine] = []
        after = 0
        while page := backend.logs("r", after=after, limit=70):
            paged += page
            after = page[-1].id
        assert paged == lines

    def test_logs_of_one_run_are_not_those_of_another(self, store: Store) -> None:
        w = store.worker()
        store.submit("r1")
        store.submit("r2")
        for claim in w.claim():
            assert w.succeed(claim, b"", ends=True, log=claim.task.run_id.encode())
        assert [line.data for line in store.backend.logs("r1")] == [b"r1"]
        assert [line.data for line in store.backend.logs("r2")] == [b"r2"]

    def test_a_long_log_is_kept_whole(self, store: Store) -> None:
        w = store.worker()
        store.submit("r")
        printed = b"".join(b"line %d\n" % number for number in range(80_000))
        assert w.succeed(w.one("a"), b"", ends=True, log=printed)
        assert b"".join(line.data for line in store.backend.logs("r")) == printed

    def test_every_change_raises_the_revision(self, store: Store) -> None:
        w = store.worker()
        seen = [store.submit("r", "a", "b", "c").revision]

        def grown() -> bool:
            seen.append(store.run().revision)
            return seen[-1] > seen[-2]

        a, b, c = w.each("a", "b", "c")
        assert grown()
        assert w.retry(a, at=0)
        assert grown()
        assert w.release(b)
        assert grown()
        b = w.one("b")
        assert w.succeed(b, b"", edge("b", "next"))
        assert grown()
        store.backend.control("r", "pause")
        assert grown()
        store.backend.control("r", "resume")
        assert grown()
        assert w.fail(c)
        assert grown()
        store.backend.retry("r", Retry())
        assert grown()
        store.backend.control("r", "stop")
        assert grown()

    def test_looking_changes_nothing(self, store: Store) -> None:
        w = store.worker()
        store.submit("r")
        claim = w.one("a")
        before = store.run()
        for name in ("request", "nodes", "attempts", "logs"):
            getattr(store.backend, name)("r")
        with pytest.raises(GoflowError):
            store.backend.result("r")
        assert w.claim() == []
        assert w.lost(claim) == []
        store.tick()
        assert store.run() == before

    def test_an_ephemeral_store_works_and_keeps_nothing(self, store: Store) -> None:
        backend = self.open_backend(store.folder / "ephemeral", ephemeral=True)
        backend.close()
        brief = Store(self, store.folder / "ephemeral", ephemeral=True)
        w = brief.worker()
        brief.submit("r")
        assert w.succeed(w.one("a"), b"A", ends=True)
        assert brief.backend.result("r").data == b"A"
        brief.close()
        later = Store(self, store.folder / "ephemeral")
        try:
            assert later.backend.runs() == []
        finally:
            later.close()
