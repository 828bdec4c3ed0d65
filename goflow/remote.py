"""A Client of a goflow server over HTTP: `Client("http://host:8080")`."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from goflow import errors
from goflow.backend import Action, Backend, Run
from goflow.client import Client, left_until, no_word, not_ended
from goflow.httplink import PATIENCE, HttpLink
from goflow.patience import outlasting
from goflow.payload import Payload, of_input, within
from goflow.query import of_query
from goflow.runid import checked, new_run_id
from goflow.state import RunState
from goflow.tracing import caller

if TYPE_CHECKING:
    from goflow.config import Config
    from goflow.plan import Plan

#: seconds that one request waits for a run's end; then comes the next one
SLICE: Final = 30.0
#: seconds that an answer may come late to whoever waits until a time
LATE: Final = 5.0
#: a server that does not wait as long as it is asked to is asked again after so many seconds
_PAUSE: Final = 0.25
#: runs whose flow is remembered: it is part of where a run is found
_KNOWN: Final = 10_000


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
        self._server = HttpLink(backend, config.serve.read_secret())
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
        options = of_query(query)
        if "wait" in options:
            raise errors.ConfigError("'wait' is HTTP's own parameter and cannot be a query's")
        payload = of_input(data)
        within(payload, self._most, "the payload")
        # named here, so that asking again after a lost answer starts no second run
        name = new_run_id() if run_id is None else checked(run_id)
        own = {"X-Async": "true", "X-Request-Id": name, "Content-Type": payload.media_type}
        headers = caller() | own
        path = f"/flow/{quote(flow, safe='')}"
        told = self._server.json("POST", path, options, payload.data, headers)
        return self._noted(told)

    def run(self, run_id: str) -> Run:
        """See Client.run."""
        return self._noted(self._server.json("GET", f"/runs/{checked(run_id)}"))

    def runs(
        self,
        flow: str | None = None,
        state: RunState | str | None = None,
        limit: int = 100,
        before: str | None = None,
    ) -> list[Run]:
        """See Client.runs. A server lists 10,000 at a time at most."""
        given = {
            "flow": flow,
            "state": None if state is None else str(state),
            "limit": str(limit),
            "before": None if before is None else checked(before),
        }
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
        """See Client.wait; a server that is away is outlasted as a store is."""
        deadline = None if timeout is None else time.monotonic() + timeout
        outlast = outlasting(deadline)
        try:
            while True:
                found = outlast(lambda: self.poll(run_id, SLICE, deadline))
                if found is not None:
                    return found
                if left_until(deadline) == 0:
                    raise TimeoutError(not_ended(outlast(partial(self.run, run_id)), timeout))
        except errors.StoreAway as error:
            raise TimeoutError(no_word(f"run {run_id}", timeout, error)) from error

    def wait_all(self, run_ids: Iterable[str], timeout: float | None = None) -> list[Payload]:
        """See Client.wait_all. A server tells of one run at a time, so it is asked for one after the other."""
        deadline = None if timeout is None else time.monotonic() + timeout
        return [self.wait(run_id, left_until(deadline)) for run_id in run_ids]

    def poll(self, run_id: str, most: float, deadline: float | None = None) -> Payload | None:
        """The result as soon as there is one, None after `most` seconds or at the deadline (monotonic). Raises
        RunFailed, RunStopped, StoreAway."""
        began = time.monotonic()
        seconds, patience = most, PATIENCE
        if deadline is not None:
            seconds, patience = min(most, max(0.0, deadline - began)), LATE
        path, asked = f"{self._at(run_id)}/result", {"wait": [f"{seconds:.3f}"]}
        answer = self._server.ask("GET", path, asked, patience=seconds + patience)
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
