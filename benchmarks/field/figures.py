"""The shapes: what each figure asks a fleet for, how often, and for how long at most."""

from __future__ import annotations

import statistics
import time
from typing import Any, Final, NamedTuple

from benchmarks.field.fleet import Broken, Fleet, TooSlow
from benchmarks.field.peers import Peer

#: what a driver is asked for: its word and how many
ASKED: Final = {
    "single": ("single", 5000),
    "chains": ("chains", 10),
    "chain": ("chains", 1),
    "fan-1000": ("fan", 1000),
    "fan-10000": ("fan", 10_000),
    "diamonds": ("diamonds", 200),
    "idle": ("idle", 200),
}
#: peers that are far from these numbers are asked for fewer: a rate needs no more
FEWER: Final = {
    "prefect": {"single": 20, "chains": 1, "fan-1000": 200, "diamonds": 10, "idle": 10},
    "rq": {"single": 1000},
}
UNITS: Final = {
    "idle": "ms p50 / p99",
    "start-up": "ms",
    "memory": "MiB a worker",
    "redis-bytes": "KiB kept by 1 -> 1,000 -> 1",
    "kill": "s until 200 of 200",
}
#: seconds a figure may take, a kill may be waited for, and after which no further round is begun
LIMIT: Final = 40.0
KILL_LIMIT: Final = 40.0
ENOUGH: Final = 10.0


class Effort(NamedTuple):
    """How much is asked for: medians of so many rounds, of so much of each count."""

    rounds: int
    share: float = 1.0

    def of(self, count: int) -> int:
        """A count, or the asked-for part of it."""
        return max(1, round(count * self.share))


class Figure(NamedTuple):
    """What one shape came to: a median with its least and most, or a word in its place.

    `redis_us` and `worker_us` are microseconds of processor time of Redis and of the workers per node.
    """

    value: float | None
    least: float = 0.0
    most: float = 0.0
    word: str = ""
    second: float | None = None
    redis_us: float | None = None
    worker_us: float | None = None


def measure(fleet: Fleet, shape: str, effort: Effort) -> Figure:
    """One figure of a fleet at work. Raises Broken; a figure past its limit is a word."""
    try:
        if shape == "idle":
            return _idle(fleet, effort)
        if shape == "start-up":
            return _figure([fleet.start_up() * 1e3 for _ in range(2 * effort.rounds + 1)])
        if shape == "memory":
            return _figure([fleet.memory()])
        if shape == "redis-bytes":
            return _kept(fleet)
        if shape == "kill":
            return _kill(fleet)
        return _rate(fleet, shape, effort)
    except TooSlow:
        return Figure(None, word=f"over {LIMIT:.0f} s")


def warm(fleet: Fleet) -> None:
    """Have every worker see some work first. Raises Broken."""
    try:
        fleet.ask("single", 20 if fleet.peer.name == "prefect" else 200, LIMIT)
    except TooSlow:
        raise Broken(f"no work was done within {LIMIT:.0f} s; {fleet.last_words()}") from None


def _asked(peer: Peer, shape: str, effort: Effort) -> tuple[str, int]:
    word, count = ASKED[shape]
    return word, effort.of(FEWER.get(peer.name, {}).get(shape, count))


def _rate(fleet: Fleet, shape: str, effort: Effort) -> Figure:
    """Nodes a second, from submitting the first to reading the last result."""
    word, count = _asked(fleet.peer, shape, effort)
    begun = time.monotonic()
    rates: list[float] = []
    nodes, redis, workers = 0, fleet.server.cpu(), fleet.cpu()
    while len(rates) < effort.rounds and (not rates or time.monotonic() - begun < ENOUGH):
        answer = fleet.ask(word, count, LIMIT)
        rates.append(answer["nodes"] / answer["seconds"])
        nodes += answer["nodes"]
    figure = _figure(rates)
    each = 1e6 / nodes
    return figure._replace(
        redis_us=(fleet.server.cpu() - redis) * each, worker_us=(fleet.cpu() - workers) * each
    )


def _idle(fleet: Fleet, effort: Effort) -> Figure:
    word, count = _asked(fleet.peer, "idle", effort)
    taken = sorted(fleet.ask(word, count, LIMIT)["latencies"])
    figure = _figure(taken)
    return figure._replace(second=taken[min(len(taken) - 1, int(len(taken) * 0.99))])


def _kept(fleet: Fleet) -> Figure:
    before = fleet.server.bytes()
    fleet.ask("fan", 1000, LIMIT)
    return _figure([(fleet.server.bytes() - before) / 1024])


def _kill(fleet: Fleet) -> Figure:
    """Seconds from a `kill -9` of one of two workers at 60 of 200 jobs until every job was executed."""
    client: Any = fleet.server.client
    client.delete("marks", "executions")
    fleet.ask("slow", 200, LIMIT)
    end = time.monotonic() + LIMIT
    while client.scard("marks") < 60:
        if time.monotonic() > end:
            raise TooSlow
        time.sleep(0.002)
    fleet.kill_one()
    killed = time.monotonic()
    while (done := client.scard("marks")) < 200:
        if time.monotonic() - killed > KILL_LIMIT:
            return Figure(None, word=f"{done} of 200 after {KILL_LIMIT:.0f} s")
        time.sleep(0.01)
    took = time.monotonic() - killed
    again = int(client.get("executions") or 0) - 200
    return Figure(took, took, took, word=f"{again} twice" if again else "")


def _figure(values: list[float]) -> Figure:
    return Figure(statistics.median(values), min(values), max(values))
