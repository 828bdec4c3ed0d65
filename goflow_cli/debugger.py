"""pdb over one task: it stops where the author's function begins, and again where an exception was raised."""

from __future__ import annotations

import bdb
import pdb
import sys
import traceback
from collections.abc import Callable
from types import CodeType, FrameType, TracebackType
from typing import TypeVar

from goflow.errors import GoflowError

_T = TypeVar("_T")


class Left(GoflowError):
    """Somebody quit the debugger."""

    exit_code = 130


class Debugger(pdb.Pdb):
    """Runs something and stops at the first line of each of these functions, each time it is called."""

    def __init__(self, functions: list[CodeType]) -> None:
        super().__init__()
        self._begun = False
        self._functions = functions

    def run_until(self, work: Callable[[], _T]) -> _T:
        """Call it. Raises Left where the person quits, else whatever it raises."""
        self.reset()
        for code in self._functions:
            self.set_break(code.co_filename, code.co_firstlineno, funcname=code.co_name)
        made: list[_T] = []
        try:
            self.runcall(lambda: made.append(work()))
        finally:
            self.clear_all_breaks()
        if not made:  # runcall keeps to itself that somebody quit
            raise Left("left the debugger")
        return made[0]

    def user_line(self, frame: FrameType) -> None:
        """The first line that is traced is goflow's own: nobody wants to begin there."""
        if not self._begun:
            self._begun = True
            self.set_continue()
            return
        super().user_line(frame)

    def user_return(self, frame: FrameType, value: object) -> None:
        """What goflow does with a function's result is not stepped through."""
        if frame.f_code in self._functions:
            super().user_return(frame, value)
            self.set_continue()


def post_mortem(error: BaseException) -> None:
    """Look around where it was raised."""
    print("".join(traceback.format_exception_only(error)).rstrip(), file=sys.stderr)
    found: TracebackType | None = error.__traceback__
    try:
        pdb.post_mortem(found)
    except bdb.BdbQuit:
        raise Left("left the debugger") from None
