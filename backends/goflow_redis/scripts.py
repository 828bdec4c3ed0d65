"""The transitions: one Lua file each, with what it uses put in front.

A script's header says `-- uses: records ready`; `_records.lua` and `_ready.lua` then precede it. Scripts are
known to Redis by the SHA of their text, so two releases of goflow can share a store of one schema.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Final, NamedTuple

from goflow.digests import sha1
from goflow_redis import assembly

NAMES: Final = (
    "submit", "commit", "stage", "printed", "renew", "reap", "due", "control", "retry", "forget", "sweep",
    "held", "positions", "waiting", "tidy", "lost", "prepare", "keep", "deliver",
    "watch", "alive", "count", "results", "listen", "glimpse",
)  # fmt: skip


_FOLDER: Final = os.path.join(os.path.dirname(__file__), "scripts")  # noqa: PTH118


class Script(NamedTuple):
    """A script's text and the SHA that Redis knows it by."""

    text: str
    sha: str


class Scripts(Mapping[str, Script]):
    """All scripts by name, each assembled when it is first asked for: all at once would be 10 ms of every
    command's start, and most commands use two."""

    def __init__(self, modern: bool) -> None:
        self._modern = modern
        self._made: dict[str, Script] = {}

    def __getitem__(self, name: str) -> Script:
        made = self._made.get(name)
        if made is None:
            made = self._made[name] = assemble(name, self._modern)
        return made

    def __iter__(self) -> Iterator[str]:
        return iter(NAMES)

    def __len__(self) -> int:
        return len(NAMES)


@cache
def load(modern: bool) -> Scripts:
    """The scripts for a server. `modern` ones (Redis 7 and later) let them run at maxmemory, except those
    that say `deny-oom`; older ones refuse every script then."""
    return Scripts(modern)


def assemble(name: str, modern: bool) -> Script:
    """One script with its parts in front."""
    source = _read(name)
    uses = re.search(r"^-- uses: (.*)$", source, re.MULTILINE)
    parts = [_read(f"_{part}") for part in (uses[1].split() if uses else ())]
    text = assembly.assemble([*parts, source])
    if modern:
        denied = re.search(r"^-- deny-oom$", source, re.MULTILINE)
        text = f"#!lua{'' if denied else ' flags=allow-oom'}\n{text}"
    return Script(text, sha1(text.encode(), usedforsecurity=False).hexdigest())


def _read(name: str) -> str:
    # not importlib.resources, which imports zipfile and takes 10 ms
    path = os.path.join(_FOLDER, f"{name}.lua")  # noqa: PTH118
    with open(path, encoding="utf-8") as file:  # noqa: PTH123
        return file.read()
