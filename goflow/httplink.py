"""Requests to a goflow server, signed, over connections that are kept.

Each request is signed where the configuration has the server's secret (`GOFLOW_SERVE_SECRET`, or `serve.secret`),
so the secret itself never travels. Connections are kept and used again.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, NoReturn
from urllib.parse import urlencode, urlsplit

from goflow import errors
from goflow.signature import sign

#: seconds that a server may be silent, beyond those it was asked to wait
PATIENCE: Final = 30.0
#: seconds after which a kept connection is not trusted: servers close idle ones, ours after 30
_FRESH: Final = 15.0

#: what a proxy answers while the server behind it is away
_BETWEEN: Final = (502, 503, 504)
#: errors after which asking again may help; others tell of a server of another kind
_CUT: Final = (OSError, http.client.IncompleteRead)
#: what TLS calls an end of the connection, such as a proxy's that is started again; all else it says is a refusal
_LEFT: Final = (ssl.SSLEOFError, ssl.SSLZeroReturnError)


class Answer(NamedTuple):
    """What came back. `media_type` is without parameters."""

    status: int
    media_type: str
    body: bytes


class HttpLink:
    """Requests to one server, signed, over connections that are kept."""

    def __init__(self, url: str, secret: str) -> None:
        parts = urlsplit(url)
        if not parts.hostname or parts.path not in ("", "/") or parts.query or parts.username:
            raise errors.ConfigError(
                f"expected a server's URL such as http://127.0.0.1:8080, got {_shown(url)!r}; its secret"
                " is what GOFLOW_SERVE_SECRET says"
            )
        self.url = f"{parts.scheme}://{parts.netloc}"
        self._secret = secret
        self._tls = parts.scheme == "https"
        try:
            self._address = (parts.hostname, parts.port or (443 if self._tls else 80))
        except ValueError as error:
            raise errors.ConfigError(f"{_shown(url)!r}: {error}") from None
        self._idle: list[tuple[http.client.HTTPConnection, float]] = []
        self._lock = threading.Lock()
        #: whether it has ever answered
        self._met = False

    def json(
        self,
        method: str,
        path: str,
        query: Mapping[str, Sequence[str]] = {},
        body: bytes = b"",
        headers: Mapping[str, str] = {},
    ) -> Any:
        """The answer as data. Raises what the server's error means."""
        answer = self.ask(method, path, query, body, headers)
        if answer.status >= 300:
            self.refuse(answer)
        return self._decoded(answer)

    def ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, Sequence[str]] = {},
        body: bytes = b"",
        headers: Mapping[str, str] = {},
        *,
        patience: float = PATIENCE,
    ) -> Answer:
        """One request, whatever the answer. Raises BackendError where there is none, StoreAway where there may be
        one later.

        One that a kept connection did not carry is sent again over a new one. Every request but a retry
        may be repeated; that one is never sent over a kept connection.
        """
        text = urlencode(query, doseq=True)
        target = f"{path}?{text}" if text else path

        def send(link: http.client.HTTPConnection) -> Answer:
            proof = sign(self._secret, method, path, text, body) if self._secret else {}
            return self._exchange(link, method, target, body, {**headers, **proof}, patience)

        kept = self._take()
        if kept is not None and path.endswith("/retry"):
            kept.close()  # and not kept beside the new one: whoever retries many runs would hold one for each
        elif kept is not None:
            try:
                return send(kept)
            except (ConnectionError, http.client.HTTPException):
                kept.close()  # the server had closed it meanwhile
            except OSError as error:
                kept.close()
                raise self._unanswered(error) from None
        fresh = self._connection()
        try:
            return send(fresh)
        except (OSError, http.client.HTTPException) as error:
            fresh.close()
            raise self._unanswered(error) from None

    def refuse(self, answer: Answer) -> NoReturn:
        """Raise what an answer that is an error means."""
        found = self._decoded(answer)
        told = found.get("error") if isinstance(found, dict) else None
        if not isinstance(told, dict) or not {"code", "message"} <= told.keys():
            self.strange(answer.status)
        raise _error(self.url, told)

    def close(self) -> None:
        """Close the kept connections."""
        with self._lock:
            kept, self._idle = self._idle, []
        for connection, _ in kept:
            connection.close()

    def _exchange(
        self,
        link: http.client.HTTPConnection,
        method: str,
        target: str,
        body: bytes,
        headers: Mapping[str, str],
        patience: float,
    ) -> Answer:
        link.timeout = patience
        if link.sock is not None:
            link.sock.settimeout(patience)
        link.request(method, target, body or None, dict(headers))
        response = link.getresponse()
        data = response.read()
        self._met = True
        kind = response.headers.get_content_type()
        if response.will_close:
            link.close()
        else:
            self._keep(link)
        return Answer(response.status, kind, data)

    def _keep(self, link: http.client.HTTPConnection) -> None:
        """Keep a connection for the next request, and let go of those that nobody has needed for a while."""
        now = time.monotonic()
        with self._lock:
            old = [each for each, since in self._idle if now - since >= _FRESH]
            self._idle = [(each, since) for each, since in self._idle if now - since < _FRESH]
            self._idle.append((link, now))
        for each in old:
            each.close()

    def _take(self) -> http.client.HTTPConnection | None:
        """A connection that is open already."""
        with self._lock:
            while self._idle:
                connection, since = self._idle.pop()
                if time.monotonic() - since < _FRESH:
                    return connection
                connection.close()
        return None

    def _connection(self) -> http.client.HTTPConnection:
        kind = http.client.HTTPSConnection if self._tls else http.client.HTTPConnection
        return kind(*self._address)

    def _decoded(self, answer: Answer) -> Any:
        try:
            return json.loads(answer.body)
        except ValueError:
            self.strange(answer.status)

    def strange(self, status: int) -> NoReturn:
        """Raise what an answer that no server of ours gives means."""
        kind = errors.StoreAway if status in _BETWEEN else errors.BackendError
        raise kind(f"{self.url} answered {status} as no goflow server does; is it one?")

    def _unanswered(self, error: Exception) -> errors.BackendError:
        """What there being no answer means."""
        refused = isinstance(error, ssl.SSLError) and not isinstance(error, _LEFT)
        # a name that was known comes back, as those of containers do; one that never was is mistyped
        nobody = isinstance(error, socket.gaierror) and error.errno == socket.EAI_NONAME
        hopeless = refused or not isinstance(error, _CUT) or (nobody and not self._met)
        kind = errors.BackendError if hopeless else errors.StoreAway
        return kind(f"{self.url}: {_reason(error)}")


