"""Puts large payloads out and fetches them again, for whoever makes or needs them."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from goflow.blobs.words import Reference, content_of, is_reference, name_of, read, refer
from goflow.errors import BlobMissing
from goflow.message import Arrival, Input, Item, Step
from goflow.payload import Payload, within

if TYPE_CHECKING:
    from goflow.blobs.place import Place
    from goflow.glimpse import Glimpse

#: the type of a failure that is the place's and not the node's: the task goes back
BLOBS_AWAY: Final = "~BlobsAway"


class Carrier:
    """What goes between a node and its store. `place` None: nothing is put out, however large.

    No payload may have more than `max_size` bytes; those with more than `inline_limit` are put out.
    """

    def __init__(self, place: Place | None, inline_limit: int, max_size: int) -> None:
        self.place = place
        self._limit = max_size if place is None else min(inline_limit, max_size)
        self._most = max_size
        #: the blobs a child's task got or made so far, by content: what it hands on needs no other
        self._known: dict[str, str] | None = None

    @classmethod
    def unlimited(cls) -> Carrier:
        """One that carries everything as it is."""
        return cls(None, sys.maxsize, sys.maxsize)

    # -- one payload ------------------------------------------------------------------------------

    def put_out(self, run_id: str, payload: Payload, *, submitted: bool = False) -> Payload:
        """The payload, or a reference to it; `submitted` for what a run that is asked for brings. Raises
        PayloadError for one that is too large, BlobsAway."""
        if len(payload.data) <= self._limit:
            return payload
        within(payload, self._most, "what it made")
        assert self.place is not None, "without one the limits are the same"
        content = _digest(payload.data)
        if self._known is not None and content in self._known:
            return refer(self._known[content], payload)
        name = name_of(content, submitted=submitted)
        self.place.put(run_id, name, payload.data)
        if self._known is not None:
            self._known[content] = name
        return refer(name, payload)

    def fetch(self, run_id: str, payload: Payload) -> Payload:
        """The payload that a reference means; any other as it is. Raises BlobMissing, BlobsAway."""
        if not is_reference(payload):
            return payload
        wanted = read(payload)
        place, data = self._get(run_id, wanted, None)
        content = content_of(wanted.name)
        if len(data) != wanted.size or _digest(data) != content:
            raise BlobMissing(
                f"a payload in {place.name} (run {run_id}, {wanted.name[:12]}) is not what was"
                f" stored: it has {len(data)} bytes, expected {wanted.size}"
            )
        if self._known is not None:
            self._known[content] = wanted.name
        return Payload(data, wanted.media_type)

    def glimpse(self, run_id: str, seen: Glimpse, most: int) -> Glimpse:
        """The beginning of the payload that a reference means; any other as it is. A part cannot be held
        against its content's name. Raises BlobMissing, BlobsAway."""
        if not is_reference(seen.payload):
            return seen
        from goflow.glimpse import Glimpse

        wanted = read(seen.payload)
        _, data = self._get(run_id, wanted, most)
        return Glimpse(Payload(data, wanted.media_type), wanted.size)

    def _get(self, run_id: str, wanted: Reference, most: int | None) -> tuple[Place, bytes]:
        """What the place has under a reference's name, or the beginning of it."""
        if self.place is None:
            raise BlobMissing(
                f"a payload of {wanted.size} bytes is kept apart from the store, and payload.blobs is not"
                " set here: set it to where the run's other workers and clients have it"
            )
        data = self.place.get(run_id, wanted.name, most)
        if data is None:
            raise BlobMissing(
                f"a payload of {wanted.size} bytes is not in {self.place.name}"
                f" (run {run_id}, {wanted.name[:12]}): was it removed, or is payload.blobs here"
                " another place than where it was made?"
            )
        return self.place, data

    def fetched(self, run_id: str, payload: Payload | None) -> Payload | None:
        """The same for what may carry nothing."""
        return None if payload is None else self.fetch(run_id, payload)

    # -- words ------------------------------------------------------------------------------------

    def inputs(self, run_id: str, inputs: list[Input]) -> list[Input]:
        """A task's inputs as its node sees them: the first that a child asks for."""
        self._known = {}
        for place, each in enumerate(inputs):
            if each.payload is not None and is_reference(each.payload):
                inputs[place] = Input(each.source, self.fetch(run_id, each.payload))
        return inputs

    def step(self, run_id: str, step: Step) -> Step:
        """What a task made as its store sees it."""
        if self._light(step):
            return step
        opened = step.opened
        if opened is not None:
            opened = replace(opened, items=tuple(self.items(run_id, opened.items)))
        return replace(
            step,
            output=self._out(run_id, step.output),
            arrivals=tuple(self.arrival(run_id, arrival) for arrival in step.arrivals),
            opened=opened,
            writes={key: self._out(run_id, value) for key, value in step.writes.items()},
        )

    def items(self, run_id: str, items: Iterable[Item]) -> list[Item]:
        """Scopes as their store sees them."""
        return [
            replace(item, payload=self.put_out(run_id, item.payload))
            if len(item.payload.data) > self._limit
            else item
            for item in items
        ]

    def arrival(self, run_id: str, arrival: Arrival) -> Arrival:
        """An arrival as its store sees it."""
        if arrival.payload is None or len(arrival.payload.data) <= self._limit:
            return arrival
        return replace(arrival, payload=self.put_out(run_id, arrival.payload))

    def _out(self, run_id: str, payload: Payload | None) -> Payload | None:
        return None if payload is None else self.put_out(run_id, payload)

    def _light(self, step: Step) -> bool:
        """Whether nothing of it is put out: asked after every node."""
        limit, output = self._limit, step.output
        if output is not None and len(output.data) > limit:
            return False
        for arrival in step.arrivals:
            if arrival.payload is not None and len(arrival.payload.data) > limit:
                return False
        for value in step.writes.values():
            if value is not None and len(value.data) > limit:
                return False
        if step.opened is not None:
            return all(len(item.payload.data) <= limit for item in step.opened.items)
        return True


def _digest(data: bytes) -> str:
    import hashlib  # where something is large; at every start it would cost 2.5 ms

    return hashlib.sha256(data).hexdigest()
