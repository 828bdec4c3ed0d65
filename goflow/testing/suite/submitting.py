"""Accepting a run: durable when `submit` returns, once per id."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from goflow.blobs.words import REFERS
from goflow.errors import Conflict
from goflow.message import Item
from goflow.payload import JSON, Payload
from goflow.state import RunState
from goflow.testing.store import FLOW, NEWER, Store, Worker, closes, edge, request
from goflow.testing.suite.base import Suite


class Submitting(Suite):
    def test_an_accepted_run_is_queued_and_every_connection_sees_it(self, store: Store) -> None:
        accepted = store.submit("r")
        assert accepted.state is RunState.QUEUED
        assert (accepted.id, accepted.flow, accepted.fingerprint) == ("r", *FLOW)
        assert (accepted.round, accepted.started, accepted.finished) == (1, None, None)
        assert (accepted.error, accepted.failure, accepted.ending) == (None, None, None)
        assert accepted.created > 0
        assert store.connect().run("r") == accepted

    def test_an_accepted_run_survives_the_end_of_every_process(self, store: Store) -> None:
        asked = request("r", "a", "b", headers={"x": "1"}, timeout=9.5)
        accepted = store.backend.submit(asked)
        store.reopen()
        assert store.run("r") == accepted
        assert store.backend.request("r") == asked
        assert store.worker().paths() == ["a", "b"]

    def test_what_was_submitted_can_be_read_again_whole(self, store: Store) -> None:
        asked = request(
            "r",
            "a",
            payload=bytes(range(256)),
            query={"color": ["red", "ünï"], "empty": []},
            headers={"traceparent": "00-1-2-00"},
            handlers=("~on_failure", "~finally"),
            timeout=2.0,
        )
        store.backend.submit(asked)
        assert store.connect().request("r") == asked

    def test_the_same_id_with_the_same_digest_is_the_same_run(self, store: Store) -> None:
        first = store.submit("r")
        assert store.connect().submit(request("r")) == first
        assert store.worker().paths() == ["a"], "its start is ready once"

    def test_submitting_again_changes_nothing_of_a_run_that_is_on_its_way(
        self, store: Store
    ) -> None:
        w = store.worker()
        store.submit("r")
        claim = w.one("a")
        before = store.run("r")
        assert store.submit("r") == before
        assert w.claim() == []
        assert w.succeed(claim, b"out", ends=True)
        ended = store.run("r")
        assert store.submit("r") == ended
        assert ended.state is RunState.SUCCEEDED
        assert w.claim() == []

    def test_submitting_again_keeps_the_definition_the_run_has(self, store: Store) -> None:
        store.submit("r", flow=FLOW)
        assert store.submit("r", flow=NEWER).fingerprint == FLOW[1]
        assert store.worker(NEWER).claim() == []
        assert store.worker(FLOW).paths() == ["a"]

    def test_the_same_id_with_another_digest_is_a_conflict(self, store: Store) -> None:
        first = store.submit("r", payload=b"one")
        with pytest.raises(Conflict):
            store.submit("r", payload=b"two")
        with pytest.raises(Conflict):
            store.connect().submit(request("r", payload=b"two"))
        assert store.run("r") == first
        w = store.worker()
        assert w.data(w.one("a")) == {"": b"one"}

    def test_every_start_gets_the_input_once(self, store: Store) -> None:
        store.backend.submit(
            request("r", "a", "b", "c", payload=b'{"n": 1}'),
        )
        w = store.worker()
        claims = w.each("a", "b", "c")
        assert [w.data(claim) for claim in claims] == [{"": b'{"n": 1}'}] * 3
        assert w.claim() == []

    @pytest.mark.parametrize(
        "payload",
        [
            Payload(),
            Payload(b"\x00\xff\n"),
            Payload(b"hallo", "text/plain"),
            Payload(b"[1]", JSON),
            Payload(b"x" * 2_000_000),
        ],
        ids=["empty", "binary", "text", "json", "2 MB"],
    )
    def test_a_payload_arrives_byte_for_byte_with_its_media_type(
        self, store: Store, payload: Payload
    ) -> None:
        fields = request("r")
        asked = type(fields)(
            run_id="r",
            flow=fields.flow,
            fingerprint=fields.fingerprint,
            payload=payload,
            query={},
            digest="d",
            starts=("a",),
        )
        store.backend.submit(asked)
        w = Worker(store.connect())
        claim = w.one("a")
        assert w.inputs(claim) == {"": payload}
        assert w.succeed(claim, payload, ends=True)
        assert store.backend.output("r", "a") == payload
        assert store.backend.result("r") == payload

    @pytest.mark.parametrize("media_type", REFERS.values())
    def test_a_reference_to_a_payload_kept_elsewhere_comes_back_as_it_is(
        self, store: Store, media_type: str
    ) -> None:
        reference = Payload(b"0a1b:1000000", media_type)
        store.backend.submit(replace(request("r"), payload=reference))
        w = store.worker()
        claim = w.one("a")
        assert w.inputs(claim) == {"": reference}
        assert store.backend.request("r").payload == reference
        item = Item("each[1]/", ("x",), reference)
        assert w.succeed(claim, reference, edge("a", "each"), writes={"k": reference})
        assert store.backend.context("r", "k") == reference
        each = w.one("each")
        assert w.inputs(each) == {"a": reference}
        assert w.open(each, [item], expects=1)
        scope = w.one("each[1]/x")
        assert list(w.inputs(scope).values()) == [reference]
        arrival = replace(closes("each", "1"), payload=reference)
        assert w.succeed(scope, b"", arrival)
        closing = w.one("each")
        assert w.inputs(closing) == {"1": reference}
        assert w.succeed(closing, reference, ends=True)
        assert store.backend.result("r") == reference

    @pytest.mark.parametrize("run_id", ["0", "a.b-c_d", "Z" * 128, "r1", "~x"[1:]])
    def test_any_legal_run_id_works(self, store: Store, run_id: str) -> None:
        store.submit(run_id)
        store.submit("another")
        w = store.worker()
        claims = {claim.task.run_id: claim for claim in w.claim()}
        assert set(claims) == {run_id, "another"}
        assert w.succeed(claims[run_id], b"mine", ends=True)
        assert store.backend.result(run_id).data == b"mine"
        assert store.state("another") is RunState.RUNNING
