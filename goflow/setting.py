"""How one setting is read: text, numbers, sizes, durations, paths, each with what it expects.

A `Kind` turns what a file (TOML values), the environment (text) or a caller (either) holds into the value
goflow works with, or raises ValueError whose text completes "expected ...".
"""

# ruff: noqa: PTH100, PTH111, PTH118
# (pathlib costs more than all of this to import)

from __future__ import annotations

import os.path
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

#: bytes in one unit. The letters mean what the standards say: 1 MB is 1,000,000 bytes, 1 MiB 1,048,576
_SIZES: Final[Mapping[str, float]] = {
    "": 1,
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "tib": 2**40,
}
#: seconds in one unit
_DURATIONS: Final[Mapping[str, float]] = {
    "": 1,
    "ms": 0.001,
    "s": 1,
    "m": 60,
    "h": 3600,
    "d": 86400,
    "w": 604800,
}
#: what no size, time or count may exceed: a store keeps signed 64-bit numbers
_MOST: Final = 2**62
#: what no time may exceed, in seconds: clocks count nanoseconds in 64 bits too
_LONGEST: Final = 100 * 365 * 86400
# Patterns stay texts until a value needs them: compiling all of them costs more than the rest of a start.
_AMOUNT: Final = r"([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*"
_REDIS: Final = r"(?:rediss?|unix|redis\+sentinel|redis\+cluster)://\S+|[^\s:/@]+:[0-9]{1,5}"

_OURS: Final = rf"local|redis|file://\S+|{_REDIS}"


class Kind(msgspec.Struct, frozen=True):
    """How a setting is read. `read(value, base)` gets the folder that relative paths start from.

    `split` are the characters that separate the items of a list in an environment variable ("" for what is
    no list); `number` says that its text is a number; `secret` that no message may show the value.
    """

    read: Callable[[Any, str], Any]
    split: str = ""
    number: bool = False
    secret: bool = False

    def of_text(self, text: str) -> object:
        """The value that an environment variable's text stands for."""
        if self.split:
            return [item.strip() for item in re.split(f"[{self.split}]", text) if item.strip()]
        if self.number and re.fullmatch(r"[+-]?[0-9]{1,18}", text.strip()):
            return int(text)
        return text


#: every key by section ("" for the top level), and how it is read
Keys = Mapping[str, Mapping[str, Kind]]


def text(expected: str = "text", pattern: str = ".*", *, secret: bool = False) -> Kind:
    """Text that matches a pattern as a whole."""

    def read(value: Any, base: str) -> str:
        if not isinstance(value, str) or not re.fullmatch(pattern, value, re.DOTALL):
            raise ValueError(expected)
        return value

    return Kind(read, secret=secret)


def texts(expected: str, split: str = ",") -> Kind:
    """A list of texts, none of them empty."""

    def read(value: Any, base: str) -> tuple[str, ...]:
        if not isinstance(value, list | tuple):
            raise ValueError(expected)
        for item in value:
            if not isinstance(item, str) or not item or "\0" in item:
                raise ValueError(f"{expected}; {shown(item)} is not one")
        return tuple(value)

    return Kind(read, split=split)


def choice(*words: str) -> Kind:
    """One of some words."""

    def read(value: Any, base: str) -> str:
        if not isinstance(value, str) or value not in words:
            from goflow.errors import nearest

            hint = nearest(value, words) if isinstance(value, str) and len(words) > 1 else ""
            listed = ", ".join(f'"{word}"' for word in words[:-1]) + f' or "{words[-1]}"'
            raise ValueError(listed + (hint if hint.startswith(",") else ""))
        return value

    return Kind(read)


def whole(low: int, high: int | None = None) -> Kind:
    """A whole number within bounds."""
    expected = (
        f"a whole number, {low} at least" if high is None else f"a whole number, {low} to {high}"
    )

    def read(value: Any, base: str) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValueError(expected)
        if not low <= value <= (_MOST if high is None else high):
            raise ValueError(expected)
        return value

    return Kind(read, number=True)


