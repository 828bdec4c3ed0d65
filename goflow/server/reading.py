"""Reading: runs, their state, results and logs; flows and workers."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from goflow.backend import Action, Backend, LogLine
from goflow.errors import Conflict, UnknownRun
from goflow.plan import Plan
from goflow.rewind import find
from goflow.rows import rows
from goflow.runid import RUN_ID
from goflow.server.answers import accepted, ended, link, payload_response, told
from goflow.server.errors import HttpError, bad, json_response
from goflow.server.parameters import flag, only, seconds, whole
from goflow.server.service import flow_name, gone, run_id, service
from goflow.state import RunState

#: how many runs a list holds at most, and unless it is asked for another number
MOST_RUNS: Final = 10_000
SOME_RUNS: Final = 100
#: the same of the nodes in a run's state, and of the pieces of a log
MOST_NODES: Final = 100_000
SOME_NODES: Final = 1000
MOST_LINES: Final = 10_000


async def flows(request: Request) -> Response:
    """Every flow that is known, with its workers and its queue; what beside this server did not load."""
    only(request, ())
    serving = service(request)
    listed = await serving.lanes.slowly(list_flows)
    return json_response({"flows": listed, "problems": list(serving.problems)})


def list_flows(backend: Backend) -> list[dict[str, Any]]:
    """The flows of a store as JSON."""
    working = [key for worker in backend.workers() if worker.alive for key in worker.flows]
    waiting = backend.waiting()
    return [
        {
            "flow": each.flow,
            "fingerprint": each.fingerprint,
            "nodes": Plan.from_json(each.plan).size,
            "workers": working.count((each.flow, each.fingerprint)),
            "waiting": sum(count for (flow, _), count in waiting.items() if flow == each.flow),
            "registered": each.registered or None,
        }
        for each in backend.definitions()
    ]


async def definition(request: Request) -> Response:
    """The present definition of a flow."""
    only(request, ())
    serving, flow = service(request), flow_name(request)
    plan = await serving.lanes.quickly(lambda backend: serving.plan(backend, flow))
    return json_response(plan.definition())


async def workers(request: Request) -> Response:
    """Who takes tasks, and how many wait."""
    only(request, ())

    def read(backend: Backend) -> dict[str, Any]:
        return {
            "workers": msgspec.to_builtins(backend.workers()),
            "waiting": [
                {"flow": flow, "fingerprint": fingerprint, "tasks": count}
                for (flow, fingerprint), count in sorted(backend.waiting().items())
            ],
        }

    return json_response(await service(request).lanes.slowly(read))


async def runs(request: Request) -> Response:
    """The runs of a flow, the newest first."""
    serving, flow = service(request), flow_name(request)
    given = only(request, ("state", "limit", "before"))

    def read(backend: Backend) -> dict[str, Any]:
        found = _some(backend, flow, given)
        if not found["runs"]:
            serving.plan(backend, flow)
        return found

    return json_response(await serving.lanes.slowly(read))


async def all_runs(request: Request) -> Response:
    """The runs of all flows, the newest first."""
    given = only(request, ("flow", "state", "limit", "before"))
    flow = given.get("flow") or None
    found = await service(request).lanes.slowly(lambda backend: _some(backend, flow, given))
    return json_response(found)


def _some(backend: Backend, flow: str | None, given: dict[str, str]) -> dict[str, Any]:
    """A part of a list of runs, and after which run it goes on; null where that was all."""
    limit = whole(given.get("limit"), "limit", SOME_RUNS, 1, MOST_RUNS)
    found = backend.runs(flow, state(given.get("state")), limit + 1, before(given.get("before")))
    more = found[limit - 1].id if len(found) > limit else None
    return {"runs": [told(run) for run in found[:limit]], "next": more}


def before(text: str | None) -> str | None:
    """The run after which a list goes on."""
    if text and not RUN_ID.fullmatch(text):
        raise bad(f"before: {text[:200]!r} is no run id", "bad_run_id")
    return text or None


async def whereabouts(request: Request) -> Response:
    """A run by its id alone: its state, and the links to the rest, which its flow is a part of."""
    only(request, ())
    name = run_id(request)
    found = await service(request).lanes.quickly(lambda backend: told(backend.run(name)))
    return json_response(found, headers={"X-Request-Id": name})


def state(text: str | None) -> RunState | None:
    """A run state by name."""
    if not text:
        return None
    try:
        return RunState(text)
    except ValueError:
        raise bad(f"state: expected one of {', '.join(RunState)}, got {text[:100]!r}") from None


async def run(request: Request) -> Response:
    """A run and its nodes."""
    serving, flow, name = service(request), flow_name(request), run_id(request)
    limit = whole(only(request, ("nodes",)).get("nodes"), "nodes", SOME_NODES, 0, MOST_NODES)

    def read(backend: Backend) -> dict[str, Any]:
        found = serving.run(backend, flow, name)
        if not limit:
            return told(found)
        plan = serving.plan(backend, flow, found.fingerprint)
        listed = list(rows(plan, found, backend.nodes(name)))
        return told(found) | {
            "nodes": msgspec.to_builtins(listed[:limit]),
            "nodes_total": len(listed),
        }

    read_by = serving.lanes.slowly if limit else serving.lanes.quickly
    return json_response(await read_by(read), headers={"X-Request-Id": name})


async def result(request: Request) -> Response:
    """What a run made: 202 while it has not ended."""
    serving, flow, name = service(request), flow_name(request), run_id(request)
    given = only(request, ("wait",))
    wait = seconds(given["wait"]) if "wait" in given else 0.0
    await serving.ends.listen()
    with serving.ends.expecting(name, gone(request)) as future:
        run, made = await serving.ends.look(name)
        if run.flow != flow:
            raise UnknownRun(name)
        if wait and not run.state.terminal:
            most = serving.config.serve.max_wait
            run, made = await serving.ends.end(run, future, min(wait, most))
    return ended(run, made) if run.state.terminal else accepted(run)


async def logs(request: Request) -> Response:
    """What a run's nodes printed."""
    serving, flow, name = service(request), flow_name(request), run_id(request)
    given = only(request, ("node", "after", "limit", "format"))
    after = whole(given.get("after"), "after", 0, 0, 2**53)
    limit = whole(given.get("limit"), "limit", MOST_LINES, 1, MOST_LINES)
    form = given.get("format", "json")
    if form not in ("json", "text"):
        raise bad(f"format: expected json or text, got {form[:100]!r}")

    def read(backend: Backend) -> list[LogLine]:
        found = serving.run(backend, flow, name)
        path = None
        if "node" in given:
            plan = serving.plan(backend, flow, found.fingerprint)
            path = find(plan, backend.nodes(name), given["node"])
        return backend.logs(name, path, after, limit)

    lines = await serving.lanes.slowly(read)
    if form == "text":
        return PlainTextResponse("".join(line.data.decode(errors="replace") for line in lines))
    return json_response(
        {
            "lines": [line_json(line) for line in lines],
            "next": lines[-1].id if lines else after,
        }
    )


