"""Whatever happens, what was accepted ends as it would have undisturbed: real workers, stores and faults."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from traceback import format_exc

import pytest

from tests.chaos.deck import GROUPS, drawn, hands
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
    "local": [[KillWorker], [FullDisk], [FreezeWorker], [ClockJump, KillChild]],
    "redis": [[KillWorker, Rain], [FullDisk], [FreezeWorker], [FullMemory, PauseServer]],
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


@pytest.mark.parametrize("store", STAGES)
def test_seeds_one_after_the_other_deal_every_fault_and_every_pair(store: str) -> None:
    menu = [fault for fault in FAULTS if store in fault.stores]
    wanted = Counter({frozenset({one, other}): 1 for one in menu for other in menu})
    episodes = [drawn(store, seed) for seed in range(1000, 1000 + len(hands(store)))]
    assert Counter(frozenset(group) for groups in episodes for group in groups) == wanted
    for groups in episodes:
        assert len(groups) <= GROUPS
        assert [len(group) for group in groups] == sorted(len(group) for group in groups)
        assert len({any(fault.loses for fault in group) for group in groups}) == 1


@pytest.mark.chaos
def test_a_long_while(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Episodes on every store side by side, each with a seed of its own. $GOFLOW_CHAOS_SECONDS bounds it,
    $GOFLOW_CHAOS_STORES names the stores."""
    seed = chosen_seed()
    stores = (os.environ.get("GOFLOW_CHAOS_STORES") or ",".join(STAGES)).split(",")
    ends = time.monotonic() + float(os.environ.get("GOFLOW_CHAOS_SECONDS") or 120)

    def run(store: str) -> list[Account]:
        accounts = []  # an episode that fails does not end the search
        for number in count(seed):
            accounts.append(one(store, number, tmp_path / f"{store}-{number}"))
            if time.monotonic() > ends:
                return accounts
        raise AssertionError

    with capsys.disabled(), ThreadPoolExecutor(len(stores)) as side_by_side:  # told as it happens
        print(f"\nGOFLOW_CHAOS_SEED={seed}", flush=True)
        accounts = dict(zip(stores, side_by_side.map(run, stores), strict=True))
        for store, found in accounts.items():
            print(summary(store, found), flush=True)
    failed = [each for found in accounts.values() for each in found if each.problems]
    assert not failed, "\n".join(
        line for each in failed for line in [str(each), *each.problems[:40]]
    )


def one(store: str, seed: int, folder: Path) -> Account:
    """An episode with its own load and its own moments. Whatever it raises is its problem."""
    plan = drawn(store, seed)
    print(f"GOFLOW_CHAOS_STORES={store} GOFLOW_CHAOS_SEED={seed} begins", flush=True)
    try:
        account = episode(folder, STAGES[store](), seed, plan)
    except Exception:
        account = Account(store, seed, [], 0, 0, 0, 0, 0, [format_exc()])
    print(account, *account.problems[:40], sep="\n", flush=True)
    return account


def summary(store: str, accounts: Sequence[Account]) -> str:
    """What the episodes on a store came to, as docs/reliability.md has it."""
    dealt = {
        frozenset(group) for each in accounts for group in drawn(store, each.seed) if each.faults
    }
    there = {frozenset(group) for hand in hands(store) for group in hand}
    alone, pairs = (
        f"{sum(len(group) == size for group in dealt)} of {sum(len(group) == size for group in there)}"
        for size in (1, 2)
    )
    return (
        f"{store}: {len(accounts)} episodes, {sum(each.runs for each in accounts)} runs,"
        f" {sum(each.executions for each in accounts)} executions,"
        f" {sum(len(each.faults) for each in accounts)} faults, {alone} alone, {pairs} pairs,"
        f" {sum(each.repeats for each in accounts)} repeated,"
        f" {sum(each.explained for each in accounts)} explained,"
        f" {sum(bool(each.problems) for each in accounts)} episodes with problems"
    )
