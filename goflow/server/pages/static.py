"""Style sheet, script and icon: three files, read once."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from goflow.server.errors import HttpError

_FOLDER: Final = Path(__file__).parent.parent / "static"
_KINDS: Final = {
    "goflow.css": "text/css",
    "goflow.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}


async def static(request: Request) -> Response:
    """One of the files; a browser that has it is told so."""
    name = request.path_params["name"]
    if name not in _KINDS:
        raise HttpError(404, "not_found", "there is no such file")
    data, tag = _read(name)
    headers = {"ETag": tag, "Cache-Control": "no-cache"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(data, headers=headers, media_type=_KINDS[name])


@cache
def _read(name: str) -> tuple[bytes, str]:
    data = (_FOLDER / name).read_bytes()
    return data, f'"{hashlib.sha256(data).hexdigest()[:16]}"'
