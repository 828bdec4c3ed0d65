"""What every page has around it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from starlette.responses import Response

from goflow.server.pages.markup import Child, join, tag

_PLACES: Final = (
    ("/", "Flows"),
    ("/ui/runs", "Runs"),
    ("/ui/dead", "Dead letters"),
    ("/ui/workers", "Workers"),
)


_ICON: Final = tag("img", src="/static/icon.svg", alt="", width=22, height=22)


def page(
    title: str,
    *body: Child,
    place: str = "",
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    leave: bool = False,
    refresh: int | None = None,
    events: str | None = None,
    revision: int | None = None,
    away: bool = False,
) -> Response:
    """A whole page.

    `place` is the entry of the navigation that it belongs to; `leave` offers to log out. Its parts marked
    `data-live` are fetched anew every `refresh` seconds, or whenever the stream at `events` tells of
    something after `revision`. One that only says why there is nothing to show is loaded anew once there is
    (`away`).
    """
    links = [
        tag("a", text, href=href, aria_current="page" if text == place else None)
        for href, text in _PLACES
    ]
    leaving = tag("form", tag("button", "Log out", class_="quiet"), method="post", action="/logout")
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"{title} · goflow"),
        tag("link", rel="icon", href="/static/icon.svg", type="image/svg+xml"),
        tag("link", rel="stylesheet", href="/static/goflow.css"),
        tag("script", type="module", src="/static/goflow.js"),
    )
    top = tag(
        "header",
        tag("a", "Skip to content", href="#main", class_="skip"),
        tag("a", _ICON, "goflow", href="/", class_="brand"),
        tag("nav", links, aria_label="Main"),
        leaving if leave else None,
    )
    main = tag("main", body, id="main", tabindex="-1")
    note = tag("div", id="note", role="status", aria_live="polite")
    body_tag = tag(
        "body",
        top,
        main,
        note,
        data_refresh=refresh,
        data_events=events,
        data_revision=revision,
        data_away=away,
    )
    told = join("\n", head, body_tag)
    html = "<!doctype html>\n" + tag("html", told, lang="en")
    return Response(html, status, dict(headers or {}), "text/html")
