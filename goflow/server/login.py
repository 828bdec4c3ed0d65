"""The dashboard's cookie: proof of a login, made from the secret, with an end."""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from http.cookies import CookieError, SimpleCookie
from typing import Final
from urllib.parse import unquote

COOKIE: Final = "goflow_login"
#: seconds a login holds
LIFE: Final = 7 * 86400
#: where a login leads unless a page was asked for
HOME: Final = "/"
#: a page of the dashboard as browsers ask for one, with its query: nothing that a browser reads as another host's
_PAGE: Final = re.compile(
    r"(/|/ui/[A-Za-z0-9._~%!$&'()*+,;=:@/-]{1,1500})(\?[A-Za-z0-9._~%!$&'()*+,;=:@/?-]{0,1500})?"
)


def make(secret: str) -> str:
    """A cookie's value that holds from now on."""
    until = int(time.time()) + LIFE
    return f"{until}.{_proof(secret, until)}"


def header(secret: str, *, https: bool, leave: bool = False) -> str:
    """`Set-Cookie` for a login, or for leaving."""
    value, age = ("", 0) if leave else (make(secret), LIFE)
    secure = "; Secure" if https else ""
    return f"{COOKIE}={value}; Path=/; Max-Age={age}; HttpOnly; SameSite=Strict{secure}"


def holds(secret: str, cookies: str) -> bool:
    """Whether a Cookie header has a login that holds."""
    if COOKIE not in cookies or len(cookies) > 8192:
        return False
    try:
        morsel = SimpleCookie(cookies).get(COOKIE)
    except CookieError:
        return False
    until, _, proof = (morsel.value if morsel else "").partition(".")
    if not (until.isascii() and until.isdigit() and len(until) < 12):
        return False
    known = hmac.compare_digest(_proof(secret, int(until)).encode(), proof.encode())
    return known and int(until) > time.time()


def destination(asked: str) -> str:
    """Where a login leads: to the page that was asked for, if it is one of the dashboard's, which only read.

    A browser takes `..` out of a path itself, and would go from a page to `/flow/NAME`, which starts a run.
    """
    found = _PAGE.fullmatch(asked)
    return asked if found and ".." not in unquote(found[1]) else HOME


def _proof(secret: str, until: int) -> str:
    text = f"goflow dashboard login until {until}"
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()
