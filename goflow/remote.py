"""A Client of a goflow server over HTTP: `Client("http://host:8080")`.

Each request is signed where the configuration has the server's secret (`GOFLOW_SERVE_SECRET`, or `serve.secret`),
so the secret itself never travels. Connections are kept and used again.
"""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn
from urllib.parse import quote, urlencode, urlsplit

from goflow import errors
from goflow.backend import Action, Backend, Run
from goflow.client import Client
from goflow.payload import Payload, of_input, within
from goflow.runid import checked, new_run_id
from goflow.signature import sign
from goflow.state import RunState
from goflow.tracing import caller

if TYPE_CHECKING:
    from goflow.config import Config
    from goflow.plan import Plan

#: seconds that a server may be silent, beyond those it was asked to wait
PATIENCE: Final = 30.0
#: seconds that one request waits for a run's end; then comes the next one
SLICE: Final = 30.0
#: seconds after which a kept connection is not trusted: servers close idle ones, ours after 30
_FRESH: Final = 15.0
#: a server that does not wait as long as it is asked to is asked again after so many seconds
_PAUSE: Final = 0.25
#: runs whose flow is remembered: it is part of where a run is found
_KNOWN: Final = 10_000


class Answer(NamedTuple):
    """What came back. `media_type` is without parameters."""

    status: int
    media_type: str
    body: bytes


