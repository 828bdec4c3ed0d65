"""What several pages show: states, times, tables, payloads."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode

from starlette.requests import Request
from starlette.responses import Response

from goflow.backend import Run
from goflow.errors import GoflowError
from goflow.server.errors import HttpError, of_goflow
from goflow.server.pages.frame import page
from goflow.server.pages.markup import Child, Markup, tag

#: a sign for each state, so that nobody has to tell them by colour
SIGNS = {
    "waiting": "·",
    "queued": "○",
    "ready": "○",
    "running": "●",
    "retrying": "↻",
    "paused": "‖",
    "stopping": "■",
    "succeeded": "✓",
    "failed": "✗",
    "skipped": "⊘",
    "stopped": "■",
}


def state(name: str) -> Markup:
    """A state as a sign and a word."""
    return tag(
        "span",
        tag("span", SIGNS.get(name, ""), aria_hidden="true"),
        f" {name}",
        class_=f"state {name}",
    )


def moment(at: float | None) -> Markup | str:
    """A time of day; the script turns it into the reader's own."""
    if at is None:
        return ""
    told = datetime.fromtimestamp(at, UTC)
    return tag("time", told.strftime("%Y-%m-%d %H:%M:%S UTC"), datetime=told.isoformat())


def duration(seconds: float | None) -> str:
    """`12 ms`, `3.4 s`, `2 m 05 s`, `1 h 07 m`, `3 d 4 h`."""
    if seconds is None:
        return ""
    seconds = max(seconds, 0.0)
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} m {whole % 60:02d} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} m"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def took(started: float | None, finished: float | None) -> str:
    """How long something took, or has been going on."""
    return "" if started is None else duration((finished or time.time()) - started)


def table(head: Sequence[str], rows: Iterable[Sequence[Child]], empty: str, label: str) -> Markup:
    """A table that scrolls by itself where it is too wide; a sentence where it has no rows."""
    body = [
        tag("tr", [tag("td", cell, data_label=name) for name, cell in zip(head, row, strict=True)])
        for row in rows
    ]
    if not body:
        return tag("p", empty, class_="empty")
    titles = tag("tr", [tag("th", name, scope="col") for name in head])
    told = tag("table", tag("thead", titles), tag("tbody", body))
    return tag("div", told, class_="scroll", tabindex="0", role="region", aria_label=label)


def run_link(run: Run) -> Markup:
    """A link to a run's page."""
    return tag("a", run.id, href=f"/ui/run/{run.id}", class_="mono")


def flow_link(name: str) -> Markup:
    """A link to a flow's page."""
    return tag("a", name, href=f"/ui/flow/{quote(name)}")


def runs_table(runs: Iterable[Run], *, with_flow: bool) -> Markup:
    """Runs, the newest first."""
    head = ["Run", *(["Flow"] if with_flow else []), "State", "Created", "Took", "Error"]
    rows = [
        [
            run_link(run),
            *([flow_link(run.flow)] if with_flow else []),
            state(str(run.state)),
            moment(run.created),
            took(run.started, run.finished if run.state.terminal else None),
            tag("span", run.error[:200], class_="cut") if run.error else None,
        ]
        for run in runs
    ]
    return table(head, rows, "No runs here yet.", "Runs")


def payload(told: dict[str, Any], download: str) -> Markup:
    """An excerpt of a payload, and where all of it is."""
    size = "1 byte" if told["size"] == 1 else f"{told['size']:,} bytes"
    kind = "binary, as hex" if told["binary"] else told["media_type"] or "carries nothing"
    note = "" if told["whole"] else ", the beginning is shown"
    return tag(
        "div",
        tag("pre", told["text"], tabindex="0", class_="payload") if told["size"] else None,
        tag(
            "p",
            f"{size}, {kind}{note} ",
            tag("a", "Download", href=download) if told["size"] else None,
            class_="dim",
        ),
    )


def link(path: str, **query: str | None) -> str:
    """A path with those parameters that are given."""
    given = {key: value for key, value in query.items() if value}
    return f"{path}?{urlencode(given)}" if given else path


def told_wrong(request: Request, error: GoflowError | HttpError) -> Response:
    """An error as a page."""
    known = error if isinstance(error, HttpError) else of_goflow(error)
    return page(
        "Not found" if known.status == 404 else "Error",
        tag("h1", "That did not work"),
        tag("p", str(known)),
        tag("p", tag("a", "All runs", href="/ui/runs"), " · ", tag("a", "All flows", href="/")),
        status=known.status,
        headers=known.headers,
    )
