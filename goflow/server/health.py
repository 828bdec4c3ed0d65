"""`GET /healthz`: whether this process and its store answer. Open to everybody, and cheap."""

from __future__ import annotations

import asyncio
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from goflow.errors import BackendError, StoreAway
from goflow.server.errors import HttpError, json_response
from goflow.server.service import service

#: seconds the store may take to answer
_PATIENCE: Final = 5.0


async def healthz(request: Request) -> Response:
    """200, or 503 where the store does not answer."""
    lanes = service(request).lanes
    try:
        async with asyncio.timeout(_PATIENCE):
            await lanes.quickly(lambda backend: backend.workers())
    except (StoreAway, TimeoutError):
        raise HttpError(503, "store_away", "the store does not answer") from None
    except BackendError:
        told = "the store refuses; what it says is told to who knows the secret"
        raise HttpError(503, "store_refuses", told) from None
    return json_response({"status": "ok"})
