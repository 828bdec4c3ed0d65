"""Run ids: made here unless the caller names one, and checked either way."""

from __future__ import annotations

import os
import re
import time
from typing import Final

from goflow.errors import GoflowError

RUN_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
#: a random byte's character: each of the 32 stands for as many bytes
_OF_BYTE: Final = (_ALPHABET * 8).encode()
_SHIFTS: Final = range(45, -1, -5)

#: ends of ids that were read from the system and not used yet: asking it for each would cost a busy server a
#: change of threads
_spare: Final[list[str]] = []
_READ: Final = 64
os.register_at_fork(after_in_child=_spare.clear)
#: the last time an id was made for, in ms, and how it is written
_written: tuple[int, str] = (0, "0" * 10)


def _random() -> str:
    """10 random characters: 50 bits."""
    while True:
        try:
            return _spare.pop()
        except IndexError:
            drawn = os.urandom(10 * _READ).translate(_OF_BYTE).decode()
            _spare.extend([drawn[at : at + 10] for at in range(0, len(drawn), 10)])


def new_run_id() -> str:
    """20 characters: milliseconds first, so that ids sort by time, then 50 random bits.

    Crockford's base 32 (no i, l, o, u), in lower case: easy to read out and to select by double click.
    """
    global _written
    now = int(time.time() * 1000)
    then, text = _written
    if now != then:
        text = "".join([_ALPHABET[(now >> shift) & 31] for shift in _SHIFTS])
        _written = now, text
    return text + _random()


def checked(run_id: str) -> str:
    """The id, if it is one. Raises GoflowError telling the rule."""
    if not RUN_ID.fullmatch(named(run_id)):
        raise GoflowError(
            f"{run_id!r:.200} is no run id: expected letters, digits, '.', '_' and '-', at most 128,"
            " the first a letter or digit"
        )
    return run_id


def named(run_id: object) -> str:
    """The id by which somebody asks for a run. Raises GoflowError for what is no text, a Run above all.

    >>> named("01m8rqv")
    '01m8rqv'
    """
    if isinstance(run_id, str):
        return run_id
    hint = ": pass its `id`" if hasattr(run_id, "id") else ""
    raise GoflowError(f"expected a run id, got a {type(run_id).__name__}{hint}")
