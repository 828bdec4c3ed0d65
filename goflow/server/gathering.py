"""Calls to the store that many requests make at once, as one.

What comes in one turn of the event loop, or while the last call is under way, goes to the store together: the
busier the server, the larger its calls and the less each costs; a lone request waits for nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

from goflow.backend import Backend
from goflow.server.lanes import Lane

#: what one call takes along at most: while the store has it, the next ones are read and the last ones answered
MOST: Final = 16

A = TypeVar("A")
B = TypeVar("B")


class Gathering(Generic[A, B]):
    """`await gathering(asked)` is one of the answers of `work(backend, all that was asked)`.

    `work` runs in a lane and answers each in its place; an exception in a place is raised to who asked.
    """

    def __init__(
        self, lane: Lane, work: Callable[[Backend, Sequence[A]], Sequence[B | Exception]]
    ) -> None:
        self._lane = lane
        self._work = work
        self._asked: list[tuple[A, asyncio.Future[B]]] = []
        self._calling: asyncio.Task[None] | None = None

    async def __call__(self, asked: A) -> B:
        """What it is answered. Raises what the work raises, or has put in its place."""
        future: asyncio.Future[B] = asyncio.get_running_loop().create_future()
        self._asked.append((asked, future))
        if self._calling is None:  # a task begins with the next turn: others of this one will join
            self._calling = asyncio.create_task(self._call())
        return await future

    async def _call(self) -> None:
        while self._asked:
            asked, self._asked = self._asked[:MOST], self._asked[MOST:]
            words = [word for word, _ in asked]
            answers: Sequence[B | Exception]
            try:
                answers = await self._lane.call(lambda backend: self._work(backend, words))  # noqa: B023
            except Exception as error:  # noqa: BLE001 - it is theirs who asked
                answers = [error] * len(asked)
            for (_, future), answer in zip(asked, answers, strict=True):
                if future.done():
                    continue  # whoever asked has gone
                if isinstance(answer, Exception):
                    future.set_exception(answer)
                else:
                    future.set_result(answer)
        self._calling = None
