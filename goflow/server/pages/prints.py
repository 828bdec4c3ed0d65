"""What a run's nodes printed, as its page shows it."""

from __future__ import annotations

from typing import Final

from goflow.backend import LogLine, Run
from goflow.server.answers import link as run_path
from goflow.server.pages.markup import Child, Markup, join, tag

#: characters of log that a page shows
MOST_LOG: Final = 20_000


def prints(run: Run, lines: list[LogLine]) -> Markup:
    """The latest pieces, each under the node that printed it."""
    if not lines:
        return tag("p", "Nothing was printed.", class_="empty")
    pieces: list[tuple[LogLine, str]] = []
    left = MOST_LOG
    for line in reversed(lines):  # the newest are the ones one looks for
        if left <= 0:
            break
        pieces.append((line, line.data.decode(errors="replace")[-left:]))
        left -= len(pieces[-1][1])
    body: list[Child] = []
    speaker = None
    for line, text in reversed(pieces):
        now = (line.path, line.round, line.attempt)
        if now != speaker:
            attempt = f" (attempt {line.attempt})" if line.attempt > 1 else ""
            body.append(tag("b", f"{line.path}{attempt}\n"))
            speaker = now
        body.append(text if text.endswith("\n") else text + "\n")
    whole = tag("a", "All of it", href=f"{run_path(run)}/logs?format=text")
    return join(tag("pre", body, tabindex="0", class_="log", aria_label="Logs"), tag("p", whole))
