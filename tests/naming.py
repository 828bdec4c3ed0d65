"""Names of test cases that are the same in every process, as running them side by side needs."""

from __future__ import annotations

import re


def named(value: object) -> str:
    """Its repr in ASCII, less the addresses of functions and other objects in it."""
    return re.sub(r" at 0x[0-9a-f]+", "", ascii(value))
