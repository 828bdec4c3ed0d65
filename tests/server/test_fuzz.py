"""The OpenAPI document is true: requests made from it, proper and improper, and answers held to it."""

from __future__ import annotations

import contextlib
from collections import Counter
from typing import Any

import httpx
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from goflow.server.openapi import description
from tests.server.house import House

#: requests for each operation
EXAMPLES = 12
#: what would hold up the fuzzer: it is no use to wait, and a stream lasts as long as its run
_SKIPPED = ("/flow/{flow}/request/{id}/events",)
#: the statuses, content types and bodies of answers are those of the document
CHECKS: list[Any] = [
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
#: runs that exist, of a flow of one node and of one with branches
KNOWN = "fuzzed"
EACH = {"flow": "each", "id": "fuzzed-each"}


def test_no_request_that_the_document_allows_or_forbids_is_a_500(house: House) -> None:
    schema = schemathesis.openapi.from_dict(description())
    seen: Counter[int] = Counter()
    with house.client() as http:
        http.post("/flow/echo", headers={"x-request-id": KNOWN})
        http.post("/flow/each?wait=20", headers={"x-request-id": EACH["id"]})
    for result in schema.get_all_operations():
        assert isinstance(result, Ok), result
        operation = result.ok()
        if operation.path in _SKIPPED:
            continue
        for mode in (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE):
            strategy = operation.as_strategy(generation_mode=mode)
            seen += _fuzz(house, strategy)
    assert seen.total() > 200
    assert set(seen) >= {200, 202, 404, 409, 422}


def _fuzz(house: House, strategy: st.SearchStrategy[schemathesis.Case[Any]]) -> Counter[int]:
    count = 0
    seen: Counter[int] = Counter()

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def every(case: schemathesis.Case[Any]) -> None:
        nonlocal count
        count += 1
        query = case.query if isinstance(case.query, dict) else {}
        if "wait" in query:
            query["wait"] = 0
        if count % 3:  # two of three are about what there is
            case.path_parameters.update({"flow": "echo", "id": KNOWN} if count % 3 == 1 else EACH)
        answer = case.call(base_url=house.url, timeout=20)
        assert "Traceback" not in answer.text
        told = answer.status_code != 500 or answer.json()["error"]["code"] == "run_failed"
        assert told, f"{case.as_curl_command()}: {answer.text}"
        seen[answer.status_code] += 1
        case.validate_response(answer, checks=CHECKS)

    with contextlib.suppress(
        Unsatisfiable
    ):  # an operation that takes nothing cannot be called wrongly
        every()
    return seen


def test_every_path_of_the_document_is_a_route_and_the_other_way_round() -> None:
    from starlette.routing import Route

    from goflow.config import Config
    from goflow.server import app

    routes = {
        (route.path, method.lower())
        for route in app("local", Config()).routes
        if isinstance(route, Route) and not route.path.startswith(("/ui", "/static", "/log"))
        for method in route.methods or ()
        if method != "HEAD" and route.path != "/"
    }
    paths = description()["paths"]
    told = {
        (path, method)
        for path, item in paths.items()
        for method in item
        if method in ("get", "post")
    }
    assert routes == told


def test_the_document_is_served(http: httpx.Client) -> None:
    assert http.get("/openapi.json").json()["info"]["title"] == "goflow"
