"""Lets the nemesis set a worker's wall clock: `time.time()` is off by the seconds in $NEMESIS_CLOCK's file.

Python imports a module of this name at every start. Child processes inherit what it did; only the wall
clock is touched, since no program can rely on it, while the monotonic one cannot be set.
"""

import os
import time

_file = os.environ.get("NEMESIS_CLOCK")
_true_time = time.time


def _shifted() -> float:
    try:
        with open(str(_file)) as file:  # noqa: PTH123 - at every call
            return _true_time() + float(file.read() or 0)
    except OSError:
        return _true_time()


if _file:
    time.time = _shifted
