"""Housekeeping that any worker does, in small bounded steps and without a lock."""

from __future__ import annotations

import random
import time
from typing import Final

from goflow_redis.names import leaving
from goflow_redis.store import MS, Store
from goflow_redis.words import Word

#: held tasks taken back, retries promoted, runs looked at by one script call
REAP: Final = 32
PROMOTE: Final = 64
SWEEP: Final = 100
#: queues that are looked through by one script call: a worker that asks for each by itself comes to nothing else
#: where there are many and the machine is loaded
REAP_QUEUES: Final = 100
#: flows that are swept by one tick
SWEEP_FLOWS: Final = 4
#: such calls at most by one tick for a flow, where many runs have gone
SWEEPS: Final = 80
#: seconds between two sweeps by one worker, and that a vanished worker is told of
SWEEP_PAUSE: Final = 10.0
GONE: Final = 3600.0
#: ms no lease is longer than
EVER: Final = 1 << 53


class Ticks(Store):
    """`tick` and what it does. Nothing is taken back before the connection to the server that has it has been
    steady, and that server up, for its holder's lease, or for `grace` (seconds, for tests): an idle time counts the
    server's absence too."""

    grace: float | None = None
    _reap_at = 0.0
    _sweep_at = 0.0

    def tick(self, worker: int) -> float | None:
        """Promote due retries, take back what vanished workers held, end runs past their timeout, drop
        what is past its retention. Answers the time of the next thing that is due."""
        now = time.monotonic()
        self.keep_late()
        due = min(filter(None, map(self._promote, self.keys.partitions)), default=None)
        if now >= self._reap_at:
            pause = min(1.0, self.lease / 6) if self.grace is None else self.grace
            self._reap_at = now + min(1.0, pause) * random.uniform(0.8, 1.2)
            uptimes: dict[str, int] = {}
            for partition in self.keys.partitions:
                with self.link.servers.apart:
                    self._reap(partition, self._trusted(partition, uptimes))
            with self.link.servers.apart:
                self.alive(worker)  # one that holds nothing renews nothing
        if now >= self._sweep_at:
            self._sweep_at = now + SWEEP_PAUSE * random.uniform(0.8, 1.2)
            for partition in self.keys.partitions:
                with self.link.servers.apart:
                    if self._sweep(partition):
                        self._sweep_at = now  # there is more: go on with the next tick
            with self.link.servers.apart:
                self._sweep_directory()
        for waker in tuple(self.wakers):
            waker.resume()
        return due

    def _promote(self, partition: str) -> float | None:
        """Due retries and run timeouts; the time of the next one."""
        with self.link.servers.apart:
            next_due, _ = self.link.run("due", partition, [self.lives, PROMOTE])
            return float(next_due) / MS or None
        return None

    def _trusted(self, partition: str, uptimes: dict[str, int]) -> int:
        """For how long (ms) idle times there have told of workers alone, and not of a server or a network that
        was away. `uptimes` are those of the servers that were asked just now."""
        steady, server = self.link.servers.steady_since(partition), self.link.servers.of(partition)
        if server not in uptimes:
            uptimes[server] = self.link.uptime(partition)
        trusted = max(0.0, min(time.monotonic() - steady, uptimes[server]))
        if self.grace is not None:
            return EVER if trusted >= self.grace else 0
        return int(trusted * MS)

    def _reap(self, partition: str, trusted: int) -> None:
        names = self.classes(partition)
        for first in range(0, len(names), REAP_QUEUES):
            some = names[first : first + REAP_QUEUES]
            if self.link.run("reap", partition, [self.lives, trusted, REAP, *some]) == REAP:
                self._reap_at = 0.0  # there may be more: go on with the next tick

    def _sweep(self, partition: str) -> bool:
        """Some runs of a few flows, of others each time; whether nearly all that were looked at had gone, so
        that more may have."""
        names, flows = self.classes(partition), self.flows(partition)
        name = random.choice(names) if names else ""
        last = self._swept.get(partition, "")
        # each in its turn, however long the list of another is: a round through that may never come to its end
        due = [*(each for each in flows if each > last), *flows][: min(SWEEP_FLOWS, len(flows))]
        self._positions = {
            each: at
            for each, at in self._positions.items()
            if each[1] in flows or each[0] != partition
        }
        more = [self._sweep_flow(partition, flow, name) for flow in due or [""]]
        self._swept[partition] = due[-1] if due else ""
        return any(more)

    def _sweep_flow(self, partition: str, flow: str, name: str) -> bool:
        position, gone = self._positions.pop((partition, flow), "-1"), 0
        for _ in range(SWEEPS):
            args: list[Word] = [self.lives, flow, position, SWEEP, name]
            following, gone, _ = self.link.run("sweep", partition, args)
            position = following.decode()
            if gone < SWEEP // 4 or not position:
                break
        if position:
            self._positions[partition, flow] = position
        return gone >= SWEEP // 4

    def _sweep_directory(self) -> None:
        """Forget workers that have been gone for long."""
        top = self.keys.directory
        end = int((self.clock() - GONE) * MS)
        gone = self.link.ask(top, "ZRANGEBYSCORE", f"{top}:alive", "-inf", end, "LIMIT", 0, SWEEP)
        if gone:
            packed = self.link.ask(top, "HMGET", f"{top}:workers", *gone)
            self.link.ask_all(top, leaving(self, dict(zip(map(int, gone), packed, strict=True))))
