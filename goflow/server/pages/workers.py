"""Who is working on what, and what waits."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from goflow.backend import Backend, FlowKey, WorkerInfo
from goflow.server.pages.frame import page
from goflow.server.pages.markup import Child, tag
from goflow.server.pages.parts import duration, flow_link, link, table
from goflow.server.service import service
from goflow.why.workers import silence

#: tasks of a worker that are listed
_DOING: Final = 10


async def page_of_workers(request: Request) -> Response:
    """Workers and queues."""
    serving = service(request)

    def read(backend: Backend) -> tuple[list[WorkerInfo], dict[FlowKey, int]]:
        return backend.workers(), backend.waiting()

    workers, waiting = await serving.lanes.slowly(read)
    rows: list[list[Child]] = [
        [
            tag("span", f"{each.host}:{each.pid}", class_="mono"),
            _standing(each),
            f"{len(each.doing)} of {each.concurrency}",
            duration(each.up(time.time())),
            ", ".join(sorted({flow for flow, _ in each.flows})) or "one run of its own",
            _doing(each.doing),
        ]
        for each in workers
    ]
    alive = {key for each in workers if each.alive for key in each.flows}
    queues: list[list[Child]] = [
        [
            flow_link(flow),
            tag("span", fingerprint, class_="mono"),
            count,
            "yes" if (flow, fingerprint) in alive else tag("span", "no", class_="error"),
        ]
        for (flow, fingerprint), count in sorted(waiting.items())
    ]
    head = ["Worker", "State", "Busy", "Up", "Flows", "Doing"]
    empty = "No workers. Start one with `goflow worker FILE`."
    queue_head = ["Flow", "Definition", "Ready tasks", "A worker knows it"]
    return page(
        "Workers",
        tag("h1", "Workers"),
        tag("section", table(head, rows, empty, "Workers"), id="workers", data_live=True),
        tag("h2", "Queues"),
        tag(
            "section",
            table(queue_head, queues, "Nothing waits.", "Queues"),
            id="queues",
            data_live=True,
        ),
        place="Workers",
        leave=bool(serving.secret),
        refresh=2,
    )


def _standing(worker: WorkerInfo) -> Child:
    if worker.standing == "alive":
        return "alive"
    told = silence(worker) if worker.standing == "silent" else None
    return tag("span", worker.standing, class_="error", title=told)


def _doing(doing: Sequence[str]) -> list[Child]:
    """The nodes a worker executes, each a link into its run."""
    shown: list[Child] = []
    for each in doing[:_DOING]:
        run_id, _, path = each.partition("/")
        where = link(f"/ui/run/{run_id}", node=path) + "#node"
        shown.append(tag("div", tag("a", path, href=where, class_="mono", title=f"run {run_id}")))
    if len(doing) > _DOING:
        shown.append(tag("div", f"and {len(doing) - _DOING} more", class_="dim"))
    return shown
