"""Every route, status and header of the HTTP API."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.server.flows import LONGEST
from tests.server.house import House


@pytest.fixture(params=["house", "redis_house"], ids=["local", "redis"])
def http(request: pytest.FixtureRequest) -> Iterator[httpx.Client]:
    """A client of a server over each of the backends."""
    house: House = request.getfixturevalue(request.param)
    with house.client() as client:
        yield client


def code(answer: httpx.Response) -> str:
    """The stable code of an error."""
    assert answer.headers["content-type"] == "application/json"
    told: str = answer.json()["error"]["code"]
    return told


def fresh() -> str:
    return f"t-{uuid.uuid4().hex}"


# -- starting -----------------------------------------------------------------------------------------


def test_a_flow_of_one_node_is_answered_in_the_request(http: httpx.Client) -> None:
    answer = http.post("/flow/echo", content=b"hallo")
    assert (answer.status_code, answer.content) == (200, b"hallo")
    assert answer.headers["x-request-id"]


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("application/json", "application/json"),
        ("application/json; charset=utf-8", "application/json"),
        ("text/plain", "text/plain; charset=utf-8"),
        ("application/x-www-form-urlencoded", "application/octet-stream"),
        ("image/png", "application/octet-stream"),
        ("", "application/octet-stream"),
    ],
)
def test_the_content_type_is_one_of_three(http: httpx.Client, sent: str, kept: str) -> None:
    headers = {"content-type": sent} if sent else {}
    answer = http.post("/flow/echo/request".removesuffix("/request"), content=b"1", headers=headers)
    assert answer.status_code == 200
    # a lambda that returns its bytes makes octets of them; the run's input tells what came in
    name = answer.headers["x-request-id"]
    told = http.get(f"/flow/echo/request/{name}/payload")
    assert told.headers["content-type"] == kept


def test_any_other_flow_answers_202_and_says_where_to_look(http: httpx.Client) -> None:
    answer = http.post("/flow/each", content=b"2")
    assert answer.status_code == 202
    told = answer.json()
    assert answer.headers["location"] == f"/flow/each/request/{told['run_id']}"
    assert answer.headers["x-request-id"] == told["run_id"]
    for link in ("self", "result", "logs"):
        assert http.get(told["links"][link]).status_code in (200, 202)


def test_wait_answers_with_the_result(http: httpx.Client) -> None:
    answer = http.post("/flow/each?wait=20", content=b"3")
    assert (answer.status_code, answer.json()) == (200, [0, 1, 4])
    preferred = http.post("/flow/each", content=b"3", headers={"prefer": "respond-async, wait=20"})
    assert (preferred.status_code, preferred.headers["preference-applied"]) == (200, "wait")


def test_waiting_ends_with_202_where_the_run_does_not(http: httpx.Client, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    answer = http.post("/flow/gated?wait=0.05", content=str(gate))
    assert answer.status_code == 202
    result = answer.json()["links"]["result"]
    pending = http.get(result)
    assert (pending.status_code, pending.json()["state"] in ("queued", "running")) == (202, True)
    gate.touch()
    done = http.get(f"{result}?wait=20")
    assert (done.status_code, done.text) == (200, str(gate))


def test_asynchronous_always_answers_202(http: httpx.Client) -> None:
    answer = http.post("/flow/echo?wait=5", content=b"x", headers={"x-async": "true"})
    assert answer.status_code == 202


def test_get_starts_a_run_and_head_does_not(http: httpx.Client) -> None:
    name = fresh()
    assert http.get("/flow/echo", headers={"x-request-id": name}).status_code == 200
    other = fresh()
    answer = http.head("/flow/echo", headers={"x-request-id": other})
    assert answer.status_code == 405
    assert http.get(f"/flow/echo/request/{other}").status_code == 404


def test_wait_is_not_among_the_options_and_headers_are_picked(http: httpx.Client) -> None:
    answer = http.post(
        "/flow/asked?wait=9&a=1&a=2&b=",
        headers={"authorization": "Bearer x", "cookie": "a=b", "x-correlation-id": "c1"},
    )
    told = answer.json()
    assert told["options"] == {"a": ["1", "2"], "b": [""]}
    assert told["headers"]["x-correlation-id"] == "c1"
    assert not {"authorization", "cookie"} & set(told["headers"])


def test_the_same_id_is_the_same_run_and_with_other_data_a_conflict(http: httpx.Client) -> None:
    named = {"x-request-id": fresh()}
    first = http.post("/flow/echo?q=1", content=b"a", headers=named)
    again = http.post("/flow/echo?q=1&wait=3", content=b"a", headers=named)
    other = http.post("/flow/echo?q=1", content=b"b", headers=named)
    assert (first.content, again.content) == (b"a", b"a")
    assert first.headers["x-request-id"] == named["x-request-id"]
    assert (other.status_code, code(other)) == (409, "conflict")
    assert other.headers["x-request-id"] == named["x-request-id"]


def test_a_failed_run_answers_500_and_names_the_node(http: httpx.Client) -> None:
    answer = http.post("/flow/failing?wait=20")
    assert (answer.status_code, code(answer)) == (500, "run_failed")
    error = answer.json()["error"]
    assert (error["node"], error["type"]) == ("second", "ValueError")
    result = http.get(f"/flow/failing/request/{error['run_id']}/result")
    assert (result.status_code, code(result)) == (500, "run_failed")


@pytest.mark.parametrize(
    ("path", "headers", "status", "expected"),
    [
        ("/flow/nope", {}, 404, "unknown_flow"),
        ("/flow/no%20pe", {}, 404, "unknown_flow"),
        ("/flow/echo?wait=soon", {}, 422, "bad_parameter"),
        ("/flow/echo?wait=-1", {}, 422, "bad_parameter"),
        ("/flow/echo?wait=nan", {}, 422, "bad_parameter"),
        ("/flow/echo?wait=1&wait=2", {}, 422, "bad_parameter"),
        ("/flow/echo", {"x-async": "perhaps"}, 422, "bad_parameter"),
        ("/flow/echo", {"x-request-id": "-no"}, 422, "bad_run_id"),
        ("/flow/echo", {"x-request-id": "a" * 129}, 422, "bad_run_id"),
        ("/flow/echo", {"content-encoding": "gzip"}, 415, "unsupported_encoding"),
    ],
)
def test_a_wrong_start_is_told(
    http: httpx.Client, path: str, headers: dict[str, str], status: int, expected: str
) -> None:
    answer = http.post(path, headers=headers)
    assert (answer.status_code, code(answer)) == (status, expected)


def test_an_unknown_flow_is_answered_with_the_nearest(http: httpx.Client) -> None:
    assert "did you mean 'echo'" in http.post("/flow/echoo").json()["error"]["message"]


# -- reading ------------------------------------------------------------------------------------------


def test_a_run_tells_its_nodes(http: httpx.Client) -> None:
    name = fresh()
    http.post("/flow/each?wait=20", content=b"2", headers={"x-request-id": name})
    told = http.get(f"/flow/each/request/{name}").json()
    assert (told["state"], told["run_id"]) == ("succeeded", name)
    nodes = {node["path"]: node["state"] for node in told["nodes"]}
    assert nodes["each[1]/square"] == "succeeded"
    assert nodes["kind[large]/split"] == "skipped"
    some = http.get(f"/flow/each/request/{name}?nodes=1").json()
    assert (len(some["nodes"]), some["nodes_total"]) == (1, len(told["nodes"]))


def test_runs_are_listed_newest_first_by_state(http: httpx.Client) -> None:
    names = [fresh() for _ in range(3)]
    for name in names:
        http.post("/flow/failing?wait=20", headers={"x-request-id": name})
    runs = http.get("/flow/failing/request?state=failed&limit=2").json()["runs"]
    assert [run["run_id"] for run in runs] == [names[2], names[1]]
    assert http.get("/flow/failing/request?state=succeeded").json()["runs"] == []


def test_logs_are_told_piece_by_piece(http: httpx.Client) -> None:
    name = fresh()
    http.post("/flow/failing?wait=20", headers={"x-request-id": name})
    told = http.get(f"/flow/failing/request/{name}/logs?node=second").json()
    assert [line["text"] for line in told["lines"]] == ["about to fail\n"]
    rest = http.get(f"/flow/failing/request/{name}/logs?after={told['next']}").json()
    assert rest == {"lines": [], "next": told["next"]}
    text = http.get(f"/flow/failing/request/{name}/logs?format=text")
    assert text.text == "about to fail\n"


def test_a_node_tells_its_input_output_and_attempts(http: httpx.Client) -> None:
    name = fresh()
    http.post("/flow/each?wait=20", content=b"4", headers={"x-request-id": name})
    told = http.get(f"/flow/each/request/{name}/node", params={"path": "each[3]/square"}).json()
    assert told["output"]["text"] == "9"
    assert told["inputs"][0]["text"] == "3"
    assert [attempt["state"] for attempt in told["attempts"]] == ["succeeded"]
    bytes_ = http.get(f"/flow/each/request/{name}/payload", params={"path": "each[3]/square"})
    assert bytes_.content == b"9"
    assert bytes_.headers["content-disposition"].startswith("attachment")


@pytest.mark.parametrize(
    ("path", "status", "expected"),
    [
        ("/flow/echo/request/none", 404, "unknown_run"),
        ("/flow/echo/request/none/result", 404, "unknown_run"),
        ("/flow/echo/request/none/events", 404, "unknown_run"),
        ("/flow/echo/request/none/logs", 404, "unknown_run"),
        ("/flow/echo/request/-x", 422, "bad_run_id"),
        ("/flow/echo/request/a%20b/result", 422, "bad_run_id"),
        ("/flow/none/request", 404, "unknown_flow"),
        ("/flow/none/definition", 404, "unknown_flow"),
        ("/flow/echo/request?limit=0", 422, "bad_parameter"),
        ("/flow/echo/request?limit=1e3", 422, "bad_parameter"),
        ("/flow/echo/request?state=done", 422, "bad_parameter"),
        ("/flow/echo/request?stat=failed", 422, "bad_parameter"),
        ("/nothing", 404, "not_found"),
        ("/flow/echo/", 404, "not_found"),
    ],
)
def test_a_wrong_question_is_told(
    http: httpx.Client, path: str, status: int, expected: str
) -> None:
    answer = http.get(path)
    assert (answer.status_code, code(answer)) == (status, expected)


def test_a_run_is_found_under_its_own_flow_only(http: httpx.Client) -> None:
    name = fresh()
    http.post("/flow/echo", headers={"x-request-id": name})
    assert code(http.get(f"/flow/each/request/{name}")) == "unknown_run"


def test_another_method_is_405_and_tells_which(http: httpx.Client) -> None:
    answer = http.delete("/flow/echo")
    assert (answer.status_code, code(answer)) == (405, "method_not_allowed")
    assert "POST" in answer.headers["allow"]
    assert http.get("/flow/echo/request/x/pause").status_code == 405


def test_flows_workers_health_and_definition(http: httpx.Client) -> None:
    flows = {flow["flow"]: flow for flow in http.get("/flows").json()["flows"]}
    names = {"asked", "each", "echo", "failing", "gated", "hostile", "wavering", "wordy"}
    assert set(flows) == {*names, LONGEST}
    assert flows["each"]["workers"] == 1
    assert http.get("/workers").json()["workers"][0]["concurrency"] == 2
    assert http.get("/healthz").json() == {"status": "ok"}
    definition = http.get("/flow/each/definition").json()
    assert [node["name"] for node in definition["nodes"]] == ["each", "kind"]


def test_metrics_are_prometheus_text(http: httpx.Client) -> None:
    http.post("/flow/echo")
    answer = http.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = answer.text.splitlines()
    assert any(line.startswith('goflow_runs_accepted_total{flow="echo"} ') for line in lines)
    assert "goflow_workers 1" in lines
    assert 'goflow_tasks_waiting{flow="echo"} 0' in lines
    for line in lines:
        assert line.startswith("# ") or len(line.rsplit(" ", 1)) == 2


# -- control ------------------------------------------------------------------------------------------


def start_gated(http: httpx.Client, gate: Path) -> str:
    """The path of a run whose first node runs until the gate is there."""
    path: str = http.post("/flow/gated", content=str(gate)).headers["location"]
    while http.get(path).json()["nodes"][0]["state"] != "running":
        pass
    return path


def test_a_paused_run_starts_nothing_more_until_resumed(http: httpx.Client, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    path = start_gated(http, gate)
    assert http.post(f"{path}/pause").json()["state"] == "paused"
    assert http.post(f"{path}/pause").status_code == 200
    gate.touch()
    assert http.get(f"{path}/result?wait=0.3").json()["state"] == "paused"
    assert http.post(f"{path}/resume").status_code == 200
    assert http.get(f"{path}/result?wait=20").status_code == 200
    late = http.post(f"{path}/pause")
    assert (late.status_code, code(late)) == (409, "conflict")


def test_a_stopped_run_is_409_and_can_be_retried(http: httpx.Client, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    path = start_gated(http, gate)
    assert http.post(f"{path}/stop").status_code == 200
    stopped = http.get(f"{path}/result?wait=20")
    assert (stopped.status_code, code(stopped)) == (409, "run_stopped")
    gate.touch()
    again = http.post(f"{path}/retry")
    assert again.status_code == 202, again.text
    assert again.json()["round"] == 2
    assert http.get(f"{path}/result?wait=20").status_code == 200
    assert code(http.post(f"{path}/retry")) == "conflict"
    repeated = http.post(f"{path}/retry?from=after")
    assert repeated.status_code == 202, repeated.text
    assert repeated.json()["round"] == 3
    assert code(http.post(f"{path}/retry?from=nope")) in ("unknown_node", "conflict")
    assert code(http.post(f"{path}/retry?adopt=maybe")) == "bad_parameter"


# -- events -------------------------------------------------------------------------------------------


def events(http: httpx.Client, path: str, last: str = "") -> list[tuple[str, str, Any]]:
    """All events of a stream until it ends: kind, id and data."""
    found = []
    headers = {"last-event-id": last} if last else {}
    with http.stream("GET", path, headers=headers) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        fields: dict[str, str] = {}
        for line in stream.iter_lines():
            if line:
                name, _, text = line.partition(": ")
                fields[name] = text
            elif "data" in fields:
                found.append((fields["event"], fields["id"], json.loads(fields["data"])))
                fields = {}
    return found


def test_events_tell_the_whole_run_first_and_its_end_last(
    http: httpx.Client, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    path = start_gated(http, gate)
    seen: list[str] = []
    with http.stream("GET", f"{path}/events") as stream:
        for line in stream.iter_lines():
            if line.startswith("event: "):
                seen.append(line.removeprefix("event: "))
                gate.touch()
    assert seen[0] == "run"
    assert seen[-1] == "end"
    told = events(http, f"{path}/events")
    assert [kind for kind, _, _ in told] == ["end"]
    assert told[0][2]["whole"] is True
    assert {node["path"]: node["state"] for node in told[0][2]["nodes"]} == {
        "gate": "succeeded",
        "after": "succeeded",
    }


def test_a_stream_that_resumes_after_the_end_is_told_not_to_come_again(http: httpx.Client) -> None:
    name = fresh()
    http.post("/flow/echo", headers={"x-request-id": name})
    path = f"/flow/echo/request/{name}/events"
    last = events(http, path)[-1][1]
    assert http.get(path, headers={"last-event-id": last}).status_code == 204
    assert events(http, path, last="1")[-1][1] == last


def first_id(http: httpx.Client, path: str) -> str:
    """The id of a stream's first event."""
    with http.stream("GET", f"{path}/events") as stream:
        return next(
            line.removeprefix("id: ") for line in stream.iter_lines() if line.startswith("id: ")
        )