def size(low: int = 0) -> Kind:
    """Bytes: a whole number, or text such as "64MB", "1.5GB" or "256KiB"."""
    expected = 'a size in bytes, such as 1048576, "64MB" or "256KiB"'
    if low:
        expected += f", {low} at least"

    def read(value: Any, base: str) -> int:
        if isinstance(value, float):
            raise ValueError(expected)
        return int(_amount(value, _SIZES, low, expected, parts=1))

    return Kind(read)


def duration(low: float = 0) -> Kind:
    """Seconds: a number, or text such as "500ms", "30s", "15m", "1h30m", "7d" or "2w"."""
    expected = 'a time in seconds, such as 30, "30s", "1h30m" or "7d"'
    if low:
        expected += f", {low:g} s at least"

    def read(value: Any, base: str) -> float:
        amount = _amount(value, _DURATIONS, low, expected, parts=7)
        if amount > _LONGEST:
            raise ValueError(f"{expected}, a hundred years at most")
        return amount

    return Kind(read)


def path(expected: str = "a path") -> Kind:
    """A path, made absolute; empty stays empty. A leading ~ is the user's home."""

    def read(value: Any, base: str) -> str:
        if not isinstance(value, str) or "\0" in value:
            raise ValueError(expected)
        return absolute(value, base) if value else ""

    return Kind(read)


def folder_or_url(expected: str) -> Kind:
    """A folder, made absolute, or a URL, left as it is; empty stays empty."""

    def read(value: Any, base: str) -> str:
        if not isinstance(value, str) or "\0" in value:
            raise ValueError(expected)
        if "://" in value:
            if not value.startswith("s3://") or value == "s3://":
                raise ValueError(expected)
            return value
        return absolute(value, base) if value else ""

    return Kind(read)


def backend() -> Kind:
    """A backend's name or URL. Plug-ins are looked for (30 ms) where it is none of ours."""
    expected = '"local", "redis", a plug-in\'s name or a URL'

    def read(value: Any, base: str) -> str:
        if not isinstance(value, str) or not re.fullmatch(r"\S+", value):
            raise ValueError(expected)
        if not re.fullmatch(_OURS, value):
            from goflow.shelf import unknown

            hint = unknown(value)
            if hint is not None:
                raise ValueError(expected + (hint if hint.startswith(",") else ""))
        return value

    return Kind(read)


def redis_url() -> Kind:
    """Where a Redis is. Never shown: it may hold a password."""
    expected = (
        'a URL such as "redis://localhost:6379/0" (or rediss://, unix://, redis+sentinel://,'
        ' redis+cluster://), or "host:port"'
    )

    def read(value: Any, base: str) -> str:
        if not isinstance(value, str) or not re.fullmatch(_REDIS, value):
            raise ValueError(expected)
        return value

    return Kind(read, secret=True)


def absolute(name: str, base: str) -> str:
    """A path as seen from a folder."""
    return os.path.abspath(os.path.join(base, os.path.expanduser(name)))


def shown(value: object) -> str:
    """A value as it stands in a TOML file, cut to a line's length."""
    if isinstance(value, bool):
        told = "true" if value else "false"
    elif isinstance(value, str):
        told = '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
        told = "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in told)
    elif isinstance(value, dict):
        told = "a table"
    elif isinstance(value, list | tuple):
        told = f"[{', '.join(map(shown, value))}]"
    else:
        told = str(value)
    return told if len(told) <= 60 else f"{told[:60]}..."


def _amount(value: Any, units: Mapping[str, float], low: float, expected: str, parts: int) -> float:
    """A number of base units. ValueError for anything else, whatever it is that came."""
    amount: float | None = None
    if isinstance(value, str):
        amount = _sum(value.strip(), units, parts)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        amount = value
    if amount is None or not low <= amount <= _MOST:  # a comparison with nan is False
        raise ValueError(expected)
    return amount


def _sum(text: str, units: Mapping[str, float], parts: int) -> float | None:
    """`1h30m` as a number of base units, None where it is none. Only a number alone needs no unit."""
    total, at, count = 0.0, 0, 0
    while at < len(text):
        found = re.compile(_AMOUNT).match(text, at)
        count += 1
        if found is None or count > parts or found[2].lower() not in units:
            return None
        if not found[2] and found[0] != text:
            return None
        total += float(found[1]) * units[found[2].lower()]
        at = found.end()
    return total if count else None
