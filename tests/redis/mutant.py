"""A mutant: what is taken out of a script, and who must notice."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from goflow.testing.store import Store

Check = str | Callable[[Store], None]


class Mutant(NamedTuple):
    """What is taken out of which file, and the checks of which one must notice."""

    name: str
    file: str
    text: str
    instead: str
    checks: tuple[Check, ...]
    #: whether every one of them must, and not just any
    each: bool = False
