"""FlowService: the seed's service object, for programs that bring flows, server and worker together."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from goflow.backend import Backend, Run, load_backend
from goflow.client import Client
from goflow.config import Config, load_config
from goflow.errors import ConfigError, DefinitionError, UnknownFlow
from goflow.workflow import Define, Flow, build

if TYPE_CHECKING:
    from goflow.server.serving import Server
    from goflow.worker import Worker


class FlowService:
    """Flows, a server, a worker and (later calls) runs over one backend.

    `backend` is a name, a URL or an open Backend; without it `redis_url` says where a Redis is
    (`host:port` means `redis://host:port`), and without that goflow.toml decides. `request_auth_secret` is what
    HTTP callers must know; any `host` but a loopback one needs it. `enable_monitoring` turns traces on, which
    go to `open_trace_url`, an OTLP endpoint. All these replace what goflow.toml says.

    `start`, `start_server` and `start_worker` block; everything else may be called meanwhile, from any thread,
    and then opens the store once more for that thread. An open `backend` is used as it is, so it must bear
    that.

    >>> service = FlowService(backend="local")  # doctest: +SKIP
    >>> service.register("greet", define_workflow)  # doctest: +SKIP
    >>> service.start()  # doctest: +SKIP
    """

    def __init__(
        self,
        port: int = 8080,
        redis_url: str | None = None,
        worker_concurrency: int = 5,
        request_auth_secret: str | None = None,
        enable_monitoring: bool = False,
        open_trace_url: str | None = None,
        host: str = "127.0.0.1",
        backend: str | Backend | None = None,
        *,
        config: Config | None = None,
    ) -> None:
        chosen = backend if isinstance(backend, str) else redis_url
        given = {
            "backend": chosen,
            "worker.concurrency": worker_concurrency,
            "serve.port": port,
            "serve.host": host,
            "serve.secret": request_auth_secret,
            "telemetry.traces": "otlp" if enable_monitoring else None,
            "telemetry.endpoint": open_trace_url,
        }
        self.config = config or load_config(overrides=given)
        self._given = None if isinstance(backend, str) else backend
        self._flows: dict[str, Flow] = {}
        self._worker: Worker | None = None
        self._server: Server | None = None
        self._opened = threading.local()
        self._lock = threading.Lock()
        #: whether flows came that the running worker does not know
        self._grown = False

    @property
    def backend(self) -> Backend:
        """The store, opened when this thread first needs it."""
        if self._given is not None:
            return self._given
        if not hasattr(self._opened, "backend"):
            self._opened.backend = load_backend(self.config.backend, self.config)
        found: Backend = self._opened.backend
        return found

    @property
    def client(self) -> Client:
        """The client that `execute`, `pause`, `resume` and `stop` use."""
        return Client(self.backend, config=self.config)

    def register(self, name: str, define: Define) -> None:
        """Define a flow. Raises DefinitionError, for a name that is taken too.

        While `start` or `start_worker` runs, its worker is replaced by one that knows this flow as well:
        running nodes get `worker.grace` seconds to end; what still runs then is handed back and starts anew.
        """
        from goflow.host import register

        with self._lock:
            if name in self._flows:
                raise DefinitionError(["this service has a flow of that name already"], name)
            self._flows[name] = flow = build(name, define)
            self._grown = True
            if self._worker is not None:
                self._worker.drain()
            running = self._worker is not None or self._server is not None
        if running:  # known at once; what runs it comes in a moment
            register(self.backend, flow)

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

    def start(self) -> None:
        """Serve HTTP and take tasks until SIGTERM, SIGINT, SIGHUP or `shutdown`. Blocks.

        The server is another process, without any user code, which ends with this one and is started again
        should it die (the logger `goflow` tells of it). It needs the backend as a name or URL: raises
        ConfigError for one that is open already, and for an address that cannot be served at.
        """
        from goflow.server.apart import Apart

        if self._given is not None:
            raise ConfigError(
                "start() runs the server as a process of its own, which cannot use an open backend:"
                " give its name or URL instead"
            )
        self._register_all()
        with Apart(self.config):
            self.start_worker()

    def start_server(self) -> None:
        """Serve HTTP until SIGTERM, SIGINT, SIGHUP or `shutdown`; workers run elsewhere. Blocks.

        Raises ConfigError for an address that cannot be served at, and for one that others can reach
        where there is no secret.
        """
        from goflow.server.serving import serve

        self._register_all()

        def started(server: Server, url: str) -> None:
            self._server = server

        try:
            serve(self.config, self._given, started=started)
        finally:
            self._server = None

    def start_worker(self) -> None:
        """Take tasks of the registered flows until SIGTERM, SIGINT, SIGHUP or `shutdown`. Blocks."""
        from goflow.host import serve_flows

        def started(worker: Worker) -> None:
            with self._lock:
                self._worker = worker
                if self._grown:  # while this worker was being set up
                    worker.drain()

        going = True
        while going:
            with self._lock:
                self._grown, flows = False, list(self._flows.values())
            try:
                told_to_end = serve_flows(self.backend, flows, self.config, started=started)
            finally:
                with self._lock:
                    self._worker = None
            going = self._grown and not told_to_end

    def shutdown(self, grace: float | None = None) -> None:
        """Drain what another thread started; harmless where there is nothing."""
        with self._lock:
            self._grown = False
            if self._server is not None:
                self._server.drain()
            if self._worker is not None:
                self._worker.drain(grace)

    def _register_all(self) -> None:
        from goflow.host import register

        for flow in self._flows.values():
            register(self.backend, flow)

    def pause(self, run_id: str) -> Run:
        """See Client.pause."""
        return self.client.pause(run_id)

    def resume(self, run_id: str) -> Run:
        """See Client.resume."""
        return self.client.resume(run_id)

    def stop(self, run_id: str) -> Run:
        """See Client.stop."""
        return self.client.stop(run_id)
