"""How a state looks: a glyph that reads without colour, a colour, a word."""

from __future__ import annotations

from typing import Final, NamedTuple

from goflow.state import NodeState, RunState

#: a piece of a line: text, and the SGR parameters it is painted with ("" for the terminal's own)
Span = tuple[str, str]
Line = list[Span]

DIM: Final = "2"
BOLD: Final = "1"
RED: Final = "31"


class Look(NamedTuple):
    """One node state: glyphs for Unicode and ASCII terminals, SGR parameters, colours for pages."""

    glyph: str
    ascii: str
    sgr: str
    light: str
    dark: str


LOOKS: Final = {
    NodeState.WAITING: Look("·", ".", DIM, "#6b7280", "#9ca3af"),
    NodeState.READY: Look("○", "o", "36", "#0e7490", "#67e8f9"),
    NodeState.RUNNING: Look("●", "*", "1;34", "#1d4ed8", "#93c5fd"),
    NodeState.RETRYING: Look("↻", "~", "33", "#a16207", "#fde047"),
    NodeState.SUCCEEDED: Look("✓", "+", "32", "#15803d", "#86efac"),
    NodeState.FAILED: Look("✗", "x", "1;31", "#b91c1c", "#fca5a5"),
    NodeState.SKIPPED: Look("⊘", "/", DIM, "#6b7280", "#9ca3af"),
    NodeState.STOPPED: Look("■", "#", "35", "#7e22ce", "#d8b4fe"),
}

#: the node state whose look a run's state borrows
OF_RUN: Final = {
    RunState.QUEUED: NodeState.READY,
    RunState.RUNNING: NodeState.RUNNING,
    RunState.PAUSED: NodeState.RETRYING,
    RunState.STOPPING: NodeState.STOPPED,
    RunState.SUCCEEDED: NodeState.SUCCEEDED,
    RunState.FAILED: NodeState.FAILED,
    RunState.STOPPED: NodeState.STOPPED,
}


def glyph(state: NodeState, unicode: bool) -> Span:
    """The sign of a state, with its colour."""
    look = LOOKS[state]
    return (look.glyph if unicode else look.ascii), look.sgr


def paint(line: Line, color: bool) -> str:
    """A line as text without trailing blanks, with escape sequences where `color` is on."""
    plain = "".join(text for text, _ in line).rstrip()
    if not color:
        return plain
    painted, left = "", len(plain)
    for text, sgr in line:
        kept = text[:left]
        left -= len(kept)
        painted += f"\x1b[{sgr}m{kept}\x1b[0m" if sgr and kept.strip() else kept
    return painted
