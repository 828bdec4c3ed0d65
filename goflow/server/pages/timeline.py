"""When each node waited and ran, as bars. Drawn as SVG: sizes there are attributes, not styles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from goflow.backend import NodeRun, Run
from goflow.server.pages.markup import Markup, tag
from goflow.server.pages.parts import duration

#: how many bars are drawn
MOST: Final = 60
#: pixels of a line, of the names' column and of the bars' column
_LINE: Final = 22
_NAMES: Final = 240
_BARS: Final = 640


def timeline(run: Run, recorded: Sequence[NodeRun], now: float) -> Markup:
    """The bars of the first nodes that started."""
    shown = [node for node in recorded if node.started is not None and not node.path.endswith("]")]
    shown.sort(key=lambda node: node.started or 0.0)
    begin = min([run.created, *(node.ready or run.created for node in shown[:1])])
    end = max([run.finished or now, *(node.finished or 0.0 for node in shown)])
    scale = _BARS / max(end - begin, 0.001)
    left = len(shown) - MOST
    if not shown:
        return tag("p", "Nothing has started yet.", class_="empty")
    bars = [_bar(node, i, begin, scale, now) for i, node in enumerate(shown[:MOST])]
    height = _LINE * len(bars) + 24
    axis = [
        tag(
            "text",
            duration((end - begin) * part),
            x=_NAMES + _BARS * part,
            y=height - 6,
            class_=name,
        )
        for part, name in ((0.0, "axis"), (0.5, "axis mid"), (1.0, "axis end"))
    ]
    width = _NAMES + _BARS + 8
    drawing = tag(
        "svg",
        bars,
        axis,
        viewBox=f"0 0 {width} {height}",
        width=width,
        height=height,
        role="img",
        aria_label="Timeline: when each node waited and ran; the table of nodes tells the same",
        class_="timeline",
    )
    more = f"The first {MOST} of {len(shown):,} are shown." if left > 0 else None
    legend = "Light: ready and waiting for a worker. Solid: running."
    return tag(
        "div",
        tag("div", drawing, class_="scroll", tabindex="0", role="region", aria_label="Timeline"),
        tag("p", legend, " ", more, class_="dim"),
    )


def _bar(node: NodeRun, line: int, begin: float, scale: float, now: float) -> Markup:
    started = node.started or now
    finished = node.finished or now
    ready = min(node.ready if node.ready is not None else started, started)
    top = line * _LINE
    waited, ran = started - ready, max(finished - started, 0.0)

    def x(at: float) -> str:
        return f"{_NAMES + max(at - begin, 0.0) * scale:.1f}"

    name = node.path if len(node.path) <= 34 else f"…{node.path[-33:]}"
    title = tag("title", f"{node.path}: waited {duration(waited)}, ran {duration(ran)}")
    return tag(
        "g",
        title,
        tag("text", name, x=_NAMES - 8, y=top + 15, class_="name"),
        tag(
            "rect",
            x=x(ready),
            y=top + 6,
            width=f"{max(waited, 0.0) * scale:.1f}",
            height=10,
            class_="wait",
        ),
        tag(
            "rect",
            x=x(started),
            y=top + 3,
            width=f"{max(ran * scale, 1.5):.1f}",
            height=16,
            rx=2,
            class_=f"bar {node.state}",
        ),
    )
