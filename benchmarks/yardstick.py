"""What an HTTP service over Redis costs at the least: the stack of `goflow serve` without goflow.

    python -m benchmarks.yardstick REDIS_URL

Starlette on uvicorn (uvloop, httptools); each request is one awaited Redis round trip. Prints its URL.
"""

from __future__ import annotations

import socket
import sys

import uvicorn
from redis.asyncio import Redis
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


def main(url: str) -> None:
    """Serve until SIGTERM."""
    redis = Redis.from_url(url)

    async def keep(request: Request) -> Response:
        await redis.set("yardstick", await request.body())
        return Response(b"x")

    listening = socket.create_server(("127.0.0.1", 0), backlog=2048)
    print(f"http://127.0.0.1:{listening.getsockname()[1]}/", flush=True)
    app = Starlette(routes=[Route("/", keep, methods=["POST"])])
    config = uvicorn.Config(
        app, loop="uvloop", http="httptools", ws="none", log_level="warning", access_log=False
    )
    uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main(sys.argv[1])
