"""Serving the application with uvicorn: the bind, the signals, the end."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import uvicorn
from starlette.applications import Starlette

from goflow.backend import Backend, load_backend
from goflow.config import Config
from goflow.errors import ConfigError
from goflow.farewell import asked_to_end
from goflow.server.application import app
from goflow.server.protocol import Guarded
from goflow.server.security import is_loopback
from goflow.server.service import Service

#: seconds that requests which wait for a result still get once the server drains; then they are
#: answered 202
PATIENCE: Final = 5.0
#: seconds that a second signal leaves them
MOMENT: Final = 0.5
#: ms after which the kernel drops a connection whose other end takes nothing
UNTAKEN_MS: Final = 60_000
#: what the kernel asks a silent client: after 30 s, every 10 s, three times; of those that it knows
KEEPALIVE: Final = {"TCP_KEEPIDLE": 30, "TCP_KEEPALIVE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}


def check_bind(config: Config) -> None:
    """Refuse to be reached from elsewhere without a secret. Raises ConfigError."""
    host = config.serve.host
    if not is_loopback(host) and not config.serve.read_secret():
        raise ConfigError(
            f"refusing to serve at {host}, which others can reach, without a secret: set"
            " GOFLOW_SERVE_SECRET (or serve.secret_file), or serve at 127.0.0.1"
        )


def serve(
    config: Config,
    backend: str | Backend | None = None,
    *,
    started: Callable[[Server, str], None] = lambda server, url: None,
) -> None:
    """Serve until SIGTERM, SIGINT or SIGHUP (or `Server.drain`); what is under way is answered first.

    `started` is called with the server and its URL once it listens. Signals are handled only in the main
    thread. Raises ConfigError for an address that cannot be served at.
    """
    check_bind(config)
    if backend is None:  # a store that cannot be opened is told now, not with the first request
        load_backend(config.backend, config).close()
    listening = _listen(config)
    application = app(config.backend if backend is None else backend, config)
    port = listening.getsockname()[1]
    host = config.serve.host
    shown = f"[{host}]" if ":" in host else host
    server = Server(application, config)
    with contextlib.closing(listening):
        server.when_started = lambda: started(server, f"http://{shown}:{port}")
        server.run(sockets=[listening])


class Server(uvicorn.Server):
    """uvicorn's server, which lets waiting requests and event streams go when it drains."""

    def __init__(self, application: Starlette, config: Config) -> None:
        self._serving: Service = application.state.service
        self.when_started: Callable[[], None] = lambda: None
        super().__init__(
            uvicorn.Config(
                application,
                http=Guarded,
                ws="none",
                lifespan="on",
                log_level="error",  # what clients send amiss is no matter for the log
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=30,
                timeout_graceful_shutdown=int(PATIENCE) + 5,
            )
        )

    def drain(self) -> None:
        """End soon; safe from a signal handler and from other threads."""
        self.should_exit = True

    def tell_problems(self, problems: Sequence[str]) -> None:
        """Have the dashboard show what is wrong with the flow files beside this server, until the next call;
        safe from other threads."""
        self._serving.problems = tuple(problems)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then say so."""
        await super().startup(sockets)
        self.when_started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept nothing more, answer what is under way, end."""
        loop = asyncio.get_running_loop()
        self._serving.hub.drain()
        await self._close_listeners(sockets or [])
        later = loop.call_later(PATIENCE, self._serving.close)
        try:
            await super().shutdown(sockets)
        finally:
            later.cancel()
            if self.force_exit:
                await self._leave()

    async def _leave(self) -> None:
        """Have those who wait told what is known, which takes a moment; who is not answered by then is cut off."""
        self._serving.close()
        if self.server_state.tasks:
            await asyncio.wait(set(self.server_state.tasks), timeout=MOMENT)
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)  # now they know it, and are not told that something went wrong here

    async def _close_listeners(self, sockets: list[socket.socket]) -> None:
        """Take what has connected already, which the kernel would otherwise reset, then listen no more."""
        for connection in list(self.server_state.connections):
            connection.shutdown()  # before anybody can see that nobody listens: what comes now is the last
        taken = [each for listening in sockets for each in _backlog(listening)]
        for server in self.servers:
            server.close()
        for listening in sockets:
            listening.close()
        for each in taken:
            with contextlib.suppress(OSError):  # it has gone again
                await asyncio.get_running_loop().connect_accepted_socket(self._protocol, each)
        await asyncio.sleep(0)  # those that the loop has taken are connections now

    def _protocol(self) -> asyncio.Protocol:
        return Guarded(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """SIGTERM, SIGINT and SIGHUP drain, a second one ends at once; nobody gets them again afterwards."""

        def handle(first: bool) -> None:
            # a drain that nobody signalled (`drain`) has begun as well
            self.force_exit = self.force_exit or not first or self.should_exit
            self.should_exit = True

        with asked_to_end(handle):
            yield


def _backlog(listening: socket.socket) -> Iterator[socket.socket]:
    listening.setblocking(False)
    with contextlib.suppress(OSError):  # there is none more
        while True:
            yield listening.accept()[0]


def _stay_alive(listening: socket.socket) -> None:
    """Have the kernel find out whose machine or cable has gone, which tells nobody; what connects inherits this."""
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in KEEPALIVE.items():
        if hasattr(socket, name):
            listening.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # what a vanished or stuck client never takes
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNTAKEN_MS)


def _listen(config: Config) -> socket.socket:
    host, port = config.serve.host, config.serve.port
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _stay_alive(listening)
        listening.bind(address)
        listening.listen(2048)
        listening.set_inheritable(False)
    except OSError as error:
        reason = error.strerror or error
        raise ConfigError(
            f"cannot serve at {host}:{port}: {reason}; another --port, or 0 for any free one"
        ) from None
    return listening
