"""What goes wrong: workers vanish and come too late, and a store loses what was written last."""

from __future__ import annotations

from itertools import cycle

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from goflow.testing.rules.base import ACTORS, ENDINGS, PICKS, Rules
from goflow.testing.store import FLOW, OTHER, Worker


class Losing(Rules):
    """Crashes, late and repeated commits, a store that falls back."""

    @precondition(lambda self: self.history.stale)
    @rule(pick=PICKS, how=ENDINGS, width=st.integers(1, 4))
    def commit_late(self, pick: int, how: str, width: int) -> None:
        """Somebody prints for and commits a task that was taken from it."""
        held = self.history.stale[pick % len(self.history.stale)]
        self.history.say_late(held)
        assert not held.worker.commit(self.history.end(held.worker, held.claim, how, width))

    @precondition(lambda self: self.history.repeats)
    @rule(pick=PICKS)
    def commit_again(self, pick: int) -> None:
        """Somebody whose reply was lost commits the same outcome again."""
        worker, made = self.history.repeats[pick % len(self.history.repeats)]
        worker.backend.commit([made])

    @precondition(lambda self: self.history.held)
    @rule(actor=ACTORS, everybody=st.sampled_from([False, False, False, True]))
    def vanish(self, actor: int, everybody: bool) -> None:
        """A worker is gone, and another takes its place, unnoticed; or all processes end at once."""
        if everybody:
            self.history.crash()
            return
        old = self._actor(actor)
        self.history.lose_touch(old)
        self.history.workers[actor] = Worker(old.backend, old.flows)

    @precondition(lambda self: self.history.gone or self.history.retrying())
    @rule()
    def tick(self) -> None:
        """Housekeeping: the tasks of vanished workers and due retries are ready again."""
        self.history.tick()

    @precondition(lambda self: self._anybodys())
    @rule(how=ENDINGS, width=st.integers(1, 4))
    def zombie_race(self, how: str, width: int) -> None:
        """One claims and vanishes, another claims; the first commits before, meanwhile and after."""
        zombie = Worker(self.history.workers[0].backend, (FLOW, OTHER))
        heir = Worker(self.history.workers[1].backend, (FLOW, OTHER))
        self.history.took(zombie, zombie.claim(1), 1)
        (old,) = [held.claim for held in self.history.held.values() if held.worker is zombie]
        self.history.lose_touch(zombie)
        self.history.tick()
        late = self.history.end(zombie, old, how, width)
        assert not zombie.commit(late)
        claims = heir.claim(100)
        self.history.took(heir, claims, 100)
        assert not zombie.commit(late)
        self.history.settle(
            heir, [self.history.end(heir, claim, "succeed", width) for claim in claims]
        )
        assert not zombie.commit(late)

    @precondition(lambda self: self.loses and self.history.runs)
    @rule()
    def remember(self) -> None:
        """What is written from here on may be lost."""
        self.history.remember()

    @precondition(lambda self: self.history.remembered is not None)
    @rule()
    def fall_back(self) -> None:
        """Another server takes over that has not heard of what was written last."""
        self.history.fall_back()

    @precondition(lambda self: self.loses and self._anybodys())
    @rule(actor=ACTORS, hows=st.lists(ENDINGS, min_size=1, max_size=3), kept=st.integers(0, 2))
    def fail_over(self, actor: int, hows: list[str], kept: int) -> None:
        """A worker holds tasks, ends some, claims others; then all but the first is lost."""
        worker, order = self._actor(actor), cycle(hows)
        self.history.took(worker, worker.claim(3), 3)
        self.history.remember()
        mine = [held.claim for held in self.history.held.values() if held.worker is worker]
        made = [self.history.end(worker, claim, next(order), 2) for claim in mine[kept:]]
        self.history.settle(worker, made, 3)
        self.history.fall_back()