def test_a_stream_that_resumes_where_nothing_happened_waits_for_what_comes(
    http: httpx.Client, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    path = start_gated(http, gate)
    last = ""
    while last != (last := first_id(http, path)):
        time.sleep(0.2)  # until the worker has said all it has to say about the node that waits
    kinds = []
    with http.stream("GET", f"{path}/events", headers={"last-event-id": last}) as stream:
        for line in stream.iter_lines():
            gate.touch()
            if line.startswith("event: "):
                kinds.append(line.removeprefix("event: "))
    assert "run" not in kinds
    assert kinds[-1] == "end"


# -- every answer -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/", "/flows", "/nothing", "/flow/none", "/openapi.json", "/metrics", "/healthz"]
)
def test_every_answer_carries_the_strict_headers(http: httpx.Client, path: str) -> None:
    headers = http.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert headers["referrer-policy"] == "same-origin"
    assert "server" not in headers


def test_only_dead_letters_are_dropped(http: httpx.Client) -> None:
    fine = http.post("/flow/echo").headers["x-request-id"]
    answer = http.post(f"/flow/echo/request/{fine}/drop")
    assert (answer.status_code, code(answer)) == (409, "conflict")
    failed = http.post("/flow/failing?wait=20").headers["x-request-id"]
    at = f"/flow/failing/request/{failed}"
    assert http.post(f"/flow/echo/request/{failed}/drop").status_code == 404
    assert http.post(f"{at}/drop").json()["run_id"] == failed
    assert http.get(at).status_code == 404
