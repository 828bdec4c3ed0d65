"""Scripts are put together with as few functions as they can do with, and mean the same."""

from __future__ import annotations

from goflow_redis import assembly, scripts
from tests.redis.hooks import shared_server


def answer(*parts: str) -> int:
    """What a script of these parts answers."""
    told: int = shared_server().client.eval(assembly.assemble(parts), 1, "key")
    return told


def test_a_function_that_nothing_comes_to_is_left_out() -> None:
    part = "local function far() return 1 end\nlocal function unused()\nlocal x = far()\nreturn x\nend\n"
    assert "function" not in assembly.assemble([part + "return 2\n"])


def test_a_function_of_one_line_stands_where_it_is_called_with_names() -> None:
    part = (
        "local function sum(a, b) return a + b end\nlocal function twice(a) return sum(a, a) end\n"
    )
    text = assembly.assemble([part, "local n = 3\nreturn twice(n) * 2\n"])
    assert "sum" not in text
    assert "twice" not in text
    assert answer(part, "local n = 3\nreturn twice(n) * 2\n") == 12


def test_a_function_of_one_line_stays_where_its_arguments_are_more_than_names() -> None:
    part = "local function twice(a) return a + a end\n"
    assert answer(part, "local n = 3\nreturn twice(n + 1)\n") == 8


def test_several_results_in_place_stay_several() -> None:
    part = "local function both(a) return unpack(a) end\n"
    assert answer(part, "local a = {3, 4}\nlocal x, y = both(a)\nreturn x * y\n") == 12


def test_rare_functions_are_made_together_when_one_of_them_is_called() -> None:
    part = (
        "local count = 0\n"
        "-- rare\nlocal function even(n)\nif n == 0 then return 1 end\ncount = count + 1\nreturn odd(n - 1)\nend\n"
        "-- rare\nlocal function odd(n)\nif n == 0 then return 0 end\nreturn even(n - 1)\nend\n"
    )
    assert answer(part, "return even(10) * 100 + count\n") == 105


def test_every_script_is_understood() -> None:
    modern = int(shared_server().client.info("server")["redis_version"].split(".")[0]) >= 7
    for name in scripts.NAMES:
        made = scripts.assemble(name, modern)
        assert shared_server().client.script_load(made.text) == made.sha
