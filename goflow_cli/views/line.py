"""One plain line about a run, such as `12:03:01 fetch succeeded 1.2 s`: the same wherever it is told.

Two tell them: `goflow_cli/lines.py` of a run that executes here, from what its worker commits (watching costs
no memory then), and `views/plain.py` of one that others execute, from what the store has recorded.
"""

from __future__ import annotations

import time
from typing import Final, TextIO

from goflow.drawing.text import clean, duration
from goflow.state import NodeState
from goflow_cli.views.drawing import screen

#: characters of a line at most: an exception may say more than anybody reads
LONGEST: Final = 500


def sentence(
    path: str,
    state: NodeState,
    *,
    took: float | None = None,
    done: tuple[int, int] | None = None,
    attempt: int = 1,
    error: str | None = None,
    then: str = "",
) -> str:
    """What became of a node: after `took` seconds, with so many of its scopes `done`, and what comes next."""
    text = f"{path} {state}"
    if took is not None:
        text += f" {duration(took)}"
    if done is not None:
        text += f" ({done[0]}/{done[1]})"
    if attempt > 1 and state is NodeState.RUNNING:
        text += f" (attempt {attempt})"
    return text + (f": {error}" if error else "") + (f", {then}" if then else "")


class LineWriter:
    """Writes lines with their time of day, harmless to any terminal."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._unicode = screen(stream).unicode

    def write(self, text: str, moment: float | None = None) -> None:
        """A line about something that happened at `moment`, epoch seconds (now)."""
        clock = time.strftime("%H:%M:%S", time.localtime(moment))
        self._stream.write(f"{clock} {clean(text, self._unicode)[:LONGEST]}\n")
        self._stream.flush()
