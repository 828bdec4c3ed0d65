"""Logging in with the secret, and leaving."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Mapping
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import Response

from goflow.server.login import HOME, destination, header
from goflow.server.pages.frame import page
from goflow.server.pages.markup import tag
from goflow.server.service import service


def login_page(
    status: int, message: str = "", headers: Mapping[str, str] | None = None, *, asked: str = HOME
) -> Response:
    """The form that takes the secret, and then leads to the page that was asked for."""
    to = destination(asked)
    form = tag(
        "form",
        tag("label", "Secret", for_="secret"),
        tag(
            "input",
            id="secret",
            name="secret",
            type="password",
            autocomplete="current-password",
            required=True,
            autofocus=True,
            aria_describedby="wrong" if message else None,
        ),
        tag("p", message, id="wrong", class_="error", role="alert") if message else None,
        tag("input", type="hidden", name="to", value=to) if to != HOME else None,
        tag("button", "Log in"),
        method="post",
        action="/login",
        class_="card login",
    )
    hint = tag("p", "The secret is what the server's GOFLOW_SERVE_SECRET or goflow.toml says.")
    return page("Log in", tag("h1", "Log in"), form, hint, status=status, headers=headers)


async def login(request: Request) -> Response:
    """Take the secret, give the cookie."""
    secret = service(request).secret
    body = (await request.body()).decode(errors="replace")
    fields = parse_qs(body, max_num_fields=10)
    given, asked = (fields.get(name, [""])[0] for name in ("secret", "to"))
    if not secret or not hmac.compare_digest(given.encode(), secret.encode()):
        await asyncio.sleep(0.5)  # a person does not mind, one who guesses does
        return login_page(401, "That is not this server's secret.", asked=asked)
    cookie = header(secret, https=request.url.scheme == "https")
    to = destination(asked)
    return Response(status_code=303, headers={"Location": to, "Set-Cookie": cookie})


async def logout(request: Request) -> Response:
    """Take the cookie back."""
    secret = service(request).secret
    cookie = header(secret, https=request.url.scheme == "https", leave=True)
    return Response(status_code=303, headers={"Location": "/", "Set-Cookie": cookie})
