"""Client: the light half, which only talks to a backend. Its asynchronous twin is goflow/async_client.py.

It submits runs by the definition a worker (or `goflow run`) registered last, waits for results, and
steers. It never loads a flow file and never executes anything.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from threading import TIMEOUT_MAX
from typing import TYPE_CHECKING, Final

from goflow.abilities import Delivering
from goflow.backend import Action, Backend, EndWatcher, Retry, Run, Waker, load_backend
from goflow.blobs.words import is_reference
from goflow.engine import request
from goflow.errors import Conflict, StoreAway, UnknownFlow
from goflow.message import Rewind
from goflow.patience import outlasting
from goflow.payload import Payload, of_input, within
from goflow.plan import Plan
from goflow.runid import checked, named, new_run_id
from goflow.state import RunState
from goflow.tracing import caller
from goflow.wholesale import Wholesale

if TYPE_CHECKING:
    from goflow.config import Config

Query = Mapping[str, Sequence[str]]

#: what a server's URL begins with
SERVERS: Final = ("http://", "https://")
#: seconds for which a definition that was just read is taken for the present one
_FRESH: Final = 1.0
#: seconds between two looks at many runs, over a backend that tells no ends of many
AGAIN: Final = 0.05


class Client:
    """Submits, waits and steers. `backend` is a name, a URL or an open Backend; or the URL of a goflow server
    (`http://host:8080`), to which requests are then signed where GOFLOW_SERVE_SECRET is set.

    >>> with Client("local") as client:  # doctest: +SKIP
    ...     run = client.submit("thumbnails", b"...")
    ...     client.wait(run.id, timeout=60).json()

    Opening by name or URL reads goflow.toml from the current folder upwards, unless `config` is given.
    """

    def __new__(cls, backend: str | Backend, *, config: Config | None = None) -> Client:
        """A Client, or for a server's URL the HttpClient that goflow/remote.py has."""
        if cls is Client and isinstance(backend, str) and backend.startswith(SERVERS):
            from goflow.remote import HttpClient

            return super().__new__(HttpClient)
        return super().__new__(cls)

    def __init__(self, backend: str | Backend, *, config: Config | None = None) -> None:
        self._owned = isinstance(backend, str)
        if isinstance(backend, str):
            if config is None:
                from goflow.config import load_config

                config = load_config()
            backend = load_backend(backend, config)
        self.backend: Backend = backend
        # asked once: a look at a protocol takes longer than the calls that follow
        self._ends = backend if isinstance(backend, EndWatcher) else None
        #: definitions as last seen, and until when (monotonic) they are believed
        self._plans: dict[str, tuple[Plan, float]] = {}
        #: the run it has submitted last: it has hardly ended by now
        self._newest = ""
        self._limit = config.payload.max_size if config is not None else None

    def submit(
        self,
        flow: str,
        data: object = b"",
        *,
        run_id: str | None = None,
        query: Query | None = None,
        plan: Plan | None = None,
    ) -> Run:
        """Hand over a run; it is durable when this returns.

        `data` is bytes, text, None, a Payload or anything JSON can carry. The same `run_id` with the same
        flow, data and query returns the existing run, with others it raises Conflict. `plan` replaces the
        definition that was registered last (a newer one is noticed within a second). Raises UnknownFlow, PayloadError (more than payload.max_size
        where the configuration is known), StoreFull, BackendError.

        Inside an OpenTelemetry span the run continues that span's trace, else the one that TRACEPARENT in
        the environment names.
        """
        made = time.time()
        plan = plan or self._present(flow)
        name = new_run_id() if run_id is None else checked(run_id)
        payload = of_input(data)
        if self._limit is not None:
            within(payload, self._limit, "the payload")
        asked = request(plan, name, payload, query, headers=caller(), made=made)
        run = self.backend.submit(asked)
        self._newest = run.id
        return run

    def plan(self, flow: str, fingerprint: str | None = None) -> Plan:
        """The flow's definition as registered last (or the one with that fingerprint)."""
        try:
            found = self.backend.definition(flow, fingerprint)
        except UnknownFlow:
            known = [definition.flow for definition in self.backend.definitions()]
            raise UnknownFlow(
                flow,
                known,
                "A flow is known once `goflow worker FILE` or `goflow run FILE` has run",
            ) from None
        return Plan.from_json(found.plan)

    def _present(self, flow: str) -> Plan:
        """The flow's definition as registered last, or up to a second ago where it was asked for then."""
        now = time.monotonic()
        plan, until = self._plans.get(flow, (None, 0.0))
        if plan is None or now >= until:
            plan = self.plan(flow)
            self._plans[flow] = plan, now + _FRESH
        return plan

    def run(self, run_id: str) -> Run:
        """The run as it stands. Raises UnknownRun."""
        return self.backend.run(named(run_id))

    def runs(
        self,
        flow: str | None = None,
        state: RunState | str | None = None,
        limit: int = 100,
        before: str | None = None,
    ) -> list[Run]:
        """The newest runs first, at most `limit`, of one flow or in one state if asked.

        `before` is the id of a run: those submitted before it. With the last of one page it is the next page.
        Raises UnknownRun for one that is not there (any more).
        """
        return self.backend.runs(flow, None if state is None else RunState(state), limit, before)

    def result(self, run_id: str) -> Payload:
        """What a succeeded run made. Raises RunFailed, RunStopped, Conflict where it has not ended."""
        return self.backend.result(named(run_id))

    def wait(self, run_id: str, timeout: float | None = None) -> Payload:
        """The result, as soon as there is one; `timeout` in seconds.

        Wakes at once, without polling, and goes on waiting while the store is away (a warning of the logger
        `goflow` says so). Raises RunFailed, RunStopped, TimeoutError, UnknownRun.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        try:
            return self._wait(named(run_id), deadline, timeout)
        except StoreAway as error:
            raise TimeoutError(no_word(f"run {run_id}", timeout, error)) from error

    def _wait(self, run_id: str, deadline: float | None, timeout: float | None) -> Payload:
        """The same; StoreAway where the store is away at the deadline."""
        outlast = outlasting(deadline)
        made = partial(self._made, run_id)
        if run_id != self._newest or self._ends is None:
            found = outlast(made)
            if found is not None:  # what has ended need not be listened to
                return found
        waker, told = outlast(partial(self._awaiting, run_id))
        look = told is None
        try:
            while True:
                if look:
                    found = outlast(made)
                    if found is not None:
                        return found
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    raise TimeoutError(not_ended(self.run(run_id), timeout))
                select.select([waker], [], [], left and min(left, TIMEOUT_MAX))
                found = None if told is None else told()
                if found is None or is_reference(found):  # the news do not bring what is kept apart
                    found = outlast(made)  # most likely: then it need not listen again
                if found is not None:
                    return found
                waker.clear()
        finally:
            waker.close()

    def wait_all(self, run_ids: Iterable[str], timeout: float | None = None) -> list[Payload]:
        """The results of many runs, in the order of their ids, as soon as all of them are there; `timeout` in
        seconds for all together.

        It hears of all ends at once and reads results many at a time, so it costs a small part of what
        `wait` for each would, and it outlasts a store that is away as that does. Raises RunFailed, RunStopped or
        UnknownRun as soon as that is known of one of them (the others go on), TimeoutError.

        >>> runs = [client.submit("thumbnails", each) for each in images]  # doctest: +SKIP
        >>> thumbnails = client.wait_all([run.id for run in runs], timeout=60)  # doctest: +SKIP
        """
        wanted = [named(run_id) for run_id in run_ids]
        deadline = None if timeout is None else time.monotonic() + timeout
        wait = self._wait_all if isinstance(self.backend, Wholesale) else self._wait_each
        try:
            return wait(wanted, deadline, timeout)
        except StoreAway as error:
            raise TimeoutError(no_word(f"{len(wanted):,} runs", timeout, error)) from error

    def _wait_all(
        self, wanted: list[str], deadline: float | None, timeout: float | None
    ) -> list[Payload]:
        """The same over a backend that tells of many ends at once; StoreAway where it is away at the deadline."""
        from goflow.awaited import DOUBT, Awaited

        assert isinstance(self.backend, Wholesale)
        outlast = outlasting(deadline)
        awaited = outlast(partial(Awaited, self.backend, wanted))
        try:
            while awaited.pending:
                left = left_until(deadline)
                if left == 0:
                    raise TimeoutError(none_of(awaited.pending, wanted, timeout))
                patience = DOUBT if left is None else min(left, DOUBT)
                woken, _, _ = select.select([awaited], [], [], patience)
                if woken and awaited.linger:
                    time.sleep(awaited.linger)
                outlast(partial(awaited.look, doubt=not woken))
        finally:
            awaited.close()
        return awaited.results

    def _wait_each(
        self, run_ids: list[str], deadline: float | None, timeout: float | None
    ) -> list[Payload]:
        """The same over a backend that tells no ends of many: all are looked at, again and again."""
        outlast = outlasting(deadline)
        made: dict[str, Payload] = {}
        while pending := outlast(partial(self._collect, run_ids, made)):
            if left_until(deadline) == 0:
                raise TimeoutError(none_of(pending, run_ids, timeout))
            time.sleep(AGAIN)
        return [made[run_id] for run_id in run_ids]

    def _collect(self, run_ids: Sequence[str], made: dict[str, Payload]) -> list[str]:
        """Put into `made` what has been made since; answers which have not ended."""
        for run_id in run_ids:
            if run_id not in made and (found := self._made(run_id)) is not None:
                made[run_id] = found
        return [run_id for run_id in run_ids if run_id not in made]

    def pause(self, run_id: str) -> Run:
        """Let running nodes finish and start nothing more; harmless when repeated."""
        return self._control(run_id, "pause")

    def resume(self, run_id: str) -> Run:
        """Go on after a pause; harmless when repeated."""
        return self._control(run_id, "resume")

    def stop(self, run_id: str) -> Run:
        """Start no further node and kill the running ones; `finally_` runs."""
        return self._control(run_id, "stop")

    def retry(
        self,
        run_id: str,
        *,
        from_node: str | None = None,
        plan: Plan | None = None,
        owner: int = 0,
    ) -> Run:
        """Open a new round of a failed, stopped or abandoned run, from its unfinished nodes.

        `from_node` repeats that node and all after it, of a succeeded run too; `plan` moves the run to that
        definition first (`--adopt`). Raises Conflict, UnknownNode.
        """
        rewind = self.rewind(named(run_id), from_node, plan)
        return self.backend.retry(run_id, Retry(rewind=rewind, owner=owner))

    def rewind(self, run_id: str, from_node: str | None, plan: Plan | None) -> Rewind | None:
        """What `retry` would undo; None for a plain one."""
        from goflow.adoption import adoption  # late: few clients ever retry
        from goflow.rewind import find, rewind_from

        if from_node is None and plan is None:
            return None
        run = self.run(run_id)
        if from_node is None and run.state is RunState.SUCCEEDED:
            return None  # which the store refuses, as it does without `--adopt`
        if isinstance(self.backend, Delivering):
            self.backend.deliver_rest(
                run_id
            )  # nodes that nobody has come to yet are looked at, too
        nodes = self.backend.nodes(run_id)
        former = self._former(run)
        target = plan or former or self.plan(run.flow, run.fingerprint)
        undone = None
        if from_node is not None:
            undone = rewind_from(target, find(target, nodes, from_node))
        if plan is None:
            return undone
        sources = partial(self._sources, run_id)
        return adoption(plan, nodes, sources, former=former, undone=undone)

    def close(self) -> None:
        """Let go of the backend, if this client opened it."""
        if self._owned:
            self.backend.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _control(self, run_id: str, action: Action) -> Run:
        return self.backend.control(named(run_id), action)

    def _made(self, run_id: str) -> Payload | None:
        """The result; None of a run that has not ended."""
        try:
            return self.backend.result(run_id)
        except Conflict:
            return None

    def _awaiting(self, run_id: str) -> tuple[Waker, Callable[[], Payload | None] | None]:
        """What wakes when the run has ended, and what tells its result then; None where one has to look without
        being woken."""
        if self._ends is not None:
            waker = self._ends.watch_end(run_id)
            return waker, waker.made
        return self.backend.watch(run_id), None

    def _ended(self, run_id: str, waker: Waker) -> bool:
        waker.clear()
        return self.backend.run(run_id).state.terminal

    def _former(self, run: Run) -> Plan | None:
        """The definition a run is on, where the store still knows it."""
        try:
            return self.plan(run.flow, run.fingerprint)
        except UnknownFlow:
            return None

    def _sources(self, run_id: str, path: str) -> set[str]:
        return {source for source, _ in self.backend.arrivals(run_id, path)}


def left_until(deadline: float | None) -> float | None:
    """Seconds until then, 0 where it has passed."""
    return None if deadline is None else max(0.0, deadline - time.monotonic())


def no_word(what: str, timeout: float | None, error: StoreAway) -> str:
    return f"no word of {what} after {timeout or 0:g} s: {error}"


def none_of(pending: Iterable[str], wanted: Sequence[str], timeout: float | None) -> str:
    left = list(pending)
    return (
        f"{len(left):,} of {len(wanted):,} runs have not ended after {timeout:g} s; the first of them is"
        f" {left[0]}"
    )


def not_ended(run: Run, timeout: float | None) -> str:
    return f"run {run.id} has not ended after {timeout:g} s: it is {run.state}"
