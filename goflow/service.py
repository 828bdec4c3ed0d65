"""FlowService: the seed's service object, for programs that bring flows, server and worker together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from goflow.backend import Backend, Run, load_backend
from goflow.client import Client
from goflow.config import Config, load_config
from goflow.errors import DefinitionError, UnknownFlow
from goflow.workflow import Define, Flow, build

if TYPE_CHECKING:
    from goflow.worker import Worker


class FlowService:
    """Flows, a worker and (later calls) runs over one backend.

    `backend` is a name, a URL or an open Backend; without it `redis_url` says where a Redis is
    (`host:port` means `redis://host:port`), and without that goflow.toml decides. The other parameters
    replace what goflow.toml says.

    >>> service = FlowService(backend="local")  # doctest: +SKIP
    >>> service.register("greet", define_workflow)  # doctest: +SKIP
    >>> service.start_worker()  # doctest: +SKIP
    """

    def __init__(
        self,
        *,
        redis_url: str | None = None,
        worker_concurrency: int = 5,
        backend: str | Backend | None = None,
        config: Config | None = None,
    ) -> None:
        chosen = backend if isinstance(backend, str) else redis_url
        given = {"backend": chosen, "worker.concurrency": worker_concurrency}
        self.config = config or load_config(overrides=given)
        self._given = None if isinstance(backend, str) else backend
        self._flows: dict[str, Flow] = {}
        self._worker: Worker | None = None

    @cached_property
    def backend(self) -> Backend:
        """The store, opened when it is first needed."""
        return self._given or load_backend(self.config.backend, self.config)

    @cached_property
    def client(self) -> Client:
        """The client that `execute`, `pause`, `resume` and `stop` use."""
        return Client(self.backend, config=self.config)

    def register(self, name: str, define: Define) -> None:
        """Define a flow. Raises DefinitionError, for a name that is taken too."""
        if name in self._flows:
            raise DefinitionError(["this service has a flow of that name already"], name)
        self._flows[name] = build(name, define)

    def execute(
        self,
        name: str,
        body: object = b"",
        *,
        run_id: str | None = None,
        query: Mapping[str, Sequence[str]] | None = None,
    ) -> Run:
        """Hand over a run of a registered flow to the workers. Raises UnknownFlow, Conflict, StoreFull."""
        from goflow.host import register

        flow = self._flows.get(name)
        if flow is None:
            raise UnknownFlow(name, self._flows, "register it first")
        register(self.backend, flow)
        return self.client.submit(name, body, run_id=run_id, query=query, plan=flow.plan)

    def start_worker(self) -> None:
        """Take tasks of the registered flows until SIGTERM, SIGINT or `shutdown`. Blocks."""
        from goflow.host import serve_flows

        def started(worker: Worker) -> None:
            self._worker = worker

        try:
            serve_flows(self.backend, list(self._flows.values()), self.config, started=started)
        finally:
            self._worker = None

    def shutdown(self, grace: float | None = None) -> None:
        """Drain the worker that another thread started; harmless where there is none."""
        if self._worker is not None:
            self._worker.drain(grace)

    def pause(self, run_id: str) -> Run:
        """See Client.pause."""
        return self.client.pause(run_id)

    def resume(self, run_id: str) -> Run:
        """See Client.resume."""
        return self.client.resume(run_id)

    def stop(self, run_id: str) -> Run:
        """See Client.stop."""
        return self.client.stop(run_id)
