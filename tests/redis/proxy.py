"""A proxy between a client and a Redis that cuts connections exactly where it hurts.

`arm` drops the next request unseen, or lets Redis execute it and drops the answer; both close the client's
connection. `rain` does so to some requests by chance, `deafen` leaves connections open over which nothing comes any
more, and `unplug` all that are made from then on too. It runs in a thread of the test.
"""

from __future__ import annotations

import itertools
import random
import selectors
import socket
import threading
from pathlib import Path

_numbers = itertools.count()


class Proxy:
    """Listens on a Unix socket beside the server's, or for a port on another `port` of the loopback.

    `arm` says which request is hit, counted from 1.
    """

    def __init__(self, target: Path | int) -> None:
        self._target = target
        self._mode = ""
        self._countdown = 0
        self._word = b""
        self._rain = (0.0, random.Random())
        self._deafen = self._unplugged = False
        self._deaf: set[socket.socket] = set()
        self.cuts = 0
        self.path: Path | None = None
        self.port = 0
        if isinstance(target, Path):
            self.path = target.with_name(f"proxy-{next(_numbers)}.sock")
            self.url = f"unix://{self.path}"
            self._listener = socket.socket(socket.AF_UNIX)
            self._listener.bind(str(self.path))
            self._listener.listen(16)
        else:
            self._listener = socket.create_server(("127.0.0.1", 0), backlog=16)
            self.port = self._listener.getsockname()[1]
            self.url = f"redis://127.0.0.1:{self.port}"
        self._stop, self._stopped = socket.socketpair()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def arm(self, mode: str, nth: int = 1, word: bytes = b"EVAL") -> None:
        """Cut `before` or `after` the nth request from now that holds `word`."""
        self._mode, self._countdown, self._word = mode, nth, word

    def rain(self, chance: float, seed: int = 0) -> None:
        """From now on each request is cut with this chance, half of them before, half after it."""
        self._rain = (chance, random.Random(seed))

    def deafen(self) -> None:
        """Over the connections there are nothing comes through any more; nobody is told."""
        self._deafen = True
        self._stop.send(b"d")

    def unplug(self) -> None:
        """The same, and to all that are made until `plug`."""
        self._unplugged = True
        self.deafen()

    def plug(self) -> None:
        """New connections work again; the deaf ones do not."""
        self._unplugged = False

    def close(self) -> None:
        """End the thread and close everything."""
        self._stop.send(b".")
        self._thread.join()
        for each in (self._listener, self._stop, self._stopped):
            each.close()
        if self.path is not None:
            self.path.unlink()

    def _serve(self) -> None:
        selector = selectors.DefaultSelector()
        selector.register(self._listener, selectors.EVENT_READ)
        selector.register(self._stopped, selectors.EVENT_READ)
        peers: dict[socket.socket, socket.socket] = {}
        doomed: set[socket.socket] = set()
        running = True
        while running:
            for key, _ in selector.select():
                source = key.fileobj
                assert isinstance(source, socket.socket)
                if source is self._stopped:
                    running = self._stopped.recv(1) != b"."
                    if self._deafen:
                        self._deafen = False
                        self._deaf.update(peers)
                elif source is self._listener:
                    client, _ = self._listener.accept()
                    try:
                        server = self._connect()
                    except OSError:  # nobody is there
                        client.close()
                        continue
                    if self._unplugged:
                        self._deaf |= {client, server}
                    for one, other in ((client, server), (server, client)):
                        peers[one] = other
                        selector.register(one, selectors.EVENT_READ, one is client)
                elif source in peers:
                    self._pass_on(source, peers, key.data, doomed, selector)
        for each in list(peers):
            each.close()
        selector.close()

    def _connect(self) -> socket.socket:
        if not isinstance(self._target, Path):
            return socket.create_connection(("127.0.0.1", self._target))
        server = socket.socket(socket.AF_UNIX)
        try:
            server.connect(str(self._target))
        except OSError:
            server.close()
            raise
        return server

    def _pass_on(
        self,
        source: socket.socket,
        peers: dict[socket.socket, socket.socket],
        from_client: bool,
        doomed: set[socket.socket],
        selector: selectors.BaseSelector,
    ) -> None:
        try:
            data = source.recv(1 << 20)
        except ConnectionError:
            data = b""
        if data and source in self._deaf:
            return
        mode = self._fate(data) if from_client else ""
        if mode == "before":
            data = b""
        elif mode == "after":
            doomed.add(peers[source])
        if not data or (not from_client and source in doomed):
            doomed.discard(source)
            for each in (source, peers.pop(source)):
                peers.pop(each, None)
                self._deaf.discard(each)
                selector.unregister(each)
                each.close()
            return
        try:
            peers[source].sendall(data)
        except ConnectionError:
            return  # the other end is gone: its own event closes both

    def _fate(self, data: bytes) -> str:
        """Whether this request is cut `before` or `after`."""
        chance, dice = self._rain
        mode = ""
        if chance and data and dice.random() < chance:
            mode = dice.choice(["before", "after"])
        if self._mode and self._word in data:
            self._countdown -= 1
            if self._countdown == 0:
                mode, self._mode = self._mode, ""
        self.cuts += bool(mode)
        return mode
