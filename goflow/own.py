"""The processes that are ours alone: how one of our modules is started as a program."""

from __future__ import annotations

import sys


def command(module: str) -> list[str]:
    """What starts a module of ours, such as `goflow.teller`, under this interpreter.

    With -P: else the current folder comes first of all that is imported from, and somebody's `redis.py` beside
    a flow would be taken for the library.
    """
    return [sys.executable, "-P", "-m", module]
