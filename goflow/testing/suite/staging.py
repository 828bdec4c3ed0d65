"""Scopes that are staged before their branch opens: seen with all others or never."""

from __future__ import annotations

from goflow.message import Claim, Opened, Step
from goflow.state import NodeState
from goflow.testing.store import Store, closes, outcome, scopes, success
from goflow.testing.suite.opening import Opening

#: scopes staged or committed in one call
_CHUNK = 500


class Staging(Opening):
    def test_staged_scopes_are_invisible_until_their_branch_opens(self, store: Store) -> None:
        w = store.worker()
        branch = self.branch(store, w)
        store.backend.stage(branch.task, scopes("each", "ab"))
        store.backend.stage(branch.task, scopes("each", "cd"))
        assert w.claim() == []
        assert store.nodes() == {"each": NodeState.RUNNING}
        assert w.open(branch, scopes("each", "e"), expects=5, keys=tuple("abcde"))
        claims = w.claim()
        assert [c.task.path for c in claims] == [f"each[{key}]/x" for key in "abcde"]
        assert [w.data(c) for c in claims] == [{"": key.encode()} for key in "abcde"]

    def test_all_scopes_may_be_staged(self, store: Store) -> None:
        w = store.worker()
        branch = self.branch(store, w)
        store.backend.stage(branch.task, scopes("each", "abc"))
        assert w.open(branch, [], expects=3, window=2, keys=tuple("abc"))
        assert w.paths() == ["each[a]/x", "each[b]/x"]

    def test_what_a_lost_attempt_staged_is_dropped(self, store: Store) -> None:
        zombie, w = store.worker(own=True), store.worker()
        old = self.branch(store, zombie)
        zombie.backend.stage(old.task, scopes("each", "wxyz"))
        store.vanish(zombie)
        store.tick()
        new = w.one("each")
        store.backend.stage(new.task, scopes("each", "a"))
        zombie.backend.stage(old.task, scopes("each", "v"))
        assert not zombie.open(old, [], expects=5, keys=tuple("wxyzv"))
        assert w.claim() == []
        assert w.open(new, scopes("each", "b"), expects=2, keys=("a", "b"))
        zombie.backend.stage(old.task, scopes("each", "u"))
        claims = w.each("each[a]/x", "each[b]/x")
        assert w.claim() == []
        for claim in claims:
            self.close_scope(w, claim)
        assert w.data(w.one("each")) == {"a": b"A", "b": b"B"}

    def test_what_a_failed_attempt_staged_is_dropped(self, store: Store) -> None:
        w = store.worker()
        branch = self.branch(store, w)
        store.backend.stage(branch.task, scopes("each", "wxyz"))
        assert w.retry(branch, at=0)
        store.tick()
        again = w.one("each")
        store.backend.stage(again.task, scopes("each", "a"))
        assert w.open(again, [], expects=1, keys=("a",))
        assert w.paths() == ["each[a]/x"]

    def test_what_a_lost_attempt_staged_is_dropped_though_the_next_stages_nothing(
        self, store: Store
    ) -> None:
        zombie, w = store.worker(own=True), store.worker()
        old = self.branch(store, zombie)
        zombie.backend.stage(old.task, scopes("each", "wx"))
        store.vanish(zombie)
        store.tick()
        assert w.open(w.one("each"), scopes("each", "ab"), keys=("a", "b"))
        assert w.paths() == ["each[a]/x", "each[b]/x"]

    def test_opening_twice_opens_once(self, store: Store) -> None:
        w = store.worker()
        branch = self.branch(store, w)
        store.backend.stage(branch.task, scopes("each", "a"))
        opened = outcome(
            branch, step=Step(opened=Opened(2, 0, ("a", "b"), tuple(scopes("each", "b"))))
        )
        assert store.backend.commit([opened])[0] == [True]
        store.backend.commit([opened])
        claims = w.each("each[a]/x", "each[b]/x")
        store.backend.commit([opened])
        assert w.claim() == []
        for claim in claims:
            self.close_scope(w, claim)
        store.backend.commit([opened])
        assert w.data(w.one("each")) == {"a": b"A", "b": b"B"}
        assert w.claim() == []

    def test_a_wide_fan_out_opens_in_chunks_and_closes_with_every_result(
        self, store: Store
    ) -> None:
        w, width, window = store.worker(), self.wide, 1000
        branch = self.branch(store, w)
        for start in range(0, width, _CHUNK):
            keys = map(str, range(start, min(start + _CHUNK, width)))
            store.backend.stage(branch.task, scopes("each", keys))
        assert w.open(branch, [], expects=width, window=window, keys=None)
        first = w.claim(2 * window)
        assert len(first) == window
        assert w.claim(1) == []
        held, taken = first, {c.task.path for c in first}
        while held and not held[0].task.closing:
            now, held = held[:_CHUNK], held[_CHUNK:]
            done = [success(c, c.task.path.encode(), closes("each", _key(c))) for c in now]
            accepted, more = store.backend.commit(done, w.ask(2 * window))
            assert all(accepted)
            assert not taken & {c.task.path for c in more if not c.task.closing}
            taken |= {c.task.path for c in more if not c.task.closing}
            held += more
            assert len(held) <= window
        assert len(taken) == width
        (closing,) = held
        assert closing.task.width == width
        assert store.node("each").done == width
        assert not closing.complete, "too many inputs for one message"
        chunks = [len(chunk) for chunk in store.backend.inputs(closing.task)]
        assert len(chunks) > 1
        assert w.data(closing) == {str(i): f"each[{i}]/x".encode() for i in range(width)}
        assert w.succeed(closing, b"done", ends=True)
        assert store.backend.result("r").data == b"done"


def _key(claim: Claim) -> str:
    return claim.task.path.removesuffix("]/x").removeprefix("each[")
