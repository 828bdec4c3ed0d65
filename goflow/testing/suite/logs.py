"""What nodes printed, as outcomes bring it: by attempt, in order, whole and in pages."""

from __future__ import annotations

import pytest

from goflow.backend import LogLine, Printing
from goflow.testing.store import Store, edge
from goflow.testing.suite.base import Suite


class Logging(Suite):
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
