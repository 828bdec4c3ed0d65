"""Whatever happens, what was accepted ends as it would have undisturbed: real workers, stores and faults."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations, count
from pathlib import Path

import pytest

from tests.chaos.faults import (
    FAULTS,
    ClockJump,
    Fault,
    ForgetScripts,
    FreezeWorker,
    FreezeWorkerAndChildren,
    FullDisk,
    FullMemory,
    KillChild,
    KillConnections,
    KillServer,
    KillWorker,
    PauseServer,
    Rain,
)
from tests.chaos.nemesis import Account, chosen_seed, episode
from tests.chaos.stores import ClusterStage, LocalStage, RedisStage, Stage

STAGES: dict[str, Callable[[], Stage]] = {
    "local": LocalStage,
    "redis": RedisStage,
    "cluster": ClusterStage,
}


#: every kind of fault once in a few seconds, some of them at the same time
BRIEF: dict[str, Sequence[Sequence[type[Fault]]]] = {
    "local": [[KillWorker], [FullDisk], [FreezeWorker, KillChild], [ClockJump]],
    "redis": [[KillWorker, Rain], [FullDisk], [FreezeWorker, PauseServer], [FullMemory]],
    "cluster": [
        [KillWorker, ForgetScripts],
        [KillServer, Rain],
        [FreezeWorkerAndChildren, KillConnections],
    ],
}


def test_in_brief(tmp_path: Path) -> None:
    seed = chosen_seed(usual=1)
    print(f"GOFLOW_CHAOS_SEED={seed}")

    def run(store: str) -> Account:
        return episode(tmp_path / store, STAGES[store](), seed, BRIEF[store])

    with ThreadPoolExecutor() as side_by_side:
        accounts = list(side_by_side.map(run, STAGES))
    print(*accounts, sep="\n")
    assert [problem for account in accounts for problem in account.problems] == []


@pytest.mark.chaos
@pytest.mark.parametrize("store", STAGES)
def test_a_long_while(store: str, tmp_path: Path) -> None:
    seed = chosen_seed()
    accounts: list[Account] = []  # an episode that fails does not end the search
    ends = time.monotonic() + float(os.environ.get("GOFLOW_CHAOS_SECONDS") or 120) / len(STAGES)
    for number in count():
        print(f"GOFLOW_CHAOS_SEED={seed + number}")
        accounts.append(one(store, seed + number, tmp_path / str(number)))
        if time.monotonic() > ends:
            break
    print(
        f"{store}: {len(accounts)} episodes, {sum(each.runs for each in accounts)} runs,"
        f" {sum(each.executions for each in accounts)} executions,"
        f" {sum(len(each.faults) for each in accounts)} faults,"
        f" {sum(each.repeats for each in accounts)} repeated,"
        f" {sum(each.explained for each in accounts)} explained"
    )
    failed = [each for each in accounts if each.problems]
    assert not failed, "\n".join(
        line for each in failed for line in [str(each), *each.problems[:40]]
    )


def drawn(store: str, seed: int) -> Sequence[Sequence[type[Fault]]]:
    """Two faults alone and four pairs, as the seed has it. Seeds one after the other deal every fault and every
    pair before one comes again."""
    menu = [fault for fault in FAULTS if store in fault.stores]
    alone, pairs = [[each] for each in menu], [list(pair) for pair in combinations(menu, 2)]
    for cards in (alone, pairs):
        random.Random(store).shuffle(cards)
    return [alone[n % len(alone)] for n in range(2 * seed, 2 * seed + 2)] + [
        pairs[n % len(pairs)] for n in range(4 * seed, 4 * seed + 4)
    ]


def one(store: str, seed: int, folder: Path) -> Account:
    """An episode with its own load and its own moments."""
    account = episode(folder, STAGES[store](), seed, drawn(store, seed))
    print(account, *account.problems[:40], sep="\n", flush=True)
    return account
