"""What may take long holds up no start, and what is accepted reads no more than it must."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest

from goflow.backend import load_backend
from goflow.client import Client
from goflow.config import Config, Local, PayloadLimits, Telemetry
from goflow.host import register
from goflow.payload import of_input
from goflow.server.application import app
from goflow.server.intake import Accepted, Order, accept
from goflow.server.service import Service
from goflow.workflow import build

RUN = "/flow/flow/request/run"


@pytest.mark.parametrize("query", ["from=a", "adopt=true"])
def test_a_retry_that_may_read_much_holds_up_nobody(
    query: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, others_served = threading.Event(), threading.Event()

    def retry(*_: object, **__: object) -> None:
        began.set()
        assert others_served.wait(10), "whoever asked meanwhile had to wait"

    monkeypatch.setattr(Client, "retry", retry)
    monkeypatch.setattr(Service, "run", lambda *_: None)
    monkeypatch.setattr(Service, "plan", lambda *_: None)
    application = app(f"file://{tmp_path}/store", Config())

    async def both() -> None:
        transport = httpx.ASGITransport(application, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
            slow = asyncio.create_task(http.post(f"{RUN}/retry?{query}"))
            await asyncio.to_thread(began.wait, 10)
            assert (await http.post(f"{RUN}/pause")).status_code == 404
            assert not slow.done()
            others_served.set()
            await slow
        await application.state.service.stop()

    asyncio.run(both())


def test_asking_for_a_run_again_fetches_no_large_payload(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its trace is read from what was submitted beside it."""
    blobs = PayloadLimits(inline_limit=10, blobs=str(tmp_path / "blobs"))
    config = Config(
        local=Local(path=str(tmp_path / "store")),
        payload=blobs,
        telemetry=Telemetry(traces="otlp"),
    )
    flow = build("flow", lambda workflow, context: workflow.dag.node("n"))
    serving = cast(Any, SimpleNamespace(config=config, plan=lambda backend, name: flow.plan))
    order = Order("flow", "run", True, of_input("x" * 100), {}, {}, 1.0)
    with load_backend("local", config) as backend:
        register(backend, flow)
        [first] = accept(serving, backend, [order])
        assert isinstance(first, Accepted)
        assert first.traced["traceparent"]
        monkeypatch.setattr(
            "goflow.blobs.folder.FolderPlace.get", lambda *_: pytest.fail("it was fetched")
        )
        assert accept(serving, backend, [order]) == [first]
