"""What the routes share: configuration, lanes to the store, the hub, and plans read so far."""

from __future__ import annotations

import asyncio
import re
from functools import partial
from typing import Final

from starlette.requests import Request

from goflow.backend import Backend, Run
from goflow.config import Config
from goflow.errors import UnknownFlow, UnknownRun
from goflow.plan import Plan
from goflow.runid import RUN_ID
from goflow.server.ends import Ends
from goflow.server.errors import bad
from goflow.server.gathering import Gathering
from goflow.server.hub import Hub
from goflow.server.intake import Accepted, Order, accept
from goflow.server.lanes import Lanes
from goflow.server.metrics import Metrics

#: plans kept in memory; they never change under their fingerprint
_PLANS: Final = 1000
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Service:
    """One server's surroundings; every request reaches it as `service(request)`."""

    def __init__(self, backend: str | Backend, config: Config, secret: str) -> None:
        self.config = config
        self.secret = secret
        self.lanes = Lanes(backend, config)
        self.hub = Hub(self.lanes)
        self.ends = Ends(self.lanes)
        #: `await accept(order)`: a run that is durable
        self.accept: Gathering[Order, Accepted] = Gathering(self.lanes.quick, partial(accept, self))
        self.metrics = Metrics()
        #: what of the flow files beside this server could not be loaded, each with file and line
        self.problems: tuple[str, ...] = ()
        self._plans: dict[tuple[str, str], Plan] = {}

    def close(self) -> None:
        """Let all who wait go on with what they know."""
        self.hub.close()
        self.ends.close()

    async def stop(self) -> None:
        """Let go of the store."""
        self.close()
        await self.ends.stop()
        await self.lanes.close()

    def plan(self, backend: Backend, flow: str, fingerprint: str | None = None) -> Plan:
        """A definition: the present one, or a run's. Called inside a lane. Raises UnknownFlow."""
        if fingerprint is not None:
            known = self._plans.get((flow, fingerprint))
            if known is not None:
                return known
        try:
            found = backend.definition(flow, fingerprint)
        except UnknownFlow:
            names = [each.flow for each in backend.definitions()]
            hint = "A flow is known once a worker that has it was started"
            raise UnknownFlow(flow, names, hint) from None
        plan = self._plans.get((flow, found.fingerprint))
        if plan is None:
            if len(self._plans) >= _PLANS:
                self._plans.clear()
            plan = self._plans[flow, found.fingerprint] = Plan.from_json(found.plan)
        return plan

    def run(self, backend: Backend, flow: str, run_id: str) -> Run:
        """A run of that flow. Called inside a lane. Raises UnknownRun for another flow's too."""
        run = backend.run(run_id)
        if run.flow != flow:
            raise UnknownRun(run_id)
        return run


def service(request: Request) -> Service:
    """The server's Service."""
    found: Service = request.app.state.service
    return found


def gone(request: Request) -> asyncio.Future[None] | None:
    """Done once the connection of whoever asks is; None where that is not known."""
    found: asyncio.Future[None] | None = request.scope.get("goflow.gone")
    return found


def flow_name(request: Request) -> str:
    """The flow in the path. A text that no flow can be called is an unknown flow."""
    name: str = request.path_params["flow"]
    if not _NAME.fullmatch(name):
        raise UnknownFlow(name[:200])
    return name


def run_id(request: Request) -> str:
    """The run id in the path, which is checked before any store sees it."""
    name: str = request.path_params["id"]
    if not RUN_ID.fullmatch(name):
        raise bad(
            f"{name[:200]!r} is no run id: expected letters, digits, '.', '_' and '-', at most 128,"
            " the first a letter or digit",
            "bad_run_id",
        )
    return name
