"""Housekeeping that any worker does, in small bounded steps and without a lock."""

from __future__ import annotations

import random
import time
from typing import Final

from goflow_redis.store import MS, Store

#: held tasks taken back, retries promoted, runs looked at by one script call
REAP: Final = 50
PROMOTE: Final = 100
SWEEP: Final = 100
#: seconds between two sweeps by one worker, and that a vanished worker is told of
SWEEP_PAUSE: Final = 10.0
GONE: Final = 3600.0


class Ticks(Store):
    """`tick` and what it does. `grace` is in seconds: how long a connection must have been steady, and the
    server up, before anything is taken back. An idle time counts the server's absence too."""

    grace: float | None = None
    _reap_at = 0.0
    _sweep_at = 0.0

    def tick(self, worker: int) -> float | None:
        """Promote due retries, take back what vanished workers held, end runs past their timeout, drop
        what is past its retention. Answers the time of the next thing that is due."""
        now = time.monotonic()
        due = min(filter(None, map(self._promote, self.keys.partitions)), default=None)
        if now >= self._reap_at:
            grace = self.lease if self.grace is None else self.grace
            self._reap_at = now + min(1.0, self.lease / 6, grace) * random.uniform(0.8, 1.2)
            self.alive(worker)  # one that holds nothing renews nothing
            if self._trustworthy(grace):
                for partition in self.keys.partitions:
                    self._reap(partition)
        if now >= self._sweep_at:
            self._sweep_at = now + SWEEP_PAUSE * random.uniform(0.8, 1.2)
            for partition in self.keys.partitions:
                self._sweep(partition)
            self._sweep_directory()
        return due

    def _promote(self, partition: str) -> float | None:
        """Due retries and run timeouts; the time of the next one."""
        next_due, _ = self.link.run("due", partition, [self.lives, PROMOTE])
        return float(next_due) / MS or None

    def _trustworthy(self, grace: float) -> bool:
        """Whether idle times tell of workers, and not of a server or a network that was away."""
        if time.monotonic() - self.link.steady_since < grace:
            return False
        return grace == 0 or all(up >= grace for up in self.link.uptimes())

    def _reap(self, partition: str) -> None:
        lease = int(self.lease * MS)
        for name in self.classes(partition):
            position = self._cursors.get((partition, name), "0-0")
            answer = self.link.run("reap", partition, [self.lives, name, lease, position, REAP])
            self._cursors[partition, name] = answer[0].decode()
            if answer[1] or answer[0] != b"0-0":
                self._reap_at = 0.0  # there may be more: go on with the next tick

    def _sweep(self, partition: str) -> None:
        position = self._swept.get(partition, 0)
        names = self.classes(partition)
        name = random.choice(names) if names else ""
        answer = self.link.run("sweep", partition, [self.lives, position, SWEEP, name])
        self._swept[partition] = answer[0]

    def _sweep_directory(self) -> None:
        """Forget workers that have been gone for long."""
        top = self.keys.directory
        end = int((time.time() - GONE) * MS)
        gone = self.link.ask(top, "ZRANGEBYSCORE", f"{top}:alive", "-inf", end, "LIMIT", 0, SWEEP)
        if gone:
            self.link.ask_all(
                top, [("HDEL", f"{top}:workers", *gone), ("ZREM", f"{top}:alive", *gone)]
            )
