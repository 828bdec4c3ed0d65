"""What several pages show: states, times, tables, payloads."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote, urlencode

from starlette.requests import Request
from starlette.responses import Response

from goflow.backend import Run
from goflow.errors import GoflowError
from goflow.payload import JSON
from goflow.server.errors import HttpError, of_goflow
from goflow.server.pages.frame import page
from goflow.server.pages.markup import Child, Markup, tag
from goflow.took import took as whole

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

#: characters of an error that stand on some lines of any screen
_LONG_ERROR: Final = 400


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
    """`12 ms`, `3.4 s`, `2 m 05 s`, `1 h 07 m`, `3 d 4 h`, never broken over two lines."""
    return "" if seconds is None else _duration(seconds).replace(" ", "\u00a0")


def _duration(seconds: float) -> str:
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


def took_run(run: Run) -> str:
    """How long a run took, as everywhere."""
    return "" if run.started is None else duration(whole(run, time.time()))


def table(
    head: Sequence[Child],
    rows: Iterable[Sequence[Child]],
    empty: str,
    label: str,
    *,
    kind: str | None = None,
) -> Markup:
    """A table that scrolls by itself where it is too wide; a sentence where it has no rows. `kind` is its
    class."""
    names = [
        name if isinstance(name, str) and not isinstance(name, Markup) else None for name in head
    ]
    body = [
        tag("tr", [tag("td", cell, data_label=name) for name, cell in zip(names, row, strict=True)])
        for row in rows
    ]
    if not body:
        return tag("p", empty, class_="empty")
    titles = tag("tr", [tag("th", name, scope="col") for name in head])
    told = tag("table", tag("thead", titles), tag("tbody", body), class_=kind)
    return tag("div", told, class_="scroll", tabindex="0", role="region", aria_label=label)


def place(listed: Sequence[object], size: int, page: int, what: str) -> str:
    """`101 to 200`: where one is in a list whose length nobody knows."""
    first = (page - 1) * size
    return f"{first + 1:,} to {first + len(listed):,}" if listed else f"No more {what}."


def page_links(where: str, page: int, more: bool, at: Callable[[int], str]) -> Markup | None:
    """Where one is in a list, and the ways to the page before and (with `more`) the one after."""
    back = ("← Back", at(page - 1)) if page > 1 else None
    return ways(where, back, at(page + 1) if more else None)


def ways(where: str, back: tuple[str, str] | None, more: str | None) -> Markup | None:
    """Where one is in a list, and links back (by its words) and on; None where all of it is seen."""
    if back is None and more is None:
        return None
    return tag(
        "nav",
        tag("a", back[0], href=back[1], rel="prev", data_soft=True) if back else None,
        tag("span", where),
        tag("a", "More →", href=more, rel="next", data_soft=True) if more else None,
        aria_label="Pages",
        class_="pages",
    )


def cut(text: str | None, *, bad: bool = False) -> Markup | None:
    """One line of a text, as much of it as there is room for; all of it where one points."""
    return (
        tag("span", text[:200], class_="cut error" if bad else "cut", title=text) if text else None
    )


def button(text: str, post: str, *, ask: str | None = None, main: bool = False) -> Markup:
    """A button that posts; `ask` is what must be agreed to first."""
    return tag(
        "button",
        text,
        type="button",
        class_="main" if main else None,
        data_post=post,
        data_ask=ask,
    )


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
            took_run(run),
            cut(run.error),
        ]
        for run in runs
    ]
    return table(head, rows, "No runs here yet.", "Runs")


def payload(told: dict[str, Any], download: str) -> Markup:
    """An excerpt of a payload, and where all of it is."""
    size = "1 byte" if told["size"] == 1 else f"{told['size']:,} bytes"
    kind = "binary, as hex" if told["binary"] else told["media_type"] or "carries nothing"
    note = "" if told["whole"] else ", the beginning is shown"
    text = _indented(told["text"]) if told["whole"] and told["media_type"] == JSON else told["text"]
    return tag(
        "div",
        tag("pre", text, tabindex="0", class_="payload") if told["size"] else None,
        tag(
            "p",
            f"{size}, {kind}{note} ",
            tag("a", "Download", href=download) if told["size"] else None,
            class_="dim small",
        ),
    )


def wrong(error: str | None, role: str | None = None) -> Markup | None:
    """An error in full. One that is longer than its place scrolls there, by keyboard too, instead of driving
    everything below it from a phone's screen."""
    if not error:
        return None
    long = len(error) > _LONG_ERROR
    return tag("p", error, class_="error", role=role, tabindex="0" if long else None)


def _indented(text: str) -> str:
    """JSON on several lines, where reading and writing it changes nothing else."""
    try:
        value = json.loads(text)
        if text in (
            json.dumps(value, ensure_ascii=False, separators=(",", ":")),
            json.dumps(value, ensure_ascii=False),
        ):
            return json.dumps(value, ensure_ascii=False, indent=2)
    except (ValueError, RecursionError):
        pass
    return text


def link(path: str, **query: str | None) -> str:
    """A path with those parameters that are given."""
    given = {key: value for key, value in query.items() if value}
    return f"{path}?{urlencode(given)}" if given else path


def told_wrong(request: Request, error: GoflowError | HttpError) -> Response:
    """An error as a page."""
    known = error if isinstance(error, HttpError) else of_goflow(error)
    away = known.status == 503
    again = "This page is loaded again as soon as there is an answer."
    return page(
        "Not found" if known.status == 404 else "Error",
        tag("h1", "That did not work"),
        tag("p", str(known)),
        tag("p", again) if away else None,
        tag("p", tag("a", "All runs", href="/ui/runs"), " · ", tag("a", "All flows", href="/")),
        status=known.status,
        headers=known.headers,
        refresh=5 if away else None,
        away=away,
    )
