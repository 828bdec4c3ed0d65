"""A proxy between a client and a Redis that cuts connections exactly where it hurts.

`cut_before` drops the next request unseen; `cut_after` lets Redis execute it and drops the answer. Both close
the client's connection. It runs in a thread of the test.
"""

from __future__ import annotations

import itertools
import selectors
import socket
import threading
from pathlib import Path

_numbers = itertools.count()


class Proxy:
    """Listens on a Unix socket beside the server's. `arm` says which request is hit, counted from 1."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self.path = target.with_name(f"proxy-{next(_numbers)}.sock")
        self.url = f"unix://{self.path}"
        self._mode = ""
        self._countdown = 0
        self._word = b""
        self.cuts = 0
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen(16)
        self._stop, self._stopped = socket.socketpair()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def arm(self, mode: str, nth: int = 1, word: bytes = b"EVAL") -> None:
        """Cut `before` or `after` the nth request from now that holds `word`."""
        self._mode, self._countdown, self._word = mode, nth, word

    def close(self) -> None:
        """End the thread and close everything."""
        self._stop.send(b".")
        self._thread.join()
        for each in (self._listener, self._stop, self._stopped):
            each.close()
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
                    running = False
                elif source is self._listener:
                    client, _ = self._listener.accept()
                    server = socket.socket(socket.AF_UNIX)
                    server.connect(str(self._target))
                    for one, other in ((client, server), (server, client)):
                        peers[one] = other
                        selector.register(one, selectors.EVENT_READ, one is client)
                elif source in peers:
                    self._pass_on(source, peers, key.data, doomed, selector)
        for each in list(peers):
            each.close()
        selector.close()

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
        if from_client and self._mode and self._word in data:
            self._countdown -= 1
            if self._countdown == 0:
                mode, self._mode = self._mode, ""
                self.cuts += 1
                if mode == "before":
                    data = b""
                else:
                    doomed.add(peers[source])
        if not data or (not from_client and source in doomed):
            doomed.discard(source)
            for each in (source, peers.pop(source)):
                peers.pop(each, None)
                selector.unregister(each)
                each.close()
            return
        try:
            peers[source].sendall(data)
        except ConnectionError:
            return  # the other end is gone: its own event closes both
