"""The transitions: one Lua file each, with what it uses put in front.

A script's header says `-- uses: records ready`; `_records.lua` and `_ready.lua` then precede it. Scripts are
known to Redis by the SHA of their text, so two releases of goflow can share a store of one schema.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Final, NamedTuple

NAMES: Final = (
    "submit", "commit", "stage", "printed", "renew", "reap", "due", "control", "retry", "forget", "sweep",
    "held", "positions", "waiting", "tidy", "lost", "prepare",
    "watch", "alive", "count", "results", "listen", "glimpse",
)  # fmt: skip


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
    text = _folded(_bare(_placed(_nested(_shaken([*parts, source])))))
    if modern:
        denied = re.search(r"^-- deny-oom$", source, re.MULTILINE)
        text = f"#!lua{'' if denied else ' flags=allow-oom'}\n{text}"
    return Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


def _shaken(parts: list[str]) -> list[str]:
    """The parts without those of their functions that this script never names: each would be made anew in each
    call, and thrown away, for a thousand instructions and more."""
    function = re.compile(
        r"^local function (\w+)\((?:[^\n]* end|.*?\nend)\n", re.MULTILINE | re.DOTALL
    )
    while True:
        text = re.sub(r"^ *--.*", "", "".join(parts), flags=re.MULTILINE)
        unused = [
            found[0]
            for part in parts
            for found in function.finditer(part)
            if len(re.findall(rf"\b{found[1]}\b", text)) == 1
        ]
        if not unused:
            return parts
        for each in unused:
            parts = [part.replace(each, "") for part in parts]


def _nested(parts: list[str]) -> str:
    """The parts, each but the first in a function of its own within the one before.

    A function that captures a name of its own level has Lua search for it among all captured ones; one of a
    level above is at hand. Of the 19 us that a call of COMMIT cost before it did anything, that is 4. A level
    may capture 60 names of those above, which the compiler checks.
    """
    return "return (function()\n".join(parts) + "end)()\n" * (len(parts) - 1)


def _placed(text: str) -> str:
    """The text with the fields of a run, `run.state` and the like, as places of an array.

    A table of thirty names is made slot by slot, which takes three times as long as an array and as much
    memory again; a script makes one for each run that it touches.
    """
    names = " ".join(re.findall(r"^-- run: (.*)$", text, re.MULTILINE)).split()
    places = {name: str(place) for place, name in enumerate(names, 1)}
    if not places:
        return text
    return re.sub(r"\brun\.(\w+)", lambda found: f"run[{places[found[1]]}]", text)


def _folded(text: str) -> str:
    """The text with its named numbers in place.

    Lua makes every function of a script anew in each call, and looks for each name that it captures in a
    list of all captured ones: four dozen constants cost a call 20 us.
    """
    numbers: dict[str, str] = {}

    def learn(found: re.Match[str]) -> str:
        names, values = found[1].split(", "), found[2].split(", ")
        numbers.update(zip(names, values, strict=True))
        return ""

    text = re.sub(
        r"^local ([A-Z_, ]+) = ([0-9, ]+?|'\d+')(?: *--.*)?$\n", learn, text, flags=re.MULTILINE
    )
    words = re.compile(r"'[^'\n]*'|\b(" + "|".join(numbers or ["-"]) + r")\b")
    return words.sub(lambda found: numbers[found[1]] if found[1] else found[0], text)


def _read(name: str) -> str:
    from importlib.resources import files

    return (files("goflow_redis") / "scripts" / f"{name}.lua").read_text()


def _bare(text: str) -> str:
    """The text without comment lines and indentation: less to send, less for Redis to keep."""
    lines = (line.strip() for line in text.splitlines())
    return "\n".join(line for line in lines if line and not line.startswith("--")) + "\n"
