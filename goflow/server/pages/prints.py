"""What a run's nodes printed, as its page shows it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from goflow.backend import LogLine, Run
from goflow.server.answers import link as run_path
from goflow.server.pages.markup import Child, Markup, join, tag
from goflow.server.pages.parts import link

#: characters of log that a page shows
MOST_LOG: Final = 20_000
#: bytes that are read for it: a character has four at most
READ: Final = 4 * MOST_LOG


def prints(run: Run, lines: Sequence[LogLine], *, of: str | None = None) -> Markup:
    """The latest pieces, each under the node that printed it; those of one node need no such title."""
    if not lines:
        return tag("p", "Nothing was printed.", class_="empty")
    pieces: list[tuple[LogLine, str]] = []
    left = MOST_LOG
    for line in reversed(lines):  # the newest are the ones one looks for
        if left <= 0:
            break
        pieces.append((line, _shown(line.data)[-left:]))
        left -= len(pieces[-1][1])
    body: list[Child] = []
    speaker, ended = None, True
    for line, text in reversed(pieces):
        now = (line.path, line.round, line.attempt)
        if now != speaker:
            body += ["" if ended else "\n", _title(line, of)]
            speaker = now
        body.append(text)
        ended = text.endswith("\n")
    body.append("" if ended else "\n")
    at = link(f"{run_path(run)}/logs", format="text", node=of)
    whole = tag("p", tag("a", "All of it" if left <= 0 else "As text", href=at), class_="small")
    label = f"Logs of {of}" if of else "Logs"
    return join(
        tag("pre", body, tabindex="0", class_="log", aria_label=label, role="region"), whole
    )


def _shown(data: bytes) -> str:
    """A piece as a terminal would leave it: without what a carriage return overwrote."""
    text = data.decode(errors="replace")
    if "\r" not in text:
        return text
    return "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))


def _title(line: LogLine, of: str | None) -> Markup | None:
    if of is None:
        again = f" (attempt {line.attempt})" if line.attempt > 1 else ""
        return tag("b", f"{line.path}{again}")
    return tag("b", f"attempt {line.attempt}") if line.attempt > 1 else None