def _error(url: str, told: dict[str, Any]) -> errors.GoflowError:
    """The error that a server's code stands for, in the server's words."""
    code, message = told["code"], str(told["message"])
    name = str(told.get("run_id", ""))
    if code == "run_failed":
        return errors.RunFailed(name, told.get("reason"))
    if code == "run_stopped":
        return errors.RunStopped(name)
    kind = _KINDS.get(code, errors.GoflowError)
    if code in ("unauthorized", "bad_signature", "replayed"):
        message = (
            f"{url} does not let us in: {message}; GOFLOW_SERVE_SECRET must be what it is there"
        )
    elif issubclass(kind, errors.BackendError):
        message = f"{url}: {message}"
    error = kind("")
    error.args = (message,)  # the server's words: it knows the names that are near
    return error


_KINDS: Final[dict[str, type[errors.GoflowError]]] = {
    "bad_signature": errors.BackendError,
    "conflict": errors.Conflict,
    "internal": errors.BackendError,
    "misdirected": errors.BackendError,
    "replayed": errors.BackendError,
    "payload_missing": errors.BlobMissing,
    "store_away": errors.StoreAway,
    "store_full": errors.StoreFull,
    "store_refuses": errors.BackendError,
    "too_large": errors.PayloadError,
    "too_many": errors.StoreFull,
    "unauthorized": errors.BackendError,
    "unknown_flow": errors.UnknownFlow,
    "unknown_node": errors.UnknownNode,
    "unknown_run": errors.UnknownRun,
}


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, socket.gaierror):
        return f"{error.strerror}; is the host's name right?"
    if isinstance(error, http.client.RemoteDisconnected):
        return "it closed the connection without an answer"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _shown(url: str) -> str:
    """A URL without credentials, for messages."""
    scheme, mark, rest = url.partition("://")
    return scheme + mark + rest.rpartition("@")[2]