def line_json(line: LogLine) -> dict[str, Any]:
    """A piece of a log as JSON."""
    return {
        "id": line.id,
        "path": line.path,
        "round": line.round,
        "attempt": line.attempt,
        "time": line.time,
        "text": line.data.decode(errors="replace"),
    }


async def node(request: Request) -> Response:
    """One node instance: its inputs, its output, its attempts."""
    serving, flow, name = service(request), flow_name(request), run_id(request)
    given = only(request, ("path",))
    path = given.get("path")
    if not path:
        raise bad("path: expected the node's path")

    def read(backend: Backend) -> dict[str, Any]:
        from goflow.server.detail import detail

        found = serving.run(backend, flow, name)
        plan = serving.plan(backend, flow, found.fingerprint)
        return detail(backend, plan, found, path)

    return json_response(await serving.lanes.slowly(read))


async def payload(request: Request) -> Response:
    """The bytes of a run's input, or of one input or the output of a node, to download."""
    serving, flow, name = service(request), flow_name(request), run_id(request)
    given = only(request, ("path", "source", "show"))
    show = flag(given.get("show"), "show")

    def read(backend: Backend) -> Any:
        from goflow.server.detail import fetch

        found = serving.run(backend, flow, name)
        return fetch(backend, found, given.get("path"), given.get("source"))

    found = await serving.lanes.slowly(read)
    if found is None:
        raise HttpError(404, "no_payload", "nothing is recorded there (yet)")
    disposition = "inline" if show else f'attachment; filename="{name}"'
    return payload_response(found, {"Content-Disposition": disposition})


async def control(request: Request) -> Response:
    """Pause, resume or stop a run."""
    serving, flow, name = service(request), flow_name(request), run_id(request)
    only(request, ())
    action = _ACTIONS[request.url.path.rpartition("/")[2]]

    def act(backend: Backend) -> dict[str, Any]:
        serving.run(backend, flow, name)
        return told(backend.control(name, action))

    return json_response(await serving.lanes.quickly(act), headers={"X-Request-Id": name})


_ACTIONS: Final[dict[str, Action]] = {"pause": "pause", "resume": "resume", "stop": "stop"}


async def drop(request: Request) -> Response:
    """Forget a failed run: what it got, did and printed is gone."""
    serving, flow, name = service(request), flow_name(request), run_id(request)
    only(request, ())

    def act(backend: Backend) -> dict[str, Any]:
        found = serving.run(backend, flow, name)
        if found.state is not RunState.FAILED:
            raise Conflict(f"run {name} has not failed: it is {found.state}; only dead letters go")
        backend.forget(name)
        return told(found)

    return json_response(await serving.lanes.quickly(act), headers={"X-Request-Id": name})


async def retry(request: Request) -> Response:
    """Open a new round of a run: 202, it is on its way again."""
    from goflow.client import Client

    serving, flow, name = service(request), flow_name(request), run_id(request)
    given = only(request, ("from", "adopt"))
    adopt = flag(given.get("adopt"), "adopt")

    def act(backend: Backend) -> Any:
        serving.run(backend, flow, name)
        plan = serving.plan(backend, flow) if adopt else None
        return Client(backend).retry(name, from_node=given.get("from"), plan=plan)

    # what a rewind undoes is found among all of the run's nodes, of which there may be many
    lane = serving.lanes.slowly if adopt or given.get("from") else serving.lanes.quickly
    found = await lane(act)
    headers = {"X-Request-Id": name, "Location": link(found)}
    return json_response(told(found), 202, headers)
