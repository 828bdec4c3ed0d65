"""Whatever comes from outside is a value or one of goflow's own errors: every decoder, on bytes and text of any kind.

What is decoded from JSON, headers, URLs, paths and files is tried here without a server or a store; requests over HTTP are
tried in tests/server/test_fuzz.py, goflow.toml in tests/test_config.py, console arguments in tests/cli.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from goflow.errors import ConfigError, GoflowError, PayloadError, UnknownNode
from goflow.loader import load
from goflow.nodepath import decode_key, encode_key
from goflow.payload import JSON, join_list, sniff
from goflow.plan import Plan
from goflow.runfile import InFile
from goflow.runid import checked
from goflow.server.errors import HttpError
from goflow.server.login import COOKIE, holds
from goflow.server.signature import Signed
from goflow.signature import NONCE, SIGNATURE, TIMESTAMP
from goflow.tracing import trace_of
from goflow_redis.address import parse
from tests.fuzz.targets import MEDIA, PLAN, TYPES, decoded_or_refused

ANY = st.binary(max_size=200)


@given(
    ANY | st.text(max_size=50).map(str.encode),
    st.sampled_from(TYPES),
    st.sampled_from(MEDIA),
)
@example(b"[" * 5000, list, JSON)
@example(b"1" * 5000, int, JSON)
def test_any_payload_is_decoded_as_annotated_or_refused(data: bytes, kind: Any, media: str) -> None:
    decoded_or_refused(data, kind, media)


@given(st.lists(ANY, max_size=5))
def test_any_bytes_join_or_are_refused(parts: list[bytes]) -> None:
    try:
        joined = join_list([(str(n), sniff(part)) for n, part in enumerate(parts)], "advice")
    except PayloadError:
        return
    assert len(msgspec.json.decode(joined.data)) == len(parts)


@given(st.text(min_size=1, max_size=60))
def test_any_key_survives_its_way_through_a_path(key: str) -> None:
    path = encode_key(key)
    assert not re.search(r"[/\[\]\s]", path)
    assert decode_key(path) == key


@given(
    st.text(max_size=60)
    | st.from_regex(r"(each|kind|work|~finally)?\[?[%0-9A-Fa-zä ]*\]?(/work)?", fullmatch=True)
)
@example("kind[%FF]/work")
@example("each[%]/work")
@example("kind[%C3]/work")
def test_any_text_is_a_node_path_or_an_unknown_node(path: str) -> None:
    try:
        place = PLAN.locate(path)
    except UnknownNode:
        return
    assert place.path == path


@given(ANY | st.binary(max_size=60).map(lambda tail: PLAN.to_json()[:-20] + tail))
def test_any_bytes_are_a_plan_or_no_plan(data: bytes) -> None:
    try:
        plan = Plan.from_json(data)
    except (msgspec.DecodeError, GoflowError):
        return
    assert Plan.from_json(plan.to_json()) == plan


@given(st.text(max_size=140))
def test_any_text_is_a_run_id_or_refused(text: str) -> None:
    try:
        assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", checked(text))
    except GoflowError:
        assert not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", text)


@given(
    st.text(max_size=80)
    | st.from_regex(r"[0-9a-f]{2}-[-+_0-9a-fA-Fx ]{32}-[-+_0-9a-f]{16}-0[01]", fullmatch=True)
)
@example("00-" + "-" + "f" * 31 + "-" + "1" * 16 + "-01")
@example("00-" + "1_" * 16 + "-" + "1" * 16 + "-01")
def test_any_traceparent_gives_ids_that_a_trace_can_have(text: str) -> None:
    trace = trace_of("run", {"traceparent": text})
    assert 0 < trace.id < 1 << 128
    assert 0 < trace.root < 1 << 64
    assert 0 <= trace.parent < 1 << 64


@given(st.text(max_size=80), st.text(max_size=40), st.text(max_size=20))
def test_any_signature_is_refused_as_one(given_: str, nonce: str, timestamp: str) -> None:
    headers = {SIGNATURE: given_, NONCE: nonce, TIMESTAMP: timestamp}
    with pytest.raises(HttpError) as caught:
        Signed(headers, 0.0).check("secret", "POST", "/", "", b"")
    assert caught.value.status == 401


@given(st.text(max_size=80) | st.text(max_size=80).map(lambda text: f"{COOKIE}={text}"))
@example(f"{COOKIE}=99999999999.\xff")
def test_no_cookie_that_was_not_given_is_a_login(cookies: str) -> None:
    assert not holds("secret", cookies)


@given(
    st.text(max_size=60)
    | st.from_regex(
        r"(redis|rediss|unix|redis\+sentinel|redis\+cluster)://[ -~]{0,40}", fullmatch=True
    )
)
@example("redis://[::1")
@example("redis://h:99999999")
@example("redis://h:²")
@example("redis://u:hush@h:99999999/x?y=hush")
@example("redis+sentinel://u:hush@/hush?z")
def test_any_text_is_a_redis_address_or_refused_without_credentials(url: str) -> None:
    try:
        told = parse(url).name
    except ConfigError as error:
        told = str(error)
    assert told
    assert "hush" not in told


@given(st.lists(ANY, max_size=6))
@example([b"null"])
@example([b"{}", b"[]"])
def test_any_lines_are_an_exported_run_or_refused(lines: list[bytes]) -> None:
    with pytest.raises(GoflowError, match="some file"):
        InFile(lines, "some file")


@given(ANY)
def test_any_bytes_are_a_flow_file_or_one_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    file = Path(tmp_path_factory.getbasetemp(), "fuzzed_flow.py")
    file.write_bytes(data)
    with pytest.raises(GoflowError):
        load(str(file))
