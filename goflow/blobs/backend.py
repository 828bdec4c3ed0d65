"""A store that keeps large payloads apart, as its clients see it.

What is handed in goes out first, what is asked for is fetched; everything else is the store's own, `bare`.
A worker works on the bare one: its children put out and fetch, and its supervisor never sees a large
payload.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from msgspec.structs import replace

from goflow import glimpse, wholesale
from goflow.backend import Attempt, Backend, Diagnosable, Finding, LogLine, Retry, Run, Versioned
from goflow.blobs.carrier import Carrier
from goflow.blobs.place import Place, open_place
from goflow.blobs.words import is_reference, is_submitted, read
from goflow.config import Config
from goflow.errors import GoflowError
from goflow.message import Request
from goflow.payload import Payload


class WithBlobs:
    """See above; made by `with_blobs`."""

    bare: Backend
    place: Place
    carrier: Carrier

    def __init__(self, bare: Backend, place: Place, carrier: Carrier) -> None:
        for name, value in (("bare", bare), ("place", place), ("carrier", carrier)):
            object.__setattr__(self, name, value)

    def submit(self, request: Request) -> Run:
        """Accept a run durably; its payload is put out before."""
        payload = self.carrier.put_out(request.run_id, request.payload, submitted=True)
        return self.bare.submit(replace(request, payload=payload))

    # these two where the bare one has them: see `Wholesale`

    def submit_all(self, requests: Sequence[Request]) -> list[Run | GoflowError]:
        """Many runs at once; one whose payload cannot be put out is refused in its place."""
        answers: list[Run | GoflowError | None] = []
        asked = []
        for request in requests:
            try:
                payload = self.carrier.put_out(request.run_id, request.payload, submitted=True)
            except GoflowError as error:
                answers.append(error)
            else:
                answers.append(None)
                asked.append(replace(request, payload=payload))
        made = iter(wholesale.submit_all(self.bare, asked) if asked else ())
        return [next(made) if answer is None else answer for answer in answers]

    def results(self, run_ids: Sequence[str]) -> list[wholesale.Look | GoflowError]:
        """Many runs and what they made; in place of one whose payload cannot be fetched stands why."""
        return [self._fetched(look) for look in wholesale.results(self.bare, run_ids)]

    def _fetched(self, look: wholesale.Look | GoflowError) -> wholesale.Look | GoflowError:
        if not isinstance(look, tuple):
            return look
        run, payload = look
        try:
            return run, self.carrier.fetched(run.id, payload)
        except GoflowError as error:
            return error

    def retry(self, run_id: str, retry: Retry) -> Run:
        """Open a new round; payloads that a rewind adds are put out before."""
        if retry.rewind is not None and retry.rewind.arrivals:
            added = tuple(
                (by, self.carrier.arrival(run_id, arrival)) for by, arrival in retry.rewind.arrivals
            )
            retry = replace(retry, rewind=replace(retry.rewind, arrivals=added))
        return self.bare.retry(run_id, retry)

    def request(self, run_id: str) -> Request:
        """What was submitted."""
        found = self.bare.request(run_id)
        return replace(found, payload=self.carrier.fetch(run_id, found.payload))

    def result(self, run_id: str) -> Payload:
        """What a succeeded run made."""
        return self.carrier.fetch(run_id, self.bare.result(run_id))

    def output(self, run_id: str, path: str) -> Payload | None:
        """What a node instance recorded."""
        return self.carrier.fetched(run_id, self.bare.output(run_id, path))

    def arrivals(self, run_id: str, path: str) -> list[tuple[str, Payload | None]]:
        """What has arrived at a node instance over its edges."""
        found = self.bare.arrivals(run_id, path)
        return [(source, self.carrier.fetched(run_id, payload)) for source, payload in found]

    def glimpse_request(self, run_id: str, most: int) -> tuple[Request, int]:
        """What was submitted, its payload cut; and the bytes that payload has."""
        request, size = glimpse.of_request(self.bare, run_id, most)
        seen = self.carrier.glimpse(run_id, glimpse.Glimpse(request.payload, size), most)
        return replace(request, payload=seen.payload), seen.size

    def glimpse_output(self, run_id: str, path: str | None, most: int) -> glimpse.Glimpse | None:
        """The beginning of what a node instance recorded, or of the run's result."""
        return self._seen(run_id, glimpse.of_output(self.bare, run_id, path, most), most)

    def glimpse_arrivals(self, run_id: str, path: str, most: int, count: int) -> glimpse.Glimpses:
        """The beginnings of the first arrivals at a node instance, and how many there are."""
        found, total = glimpse.of_arrivals(self.bare, run_id, path, most, count)
        return [(source, self._seen(run_id, each, most)) for source, each in found], total

    def last_logs(self, run_id: str, path: str | None, most: int) -> list[LogLine]:
        """The last pieces of what its nodes printed."""
        return glimpse.last_logs(self.bare, run_id, path, most)

    def attempts_at(self, run_id: str, path: str) -> list[Attempt]:
        """Every recorded attempt at one node instance, oldest first."""
        return glimpse.attempts_at(self.bare, run_id, path)

    def _seen(self, run_id: str, seen: glimpse.Glimpse | None, most: int) -> glimpse.Glimpse | None:
        return None if seen is None else self.carrier.glimpse(run_id, seen, most)

    def outputs(self, run_id: str, paths: Sequence[str]) -> list[Payload | None]:
        """What node instances recorded."""
        found = wholesale.outputs(self.bare, run_id, paths)
        return [self.carrier.fetched(run_id, payload) for payload in found]

    def all_arrivals(self, run_id: str, paths: Sequence[str]) -> list[wholesale.Arrived]:
        """What has arrived at node instances over their edges."""
        return [
            [(source, self.carrier.fetched(run_id, payload)) for source, payload in found]
            for found in wholesale.all_arrivals(self.bare, run_id, paths)
        ]

    def context(self, run_id: str, key: str) -> Payload | None:
        """A value of the run's shared store."""
        return self.carrier.fetched(run_id, self.bare.context(run_id, key))

    def present(self, run_id: str, key: str) -> tuple[int, Payload | None]:
        """The number of the present version of a key, and its value."""
        number, payload = cast(Versioned, self.bare).present(run_id, key)
        return number, self.carrier.fetched(run_id, payload)

    def version(self, run_id: str, key: str, number: int) -> Payload | None:
        """A value as it was."""
        found = cast(Versioned, self.bare).version(run_id, key, number)
        return self.carrier.fetched(run_id, found)

    def forget(self, run_id: str) -> None:
        """Remove a run that has ended, and what it had put out. What another submission of the same id
        brought may be a new run's in a moment: a sweep takes it when it is nobody's."""
        payload = self.bare.request(run_id).payload
        own = read(payload).name if is_reference(payload) else ""
        found = self.place.of_run(run_id)
        blobs = [blob for blob in found if blob.name == own or not is_submitted(blob.name)]
        self.bare.forget(run_id)
        self.place.remove(blobs)

    def diagnose(self, fix: bool) -> list[Finding]:
        """What `goflow doctor` tells of the store and of what it keeps apart."""
        from goflow.blobs.sweep import findings

        found = self.bare.diagnose(fix) if isinstance(self.bare, Diagnosable) else []
        return [*found, *findings(self.bare, self.place, fix)]

    def __enter__(self) -> WithBlobs:
        self.bare.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self.bare.__exit__(*error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.bare, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.bare, name, value)


def with_blobs(bare: Backend, config: Config) -> Backend:
    """The store, with what is larger than `payload.inline_limit` at `payload.blobs`. Raises ConfigError."""
    place = open_place(config.payload.blobs, bare.identity())
    carrier = Carrier(place, config.payload.inline_limit, config.payload.max_size)

    def passed_on(name: str) -> property:
        return property(lambda self: getattr(self.bare, name))

    # a class of its own, since whoever asks what a store can do (a runtime protocol) looks at its class
    names = [name for name in dir(type(bare)) if not name.startswith("_")]
    passing = {name: passed_on(name) for name in names if not hasattr(WithBlobs, name)}
    kind = type("WithBlobs", (WithBlobs,), passing)
    return cast(Backend, kind(bare, place, carrier))


def halves(backend: Backend, config: Config) -> tuple[Backend, Carrier]:
    """The bare store, and what children put out and fetch with. Raises BlobsAway where they could not."""
    if not isinstance(backend, WithBlobs):  # an ephemeral one keeps all of it
        return backend, Carrier(None, config.payload.max_size, config.payload.max_size)
    backend.place.check()
    return backend.bare, backend.carrier
