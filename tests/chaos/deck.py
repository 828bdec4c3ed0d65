"""Which faults an episode deals: every one alone and every pair, before any comes again."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import combinations
from typing import Final

from tests.chaos.faults import FAULTS, Fault

#: faults that strike together: one, or a pair
Group = Sequence[type[Fault]]
#: groups in an episode, at most; more would let the repeats that one explains hide those of another
GROUPS: Final = 6


def drawn(store: str, seed: int) -> list[Group]:
    """What a seed deals, faults alone first. As many seeds one after the other as `hands` holds deal everything;
    the next ones deal it again in another order."""
    dealt = hands(store)
    groups = [list(group) for group in dealt[seed % len(dealt)]]
    dice = random.Random(f"{store} {seed}")
    dice.shuffle(groups)
    for group in groups:
        dice.shuffle(group)
    return sorted(groups, key=len)


def hands(store: str) -> list[list[Group]]:
    """All that can go wrong on a store, by episodes. What lets the store forget has episodes of its own: the others
    are judged by whether anything was forgotten."""
    menu = [fault for fault in FAULTS if store in fault.stores]
    groups: list[Group] = [*((each,) for each in menu), *combinations(menu, 2)]
    found = []
    for loses in (False, True):
        cards = [group for group in groups if any(each.loses for each in group) is loses]
        random.Random(store).shuffle(cards)
        cards.sort(key=len)  # so that those alone are dealt evenly
        episodes = -(-len(cards) // GROUPS)
        found += [cards[n::episodes] for n in range(episodes)]
    return found
