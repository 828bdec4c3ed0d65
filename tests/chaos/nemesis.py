"""An episode: load and faults at once, then peace, then judgement. All of it follows from one seed."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from math import inf
from pathlib import Path
from typing import Final, NamedTuple

from goflow.errors import BackendError
from tests.chaos.checks import judge, nothing_is_left, repeated
from tests.chaos.faults import Fault
from tests.chaos.load import Load
from tests.chaos.stores import Stage
from tests.chaos.world import LEASE, World

#: workers of an episode
WORKERS: Final = 3
#: seconds between two beats of the pulse
BEAT: Final = 0.05
#: seconds after the last fault in which everything must have ended
PEACE: Final = 60.0


class Account(NamedTuple):
    """What an episode came to. `explained` repeats are those that its faults may have caused."""

    store: str
    seed: int
    faults: list[str]
    runs: int
    executions: int
    repeats: int
    explained: int
    refusals: int
    problems: list[str]
    #: seconds it took, and the longest that this process was not let on a processor: others wait as long then, and
    #: what stands still for a lease is as good as frozen
    took: float = 0.0
    stalled: float = 0.0

    def __str__(self) -> str:
        return (
            f"{self.store} seed {self.seed}: {self.runs} runs, {self.executions} executions,"
            f" {self.repeats} repeated ({self.explained} explained), {self.refusals} refusals;"
            f" {', '.join(self.faults)}; {self.took:.0f} s, stood still for {self.stalled:.1f} s at most"
        )


def episode(
    folder: Path, stage: Stage, seed: int, plan: Iterable[Sequence[type[Fault]]]
) -> Account:
    """Let the faults of a plan happen, one group after the other, those of a group together."""
    dice = random.Random(seed)
    folder.mkdir()
    world = World(folder, stage)
    load = Load(world, dice.randrange(2**32))
    struck: list[Fault] = []
    began = time.monotonic()
    pulse = Pulse()
    try:
        world.hire(WORKERS)
        load.start()
        for group in plan:
            time.sleep(dice.uniform(0.3, 0.8))
            faults = [each(world, dice) for each in group if each.possible(world)]
            struck += faults
            load.forgiving = any(fault.loses for fault in struck)
            _together(faults, dice)
        load.stop()
        world.mend()
        problems = _peace(world, load)
        explained = sum(fault.repeats for fault in struck)
        runs = load.runs.values()
        steady = min((fault.struck for fault in struck if fault.sets_clocks), default=inf)
        problems += load.problems
        problems += judge(world.backend, world.oracle, runs, explained, steady=steady)
        excess = repeated(world.backend, world.oracle, runs).total()
        world.dismiss()
        world.backend.close()
        problems += world.surprises + nothing_is_left(world)
        if problems:
            problems.append(f"the store and what the workers wrote are kept in {world.keep()}")
        names = [fault.name for fault in struck]
        executions = world.oracle.executions().total()
        return Account(
            stage.name,
            seed,
            names,
            len(load.runs),
            executions,
            excess,
            explained,
            load.refusals,
            problems,
            time.monotonic() - began,
            pulse.worst,
        )
    except BaseException as error:
        for word in world.surprises:
            error.add_note(word)
        error.add_note(f"the store and what the workers wrote are kept in {world.keep()}")
        raise
    finally:
        load.stop()
        world.close()
        pulse.stop()


class Pulse:
    """Beats, and knows by how much a beat was late at most, in seconds."""

    def __init__(self) -> None:
        self.worst = 0.0
        self._over = threading.Event()
        threading.Thread(target=self._beat, name="nemesis-pulse", daemon=True).start()

    def stop(self) -> None:
        """Beat no more."""
        self._over.set()

    def _beat(self) -> None:
        due = time.monotonic() + BEAT
        while not self._over.wait(max(0.0, due - time.monotonic())):
            now = time.monotonic()
            self.worst = max(self.worst, now - due)
            due = now + BEAT


def _together(faults: Sequence[Fault], dice: random.Random) -> None:
    """They strike one after the other, and are healed as each has lasted, whatever happens."""
    ends: list[tuple[float, Fault]] = []
    try:
        for fault in faults:
            ends.append((0.0, fault))
            fault.struck = time.monotonic()
            fault.strike()
            ends[-1] = (time.monotonic() + fault.seconds, fault)
            time.sleep(dice.uniform(0, 0.3))
    finally:
        with ThreadPoolExecutor(len(ends) or 1) as healers:
            list(healers.map(_heal, ends))


def _heal(ending: tuple[float, Fault]) -> None:
    end, fault = ending
    time.sleep(max(0.0, end - time.monotonic()))
    fault.heal()


def _peace(world: World, load: Load) -> list[str]:
    """Nothing goes wrong any more: everything must end."""
    deadline = time.monotonic() + PEACE
    while (left := _left(world, load)) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(LEASE / 2)  # whoever comes too late comes now
    return [f"{PEACE:g} s after the last fault on their way: {left}"] if left else []


def _left(world: World, load: Load) -> list[str]:
    try:
        return load.settle(world.backend)
    except BackendError as error:  # a server that has only just come up
        return [str(error)]


def chosen_seed(usual: int | None = None) -> int:
    """GOFLOW_CHAOS_SEED, else the usual one, else a new one."""
    told = os.environ.get("GOFLOW_CHAOS_SEED")
    if told:
        return int(told)
    return random.SystemRandom().randrange(10**9) if usual is None else usual
