"""Run ids: made here unless the caller names one, and checked either way."""

from __future__ import annotations

import os
import re
import time
from typing import Final

from goflow.errors import GoflowError

RUN_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS: Final = [first + second for first in _ALPHABET for second in _ALPHABET]
_SHIFTS: Final = range(90, -1, -10)


#: random numbers of 50 bits that were read from the system and not used yet: asking it for each would cost a
#: busy server a change of threads
_spare: Final[list[int]] = []
_READ: Final = 64
os.register_at_fork(after_in_child=_spare.clear)


def _random() -> int:
    while True:
        try:
            return _spare.pop()
        except IndexError:
            read = os.urandom(7 * _READ)
            numbers = (read[at : at + 7] for at in range(0, len(read), 7))
            _spare.extend([int.from_bytes(number, "big") >> 6 for number in numbers])


def new_run_id() -> str:
    """20 characters: milliseconds first, so that ids sort by time, then 50 random bits.

    Crockford's base 32 (no i, l, o, u), in lower case: easy to read out and to select by double click.
    """
    number = (int(time.time() * 1000) << 50) | _random()
    return "".join([_PAIRS[(number >> shift) & 1023] for shift in _SHIFTS])


def checked(run_id: str) -> str:
    """The id, if it is one. Raises GoflowError telling the rule."""
    if not isinstance(run_id, str) or not RUN_ID.fullmatch(run_id):
        raise GoflowError(
            f"{run_id!r:.200} is no run id: expected letters, digits, '.', '_' and '-', at most 128,"
            " the first a letter or digit"
        )
    return run_id
