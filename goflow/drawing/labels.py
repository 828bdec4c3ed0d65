"""What stands in the boxes and frames: a state's glyph, the name, attempts, time or progress.

A label's width follows from the plan and from how many scopes are open, never from states and times: a
picture that is drawn again and again must not wobble.
"""

from __future__ import annotations

from typing import Final

from goflow.drawing.look import BOLD, DIM, LOOKS, RED, Line, Span, glyph
from goflow.drawing.text import DURATION, clean, count, cut, duration, progress, width
from goflow.nodepath import encode_key
from goflow.overview import NodeSummary, Overview
from goflow.plan import Node
from goflow.state import NodeState

#: before the number of attempts
TIMES: Final = "\N{MULTIPLICATION SIGN}"

#: states in which nothing more will happen to a node
ENDED: Final = frozenset(
    {NodeState.SUCCEEDED, NodeState.FAILED, NodeState.SKIPPED, NodeState.STOPPED}
)


class Labels:
    """Labels for the nodes of one plan, painted with a run's overview where there is one."""

    def __init__(self, overview: Overview | None = None, unicode: bool = True) -> None:
        self.overview = overview
        self.unicode = unicode
        self.more = "…" if unicode else "~"

    def summary(self, path: str) -> NodeSummary | None:
        """What became of the node, by its static path."""
        return None if self.overview is None else self.overview.nodes.get(path)

    def color(self, path: str) -> str:
        """The SGR parameters of a node's state; dim where there is no run."""
        summary = self.summary(path)
        return "" if summary is None else LOOKS[summary.state].sgr

    # a node: glyph, name, attempts, and a slot for its time or how many instances are done

    def node_width(self, path: str, node: Node) -> int:
        """Columns that `node` needs."""
        if self.overview is None:
            return len(node.name)
        return 2 + len(node.name) + 3 * (node.retries > 0) + 1 + self._slot(path)

    def node(self, path: str, node: Node, columns: int) -> Line:
        """The label of a plain node in exactly so many columns; too long a name is cut."""
        summary = self.summary(path)
        if summary is None:
            return [_fixed(cut(node.name, columns, self.more), columns, "")]
        slot = self._slot(path)
        tail = self._attempts(summary)
        if len(node.name) + len(tail) + slot + 3 > columns:
            tail = ""
        room = max(columns - slot - 3 - len(tail), 0)
        name = _fixed(cut(node.name, room, self.more) + tail, room + len(tail), _name(summary))
        told = cut(self._told(summary, path), slot, self.more)
        line = [
            glyph(summary.state, self.unicode),
            (" ", ""),
            name,
            (" ", ""),
            (f"{told:>{slot}}", DIM),
        ]
        return line if columns >= slot + 4 else [(cut(node.name, columns, self.more), "")]

    def _slot(self, path: str) -> int:
        summary = self.summary(path)
        if summary is None or "[]" not in path:
            return DURATION
        return 2 * len(count(summary.instances)) + 1

    def _attempts(self, summary: NodeSummary) -> str:
        if summary.attempt < 2 or "[]" in summary.path:
            return ""
        return f" {TIMES if self.unicode else 'x'}{min(summary.attempt, 99)}"

    def _told(self, summary: NodeSummary, path: str) -> str:
        if "[]" in path:
            done = summary.counts.get(NodeState.SUCCEEDED, 0)
            return progress(done, summary.instances) if summary.instances else ""
        return self.time(summary)

    def time(self, summary: NodeSummary) -> str:
        """How long a node took, or has been running."""
        if summary.started is None or self.overview is None:
            return ""
        if summary.state == NodeState.RUNNING:
            return duration(self.overview.now - summary.started)
        ended = summary.finished is not None and summary.state in ENDED
        return duration((summary.finished or 0.0) - summary.started) if ended else ""

    # a branch or sub-DAG: what its frame is called

    def title_width(self, path: str, node: Node) -> int:
        """Columns that `title` needs at most."""
        columns = len(node.name) + (len(self._kind(node)) + 3 if self._kind(node) else 0)
        if self.overview is None:
            return columns
        if "[]" in path:
            return columns + 2 + 2 + self._slot(path)
        done = 2 * len(count(self._scopes(path))) + 2 if node.kind == "foreach" else 0
        return columns + 2 + done + 2 + DURATION

    def title(self, path: str, node: Node) -> Line:
        """A frame's name, what kind of branch it is, how far it has come."""
        line: Line = [(node.name, BOLD)]
        if kind := self._kind(node):
            line.append((f" {'·' if self.unicode else '-'} {kind}", DIM))
        summary = self.summary(path)
        if summary is None:
            return line
        line = [glyph(summary.state, self.unicode), (" ", ""), *line]
        if "[]" in path:
            return [*line, (f"  {self._told(summary, path)}", DIM)]
        if node.kind == "foreach" and summary.width is not None:
            line.append((f" {progress(summary.done, summary.width)}", BOLD))
        if took := self.time(summary):
            line.append((f"  {took}", DIM))
        return line

    def _kind(self, node: Node) -> str:
        return node.kind if node.kind in ("conditional", "foreach") else ""

    def _scopes(self, path: str) -> int:
        summary = self.summary(path)
        return (summary.width if summary is not None else None) or 0

    # a key of a conditional branch

    def key_width(self, key: str) -> int:
        """Columns that `key` needs."""
        return width(self._key(key)) + (2 if self.overview is not None else 0)

    def key(self, path: str, key: str) -> Line:
        """`[pass]`, marked where the branch chose otherwise."""
        if self.overview is None:
            return [(self._key(key), "")]
        sign: Span = ("  ", "")
        summary = self.summary(path)
        state = self.key_state(path, key)
        if state is not None and summary is not None:
            mark, sgr = glyph(state, self.unicode)
            sign = (f"{mark} ", sgr)
        return [sign, (self._key(key), DIM if state == NodeState.SKIPPED else "")]

    def key_state(self, path: str, key: str) -> NodeState | None:
        """Skipped for a key that was not chosen; the branch's own state for one that was."""
        summary = self.summary(path)
        if summary is None or summary.chosen is None:
            return None
        return summary.state if encode_key(key) in summary.chosen else NodeState.SKIPPED

    def _key(self, key: str) -> str:
        return f"[{clean(encode_key(key), self.unicode)}]"


def _fixed(text: str, columns: int, sgr: str) -> Span:
    return text + " " * (columns - width(text)), sgr


def _name(summary: NodeSummary) -> str:
    if summary.state == NodeState.FAILED:
        return RED
    return DIM if summary.state == NodeState.SKIPPED else ""
