"""What a page has room for: the beginnings of what a run's nodes got and made, cut by the server."""

from __future__ import annotations

from goflow.errors import UnknownRun
from goflow.glimpse import Glimpse, Glimpses
from goflow.message import Request
from goflow_redis import submission, words
from goflow_redis.nodes import Nodes


class Beginnings(Nodes):
    """See `goflow.glimpse.Glimpsing`."""

    def glimpse_request(self, run_id: str, most: int) -> tuple[Request, int]:
        """What was submitted, its payload cut; and the bytes that payload has."""
        key = self.keys.run(run_id)
        lines = self.link.ask(key, "HMGET", key, ":s", ":i", ":h", ":d")
        (seen,) = self._glimpses(run_id, ["q"], most)
        if lines[0] is None or seen is None:
            raise UnknownRun(run_id)
        stored = words.enclose(seen.payload)
        return submission.read_request(run_id, lines, stored), seen.size

    def glimpse_output(self, run_id: str, path: str | None, most: int) -> Glimpse | None:
        """The beginning of what a node instance recorded, or of the run's result."""
        key = self.keys.run(run_id)
        there, end = self.link.ask_all(key, [("EXISTS", key), ("HGET", f"{key}:d", "e")])
        if not there:
            raise UnknownRun(run_id)
        if path is None and end is None:
            return None
        return self._glimpses(run_id, [f"o:{path or end.decode()}"], most)[0]

    def glimpse_arrivals(self, run_id: str, path: str, most: int, count: int) -> Glimpses:
        """The beginnings of the first arrivals at a node instance, and how many there are."""
        self.read(run_id)
        found = list(self.read_arrivals(run_id, path, closing=False))
        told = found[:count]
        seen = iter(self._glimpses(run_id, [ref for _, ref in told if ref], most))
        pairs = [(words.unescape(source), next(seen) if ref else None) for source, ref in told]
        return pairs, len(found)

    def _glimpses(self, run_id: str, fields: list[str], most: int) -> list[Glimpse | None]:
        """The beginnings of stored payloads, each of which has a letter in front."""
        if not fields:
            return []
        args: list[words.Word] = [self.lives, run_id, most + 1, *fields]
        told = iter(self.link.run("glimpse", self.keys.partition(run_id), args))
        return [
            None if start is None else Glimpse(words.disclose(start), length - 1)
            for length, start in zip(told, told, strict=True)
        ]
