"""The fuzz targets hold on their seeds and on everything one cut, one changed byte or one doubling away."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fuzz.targets import TARGETS


def near(seed: bytes) -> Iterator[bytes]:
    """The seed, its beginnings, and it with a byte changed."""
    yield from (b"", seed, seed + seed)
    for place in range(0, len(seed), 1 + len(seed) // 40):
        yield seed[:place]
        for other in (0x00, 0x22, 0x7F, 0x80, 0xC1, 0xFF):
            yield seed[:place] + bytes([other]) + seed[place + 1 :]


@pytest.mark.parametrize("name", TARGETS)
def test_a_decoder_gives_a_value_or_an_error_of_its_own(name: str) -> None:
    target = TARGETS[name]
    for seed in target.seeds:
        for data in near(seed):
            target.check(data)
