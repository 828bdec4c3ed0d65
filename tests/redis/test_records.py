"""Records that are put together from bytes are those that msgpack would make."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from goflow_redis import assembly, scripts
from goflow_redis.records import read_node
from tests.redis.hooks import shared_server

#: packs a run and a node the short way and the plain one
_BOTH = """
local run = read_array(arg())
local node = read_array(arg())
local short = node[2] == 1 and node[3] == 0 and node[4] == 1 and node[5] == 1 and node[6] == 0 and node[7] == ''
local plain = short and '\\156' .. pack(unpack(node, 8, 19)) or '\\220\\0\\18' .. pack(unpack(node, 2, 19))
local again = read_node(node[1], plain)
return {run_record(run), '\\156' .. pack(unpack(run, 3, 14)), node_record(node), plain, pack(again) == pack(node) and 1 or 0}
"""
_TEXT = assembly.assemble([scripts._read("_basics"), scripts._read("_records"), _BOTH])

#: what one byte, two, three and five of them hold, and the numbers on either side
counts = st.sampled_from([0, 1, 127, 128, 255, 256, 65535, 65536, 4_000_000_000])
times = st.one_of(st.just(False), counts, st.sampled_from([-1, -200, -70_000]))
dates = st.sampled_from([0, 1_796_096_049_605])
texts = st.sampled_from(["", "x" * 31, "x" * 32])
#: elements as most records have them, and others
RUN = ("r", "key", "running", "-", 0, 0, 1, 2, 3, 4, 1, 1_796_096_049_605, 0, "")
ODD_RUN = [
    st.just("r"), st.just("key"), st.just("succeeded"), st.just("failed"), st.just(3), st.just(1),
    st.sampled_from([-1, 127, 128]), counts, counts, counts, counts, dates, dates, st.just("alxkm"),
]  # fmt: skip
NODE = (
    "n", 1, 0, 1, 1, 0, "", "R", "1796096049605-12abcd", 2, 3, 4, 5, 6, 7, 1, 1, "c0de", "\0a\1=",
)  # fmt: skip
ODD_NODE = [
    st.just("n"), *[counts] * 4, dates, st.sampled_from(["c", "ek"]), st.sampled_from("WQKTODFC"), texts,
    *[counts] * 3, *[times] * 3, counts, counts, texts, texts,
]  # fmt: skip


@st.composite
def records(
    draw: st.DrawFn, usual: Sequence[object], odd: Sequence[st.SearchStrategy[object]]
) -> list[object]:
    """A record of which some elements are unlike most."""
    places = draw(st.sets(st.integers(0, len(usual) - 1), max_size=2))
    return [draw(odd[n]) if n in places else each for n, each in enumerate(usual)]


@st.composite
def numbered(draw: st.DrawFn) -> list[object]:
    """A node of a run that has seen many, with times of one size."""
    made, base = list(NODE), draw(st.sampled_from([0, 100, 250, 300, 65_530]))
    made[9], made[11] = draw(counts), draw(counts)
    for place in (12, 13, 14):
        made[place] = base + draw(st.integers(0, 30))
    if draw(st.booleans()):
        made[14] = False
    if draw(st.booleans()):
        made[13] = made[14] = False
    return made


@settings(max_examples=500, deadline=None)
@given(run=records(RUN, ODD_RUN), node=st.one_of(records(NODE, ODD_NODE), numbered()))
def test_records_are_what_msgpack_makes_of_their_elements(
    run: Sequence[object], node: Sequence[object]
) -> None:
    lives = msgspec.msgpack.encode(("1", "1", "1", False))
    packed = [msgspec.msgpack.encode(each) for each in (run, node)]
    told = shared_server().client.eval(_TEXT, 1, "gf:{records.0}", lives, *packed)
    assert told[0] == told[1]
    assert told[2] == told[3]
    assert msgspec.msgpack.decode(told[0]) == [*run[2:]]
    assert told[4] == 1
    # what else reads it, by names
    read = msgspec.to_builtins(read_node(told[2]))
    assert read[12:18] + read[:12] == [*node[1:]]
