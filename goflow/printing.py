"""Where what a child's tasks print goes: into the log pipe, with a marker after each task."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import Any


class Streams:
    """File descriptors 1 and 2, and `sys.stdout` and `sys.stderr` upon them, led into the log pipe.

    Put right again after every task: a node may close or replace them, the next one must not suffer.
    """

    def __init__(self, log: int, marker: bytes) -> None:
        self._log = log
        self._marker = marker
        self._pipe = os.fstat(log).st_ino
        self._folder = os.getcwd()
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.close(null)
        self._stdout: Any = None
        self._stderr: Any = None
        self._repair()

    def _repair(self) -> None:
        for fd in (1, 2):
            os.dup2(self._log, fd)
        sys.stdout = self._stdout = self._writer(1)
        sys.stderr = self._stderr = self._writer(2)

    def _writer(self, fd: int) -> Any:
        return open(fd, "w", 1, encoding="utf-8", errors="backslashreplace", closefd=False)

    def end_task(self) -> None:
        """Put right what the task has left, and mark that it has ended."""
        try:
            sys.stdout.flush()
            sys.stderr.flush()
            fine = os.fstat(1).st_ino == os.fstat(2).st_ino == self._pipe
            fine = fine and sys.stdout is self._stdout and sys.stderr is self._stderr
            fine = fine and not (self._stdout.closed or self._stderr.closed)
        except (OSError, ValueError, AttributeError):
            fine = False
        if not fine:
            self._repair()
        self._return()
        os.write(self._log, self._marker)

    def _return(self) -> None:
        """Back to the folder it started in."""
        with suppress(FileNotFoundError):  # the node has removed the one it went to
            if os.getcwd() == self._folder:
                return
        with suppress(OSError):  # it removed this one: relative paths are lost, the rest goes on
            os.chdir(self._folder)
