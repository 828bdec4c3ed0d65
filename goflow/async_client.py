"""AsyncClient: what Client is, for asyncio."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Final, TypeVar

from goflow.backend import Backend, Run, Waker
from goflow.client import (
    AGAIN,
    SERVERS,
    Client,
    Query,
    left_until,
    no_word,
    none_of,
    not_ended,
)
from goflow.errors import BackendError, StoreAway
from goflow.patience import pause, warn
from goflow.payload import Payload
from goflow.runid import named
from goflow.state import RunState
from goflow.wholesale import Wholesale

if TYPE_CHECKING:
    from goflow.config import Config

_T = TypeVar("_T")

#: seconds for which a wait on a server occupies a thread at a time
_SLICE: Final = 2.0


class AsyncClient:
    """The same for asyncio: every method of Client, to be awaited.

    Calls run one after the other on a thread of their own; `wait` occupies it only for moments, so
    any number of waits may be under way. Those that are when it is closed raise BackendError.
    """

    def __init__(self, backend: str | Backend, *, config: Config | None = None) -> None:
        self._far = isinstance(backend, str) and backend.startswith(SERVERS)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="goflow-client")
        self._client = self._thread.submit(lambda: Client(backend, config=config)).result()
        #: what waits listen to; only touched on the client's thread
        self._wakers: set[Waker] = set()
        #: the descriptors they read, and what wakes them
        self._waits: dict[int, asyncio.Event] = {}
        self._closed = False

    async def submit(
        self,
        flow: str,
        data: object = b"",
        *,
        run_id: str | None = None,
        query: Query | None = None,
    ) -> Run:
        """See Client.submit."""
        return await self._call(lambda: self._client.submit(flow, data, run_id=run_id, query=query))

    async def run(self, run_id: str) -> Run:
        """See Client.run."""
        return await self._call(lambda: self._client.run(run_id))

    async def runs(
        self,
        flow: str | None = None,
        state: RunState | str | None = None,
        limit: int = 100,
        before: str | None = None,
    ) -> list[Run]:
        """See Client.runs."""
        return await self._call(lambda: self._client.runs(flow, state, limit, before))

    async def result(self, run_id: str) -> Payload:
        """See Client.result."""
        return await self._call(lambda: self._client.result(run_id))

    async def wait(self, run_id: str, timeout: float | None = None) -> Payload:
        """See Client.wait."""
        if self._far:
            return await self._poll(run_id, timeout)
        named(run_id)
        try:
            async with asyncio.timeout(timeout):
                return await self._wait(run_id)
        except TimeoutError:
            pass
        try:  # the time may have run out while its end was read
            run = await self.run(run_id)
            if run.state.terminal:
                return await self.result(run_id)
        except StoreAway as error:
            raise TimeoutError(no_word(f"run {run_id}", timeout, error)) from error
        raise TimeoutError(not_ended(run, timeout))

    async def _wait(self, run_id: str) -> Payload:
        """The same without a limit."""
        made = partial(self._client._made, run_id)
        found = await self._outlast(made)
        if found is not None:  # what has ended need not be listened to
            return found
        waker = await self._outlasting(lambda: self._listen(run_id))
        number = waker.fileno()
        self._waits[number] = woken = asyncio.Event()
        loop = asyncio.get_running_loop()

        def rung() -> None:
            loop.remove_reader(
                number
            )  # it stays readable until it is cleared: through an outage of the store
            woken.set()

        try:
            while not await self._outlast(partial(self._client._ended, run_id, waker)):
                self._check_open()
                woken.clear()
                loop.add_reader(number, rung)
                await woken.wait()
        finally:
            if not self._closed:
                del self._waits[number]
                loop.remove_reader(number)
                self._thread.submit(self._let_go, waker)
        return await self._outlast(partial(self._client.result, run_id))

    async def wait_all(self, run_ids: Iterable[str], timeout: float | None = None) -> list[Payload]:
        """See Client.wait_all."""
        wanted = [named(run_id) for run_id in run_ids]
        deadline = None if timeout is None else time.monotonic() + timeout
        if self._far:
            return [await self.wait(run_id, left_until(deadline)) for run_id in wanted]
        backend = self._client.backend
        try:
            return await self._wait_all(backend, wanted, deadline, timeout)
        except StoreAway as error:
            raise TimeoutError(no_word(f"{len(wanted):,} runs", timeout, error)) from error

    async def _wait_all(
        self, backend: Backend, wanted: list[str], deadline: float | None, timeout: float | None
    ) -> list[Payload]:
        """The same; StoreAway where the store is away at the deadline."""
        if not isinstance(backend, Wholesale):
            made: dict[str, Payload] = {}
            collect = partial(self._client._collect, wanted, made)
            while pending := await self._outlast(collect, deadline):
                if left_until(deadline) == 0:
                    raise TimeoutError(none_of(pending, wanted, timeout))
                await asyncio.sleep(AGAIN)
            return [made[run_id] for run_id in wanted]
        from goflow.awaited import DOUBT, Awaited, readable

        awaited = await self._outlast(partial(Awaited, backend, wanted), deadline)
        try:
            while awaited.pending:
                left = left_until(deadline)
                if left == 0:
                    raise TimeoutError(none_of(awaited.pending, wanted, timeout))
                woken = await readable(awaited, DOUBT if left is None else min(left, DOUBT))
                if woken and awaited.linger:
                    await asyncio.sleep(awaited.linger)
                await self._outlast(partial(awaited.look, doubt=not woken), deadline)
        finally:
            await self._call(awaited.close)
        return awaited.results

    async def pause(self, run_id: str) -> Run:
        """See Client.pause."""
        return await self._call(lambda: self._client.pause(run_id))

    async def resume(self, run_id: str) -> Run:
        """See Client.resume."""
        return await self._call(lambda: self._client.resume(run_id))

    async def stop(self, run_id: str) -> Run:
        """See Client.stop."""
        return await self._call(lambda: self._client.stop(run_id))

    async def retry(self, run_id: str, *, from_node: str | None = None) -> Run:
        """See Client.retry."""
        return await self._call(lambda: self._client.retry(run_id, from_node=from_node))

    async def _poll(self, run_id: str, timeout: float | None) -> Payload:
        """Wait for a server's answers, on threads of their own."""
        from goflow.remote import HttpClient

        assert isinstance(self._client, HttpClient)
        deadline = None if timeout is None else time.monotonic() + timeout
        poll = partial(self._client.poll, run_id, _SLICE, deadline)
        try:
            while True:
                found = await self._outlasting(lambda: asyncio.to_thread(poll), deadline)
                if found is not None:
                    return found
                if left_until(deadline) == 0:
                    look = partial(self._client.run, run_id)
                    raise TimeoutError(not_ended(await self._outlast(look, deadline), timeout))
        except StoreAway as error:
            raise TimeoutError(no_word(f"run {run_id}", timeout, error)) from error

    async def close(self) -> None:
        """Let go of the backend and the thread; waits that are under way raise BackendError. Harmless when
        repeated."""
        if self._closed:
            return
        self._closed = True
        for number, woken in self._waits.items():
            asyncio.get_running_loop().remove_reader(number)
            woken.set()
        ended = self._thread.submit(self._end)
        self._thread.shutdown(wait=False)
        await asyncio.wrap_future(ended)

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _call(self, work: Callable[[], _T]) -> _T:
        self._check_open()
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def _outlast(self, work: Callable[[], _T], deadline: float | None = None) -> _T:
        """What `work()` answers once the store is there; the thread is free between the attempts."""
        return await self._outlasting(lambda: self._call(work), deadline)

    async def _outlasting(
        self, ask: Callable[[], Awaitable[_T]], deadline: float | None = None
    ) -> _T:
        for attempt in count():
            try:
                return await ask()
            except StoreAway as error:
                left = left_until(deadline)
                if left == 0:
                    raise
                if attempt == 0:
                    warn(f"{error} (trying again)")
                await asyncio.sleep(pause(attempt) if left is None else min(pause(attempt), left))
        raise AssertionError("counting does not end")

    async def _listen(self, run_id: str) -> Waker:
        """What wakes when the run has ended; let go of again where the caller is cancelled meanwhile."""
        self._check_open()
        made = self._thread.submit(self._hold, run_id)
        try:
            waker = await asyncio.wrap_future(made)
        except asyncio.CancelledError:
            if not made.cancel() and not self._closed:  # it is being made, or was a moment ago
                self._thread.submit(lambda: self._let_go(made.result()))
            raise
        self._check_open()
        return waker

    def _check_open(self) -> None:
        if self._closed:
            raise BackendError("this client is closed")

    # these three on the client's thread

    def _hold(self, run_id: str) -> Waker:
        waker, _ = self._client._awaiting(run_id)
        self._wakers.add(waker)
        return waker

    def _let_go(self, waker: Waker) -> None:
        self._wakers.discard(waker)
        waker.close()

    def _end(self) -> None:
        for waker in list(self._wakers):
            self._let_go(waker)
        self._client.close()