class HttpClient(Client):
    """What Client is over a backend, over HTTP. Made by `Client(url)`.

    Raises ConfigError for a URL that is no server's, BackendError where the server cannot be reached or
    does not let us in.
    """

    def __init__(self, backend: str | Backend, *, config: Config | None = None) -> None:
        if config is None:
            from goflow.config import load_config

            config = load_config()
        assert isinstance(backend, str)
        self._server = _Server(backend, config.serve.read_secret())
        self._most = config.payload.max_size
        self._flows: dict[str, str] = {}

    def __getattr__(self, name: str) -> Any:
        if name == "backend":  # what a backend alone can do, such as `plan`
            raise errors.ConfigError(
                f"{self._server.url} is a server, not a backend: it takes submit, run, runs, result,"
                " wait, pause, resume, stop and retry"
            )
        raise AttributeError(name)

    def submit(
        self,
        flow: str,
        data: object = b"",
        *,
        run_id: str | None = None,
        query: Mapping[str, Sequence[str]] | None = None,
        plan: Plan | None = None,
    ) -> Run:
        """See Client.submit. The server decides on the definition; `wait` is HTTP's own parameter, so no
        query may have it. Raises ConfigError for either."""
        if plan is not None:
            raise errors.ConfigError(
                "a server starts runs by the definition its workers registered"
            )
        if query and "wait" in query:
            raise errors.ConfigError("'wait' is HTTP's own parameter and cannot be a query's")
        payload = of_input(data)
        within(payload, self._most, "the payload")
        # named here, so that asking again after a lost answer starts no second run
        name = new_run_id() if run_id is None else checked(run_id)
        own = {"X-Async": "true", "X-Request-Id": name, "Content-Type": payload.media_type}
        headers = caller() | own
        path = f"/flow/{quote(flow, safe='')}"
        told = self._server.json("POST", path, query or {}, payload.data, headers)
        return self._noted(told)

    def run(self, run_id: str) -> Run:
        """See Client.run."""
        return self._noted(self._server.json("GET", f"/runs/{checked(run_id)}"))

    def runs(
        self, flow: str | None = None, state: RunState | str | None = None, limit: int = 100
    ) -> list[Run]:
        """See Client.runs. A server lists 10,000 at most."""
        given = {"flow": flow, "state": None if state is None else str(state), "limit": str(limit)}
        asked = {name: [value] for name, value in given.items() if value is not None}
        told = self._server.json("GET", "/runs", asked)
        listed = told.get("runs") if isinstance(told, dict) else None
        if not isinstance(listed, list):
            self._server.strange(200)
        return [self._noted(each) for each in listed]

    def result(self, run_id: str) -> Payload:
        """See Client.result."""
        found = self.poll(run_id, 0)
        if found is None:
            raise errors.Conflict(f"run {run_id} has not ended: it is {self.run(run_id).state}")
        return found

    def wait(self, run_id: str, timeout: float | None = None) -> Payload:
        """See Client.wait."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            left = SLICE if deadline is None else max(0.0, deadline - time.monotonic())
            found = self.poll(run_id, min(left, SLICE))
            if found is not None:
                return found
            if deadline is not None and time.monotonic() >= deadline:
                raise TimeoutError(
                    f"run {run_id} has not ended after {timeout:g} s: it is {self.run(run_id).state}"
                )

    def wait_all(self, run_ids: Iterable[str], timeout: float | None = None) -> list[Payload]:
        """See Client.wait_all. A server tells of one run at a time, so it is asked for one after the other."""
        deadline = None if timeout is None else time.monotonic() + timeout
        return [
            self.wait(run_id, None if deadline is None else max(0.0, deadline - time.monotonic()))
            for run_id in run_ids
        ]

    def poll(self, run_id: str, seconds: float) -> Payload | None:
        """The result as soon as there is one, None after so many seconds. Raises RunFailed, RunStopped."""
        began = time.monotonic()
        path, asked = f"{self._at(run_id)}/result", {"wait": [f"{seconds:.3f}"]}
        answer = self._server.ask("GET", path, asked, patience=seconds + PATIENCE)
        if answer.status == 200:
            return Payload(answer.body, answer.media_type)
        if answer.status != 202:
            self._server.refuse(answer)
        early = seconds - (time.monotonic() - began)
        if early > _PAUSE:  # it drains, or its serve.max_wait is short
            time.sleep(_PAUSE)
        return None

    def retry(
        self,
        run_id: str,
        *,
        from_node: str | None = None,
        plan: Plan | None = None,
        owner: int = 0,
    ) -> Run:
        """See Client.retry."""
        if plan is not None or owner:
            raise errors.ConfigError(
                "over HTTP a retry is by the run's own definition, by any worker"
            )
        asked = {} if from_node is None else {"from": [from_node]}
        return self._noted(self._server.json("POST", f"{self._at(run_id)}/retry", asked))

    def close(self) -> None:
        """Close what connections are open."""
        self._server.close()

    def _control(self, run_id: str, action: Action) -> Run:
        return self._noted(self._server.json("POST", f"{self._at(run_id)}/{action}"))

    def _at(self, run_id: str) -> str:
        """Where a run is found, which its flow is a part of."""
        flow = self._flows.get(checked(run_id)) or self.run(run_id).flow
        return f"/flow/{flow}/request/{run_id}"

    def _noted(self, told: Any) -> Run:
        try:
            run = _run(told)
        except (KeyError, TypeError, ValueError, AttributeError):
            self._server.strange(200)
        if len(self._flows) >= _KNOWN:
            self._flows.clear()
        self._flows[run.id] = run.flow
        return run


def _run(told: Any) -> Run:
    return Run(
        id=told["run_id"],
        flow=told["flow"],
        state=RunState(told["state"]),
        created=told["created"],
        started=told["started"],
        finished=told["finished"],
        error=told["error"],
        fingerprint=told["fingerprint"],
        round=told["round"],
        abandoned=told.get("abandoned", False),
    )


class _Server:
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
        """One request, whatever the answer. Raises BackendError where there is none.

        One that a kept connection did not carry is sent again over a new one. Every request but a retry
        may be repeated; that one is never sent over a kept connection.
        """
        text = urlencode(query, doseq=True)
        target = f"{path}?{text}" if text else path

        def send(link: http.client.HTTPConnection) -> Answer:
            proof = sign(self._secret, method, path, text, body) if self._secret else {}
            return self._exchange(link, method, target, body, {**headers, **proof}, patience)

        kept = None if path.endswith("/retry") else self._take()
        if kept is not None:
            try:
                return send(kept)
            except (ConnectionError, http.client.HTTPException):
                kept.close()  # the server had closed it meanwhile
            except OSError as error:
                kept.close()
                raise errors.BackendError(f"{self.url}: {_reason(error)}") from None
        fresh = self._connection()
        try:
            return send(fresh)
        except (OSError, http.client.HTTPException) as error:
            fresh.close()
            raise errors.BackendError(f"{self.url}: {_reason(error)}") from None

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
        kind = response.headers.get_content_type()
        if response.will_close:
            link.close()
        else:
            with self._lock:
                self._idle.append((link, time.monotonic()))
        return Answer(response.status, kind, data)

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
        raise errors.BackendError(
            f"{self.url} answered {status} as no goflow server does; is it one?"
        )


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
    "store_away": errors.BackendError,
    "store_full": errors.StoreFull,
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
    if isinstance(error, http.client.RemoteDisconnected):
        return "it closed the connection without an answer"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _shown(url: str) -> str:
    """A URL without credentials, for messages."""
    scheme, mark, rest = url.partition("://")
    return scheme + mark + rest.rpartition("@")[2]
