"""Who is there and which flows they know; names seen before."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from goflow.backend import Definition
from goflow.errors import UnknownFlow
from goflow.testing.store import FLOW, NEWER, OTHER, Store, worker_info
from goflow.testing.suite.base import Suite

#: seconds a name is remembered in the test that outlasts it
_LIFE = 0.1


def definition(flow: tuple[str, str], plan: bytes = b"{}", file: str = "flow.py") -> Definition:
    """A definition as a process would register it."""
    return Definition(flow=flow[0], fingerprint=flow[1], plan=plan, file=file)


class Listing(Suite):
    def test_a_registered_definition_can_be_read_everywhere(self, store: Store) -> None:
        store.backend.register(definition(FLOW, b'{"a": 1}', "/x/flow.py"))
        found = store.connect().definition(FLOW[0])
        assert (found.flow, found.fingerprint) == FLOW
        assert (found.plan, found.file) == (b'{"a": 1}', "/x/flow.py")
        assert found.registered > 0
        store.reopen()
        assert store.backend.definition(FLOW[0]) == found

    def test_the_definition_registered_last_is_the_present_one(self, store: Store) -> None:
        store.backend.register(definition(FLOW, b"old"))
        store.backend.register(definition(NEWER, b"new"))
        assert store.backend.definition(FLOW[0]).plan == b"new"
        assert store.backend.definition(*FLOW).plan == b"old"
        assert store.backend.definition(*NEWER).plan == b"new"
        store.connect().register(definition(FLOW, b"old"))
        assert store.backend.definition(FLOW[0]).fingerprint == FLOW[1]

    def test_registering_again_brings_its_facts_up_to_date(self, store: Store) -> None:
        store.backend.register(definition(FLOW, file="here.py"))
        store.backend.register(definition(FLOW, file="there.py"))
        assert store.backend.definition(FLOW[0]).file == "there.py"
        assert len(store.backend.definitions()) == 1

    def test_definitions_lists_the_present_one_of_every_flow_by_name(self, store: Store) -> None:
        assert store.backend.definitions() == []
        for flow in (OTHER, NEWER, FLOW):
            store.backend.register(definition(flow))
        listed = store.connect().definitions()
        assert [(d.flow, d.fingerprint) for d in listed] == sorted([FLOW, OTHER])

    def test_a_flow_nobody_registered_is_unknown(self, store: Store) -> None:
        store.backend.register(definition(FLOW))
        with pytest.raises(UnknownFlow, match="flwo"):
            store.backend.definition("flwo")
        with pytest.raises(UnknownFlow):
            store.backend.definition(*NEWER)

    def test_a_worker_that_entered_is_listed(self, store: Store) -> None:
        info = worker_info((FLOW, OTHER))
        number = store.backend.enter(info)
        assert number > 0
        (found,) = store.connect().workers()
        assert found.id == number
        assert found.alive
        assert (found.host, found.pid, found.concurrency) == (info.host, info.pid, 5)
        assert set(found.flows) == {FLOW, OTHER}

    def test_every_worker_has_its_own_id(self, store: Store) -> None:
        ids = [store.connect().enter(worker_info((FLOW,))) for _ in range(4)]
        assert len(set(ids)) == 4
        assert sorted(w.id for w in store.backend.workers()) == sorted(ids)

    def test_a_worker_that_left_is_not_alive(self, store: Store) -> None:
        w = store.worker()
        stays = store.worker()
        w.backend.leave(w.id)
        assert [found.id for found in store.backend.workers() if found.alive] == [stays.id]
        w.backend.leave(w.id)

    def test_a_worker_that_vanished_is_not_alive(self, store: Store) -> None:
        zombie, stays = store.worker(own=True), store.worker()
        store.vanish(zombie)
        assert stays.id in {found.id for found in store.backend.workers() if found.alive}
        assert zombie.id not in {found.id for found in store.backend.workers() if found.alive}

    def test_a_worker_shows_what_it_is_doing(self, store: Store) -> None:
        w = store.worker()
        store.submit("r", "a", "b")
        a, _ = w.each("a", "b")
        assert w.lost(a) == []
        (found,) = store.backend.workers()
        assert sorted(found.doing) == ["r/a", "r/b"]

    def test_a_store_is_told_from_every_other(self, store: Store, tmp_path: Path) -> None:
        name = store.backend.identity()
        assert name.isalnum()
        assert store.connect().identity() == name
        store.reopen()
        assert store.backend.identity() == name
        other = Store(self, tmp_path / "other")
        try:
            assert other.backend.identity() != name
        finally:
            other.close()

    def test_a_name_is_new_once_on_every_connection(self, store: Store) -> None:
        assert store.backend.remember("nonce", 60)
        assert not store.backend.remember("nonce", 60)
        assert not store.connect().remember("nonce", 60)
        assert store.backend.remember("another", 60)

    def test_a_name_is_forgotten_after_its_lifetime(self, store: Store) -> None:
        assert store.backend.remember("brief", _LIFE)
        assert store.backend.remember("long", 3600)
        until = time.time() + 2 * _LIFE
        while time.time() < until:
            time.sleep(_LIFE / 2)
        assert store.backend.remember("brief", 60)
        assert not store.backend.remember("long", 60)
        assert not store.backend.remember("brief", 60)
