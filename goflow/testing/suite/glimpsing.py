"""Reading a part of what is recorded, or many nodes in one look: the same as the plain methods tell, for less."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from msgspec.structs import replace

from goflow.backend import NodeRun, Paged
from goflow.errors import UnknownRun
from goflow.glimpse import Glimpse, attempts_at, last_logs, of_arrivals, of_output, of_request
from goflow.message import Claim
from goflow.payload import Payload
from goflow.testing.store import Store, edge, request, scopes
from goflow.testing.suite.base import Suite
from goflow.wholesale import Listed, Ordered, all_arrivals, nodes_and_tries, outputs


class Glimpsing(Suite):
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

    def test_a_run_of_any_width_is_listed_in_pieces(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        w, width = store.worker(), 2500
        store.submit("r", "each")
        keys = tuple(map(str, range(width)))
        assert w.open(w.one("each"), scopes("each", keys))
        held: list[Claim] = []
        while some := w.claim(1000):  # a store may open scopes as they are asked for
            held += some
        assert w.fail(held[0], "boom")
        seen = store.connect()
        if not isinstance(seen, Ordered):
            pytest.skip("this backend tells nodes all at once")
        everything = seen.nodes("r")
        pieces: list[int] = []

        def counted(run_id: str, paths: Iterable[str] | None = None) -> list[NodeRun]:
            found = type(seen).nodes(seen, run_id, paths)
            pieces.append(len(found))
            return found

        monkeypatch.setattr(seen, "nodes", counted)
        listed = Listed(seen, "r")
        assert list(listed) == everything
        assert listed.tries == nodes_and_tries(store.backend, "r")[1]
        assert len(pieces) >= 3
        assert max(pieces) <= 1000
        with pytest.raises(UnknownRun):
            Listed(seen, "nobody")

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
