"""A Redis backend that does in pieces of one what it else does by the hundred.

What is too much for one script call is rare, and what happens between two of its pieces rarer: here every run with two
starts, every node that sends on two arrivals and every two open branches are too much.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from unittest import mock

from goflow_redis import RedisBackend, scripts
from goflow_redis.scripts import Script

#: how much one call does, as the scripts have it, and instead
_SMALL = (
    ("_records", "local SOME = 100 ", "local SOME = 1 "),
    ("_ready", "local MAIL = 64 ", "local MAIL = 1 "),
    ("_take", "local LOOKS = 16 ", "local LOOKS = 0 "),
    ("_take", "local PUMPED, PUMP = 128, 7", "local PUMPED, PUMP = 1, 1"),
)


@functools.cache
def small(modern: bool) -> Mapping[str, Script]:
    """All scripts, with small pieces."""
    read = scripts._read

    def changed(name: str) -> str:
        text = read(name)
        for part, there, instead in _SMALL:
            if part == name:
                assert text.count(there) == 1, "the script has changed: bring the pieces along"
                text = text.replace(there, instead)
        return text

    with mock.patch.object(scripts, "_read", changed):
        return {name: scripts.assemble(name, modern) for name in scripts.NAMES}


def in_pieces(backend: RedisBackend) -> RedisBackend:
    """The same backend, with them."""
    known = backend.link._scripts
    backend.link._scripts = small(known["submit"].text.startswith("#!lua"))
    backend.mail = 1
    return backend
