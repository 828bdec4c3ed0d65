"""The standard streams as commands need them, whatever they are connected to."""

from __future__ import annotations

import io
import os
import sys
from typing import Any


class Unheard(io.FileIO):
    """A file that takes what it is given even when nobody reads it any more."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError:  # the pipe's reader or the terminal has gone
            return len(data)


def prepare() -> None:
    """Make up for streams that are closed, lack most characters, or lose their reader.

    A closed one (`goflow ... >&-`) would leave its number to the next file or pipe that is opened, and
    what is printed would end up there. A run must not end because nobody reads its stderr any more
    (`goflow run flow.py 2>&1 | head -1`).
    """
    for fd, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # it gets the lowest free number, which is this one
        stream = getattr(sys, name)
        if stream is None and fd:
            setattr(sys, name, open(fd, "w", encoding="utf-8", closefd=False))  # noqa: SIM115
        elif fd and stream.encoding.lower() != "utf-8":
            stream.reconfigure(errors="backslashreplace")
    sys.stderr = io.TextIOWrapper(
        io.BufferedWriter(Unheard(2, "w", closefd=False)),
        encoding=sys.stderr.encoding,
        errors="backslashreplace",
        line_buffering=True,
    )
