"""The processes that are ours alone: how one of our modules is started as a program, and what its end
is called."""

from __future__ import annotations

import signal
import sys


def command(module: str) -> list[str]:
    """What starts a module of ours, such as `goflow.teller`, under this interpreter.

    With -P: else the current folder comes first of all that is imported from, and somebody's `redis.py` beside
    a flow would be taken for the library.
    """
    return [sys.executable, "-P", "-m", module]


def reason(code: int) -> str:
    """What an exit code that `subprocess` answers means: `exit code 2`, `SIGKILL`."""
    if code >= 0:
        return f"exit code {code}"
    return signal.Signals(-code).name if -code in signal.valid_signals() else f"signal {-code}"
