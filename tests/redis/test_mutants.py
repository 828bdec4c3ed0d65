"""A test of the tests: each fence or check taken out of a script must make one of them fail.

A mutant is a script's part with a piece of text replaced; the checks named with it, which hold for the real
scripts, are run over it.
"""

from __future__ import annotations

import functools
import inspect
import re
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from goflow.backend import Backend
from goflow.errors import GoflowError
from goflow.testing.conformance import BackendConformance
from goflow.testing.store import Store
from goflow_redis import RedisBackend, queuewaker, scripts
from tests.redis.hooks import RedisHooks, shared_server
from tests.redis.mutant import Mutant
from tests.redis.mutants import MUTANTS, PASSED_OVER


class Mutated(RedisHooks, BackendConformance):
    """The suite over a backend whose scripts are given."""

    __test__ = False
    wide = 3000

    def __init__(self, changed: dict[str, scripts.Script]) -> None:
        self._changed = changed

    def open_backend(self, folder: Path, *, ephemeral: bool = False) -> Backend:
        backend = super().open_backend(folder, ephemeral=ephemeral)
        assert isinstance(backend, RedisBackend)
        backend.link._scripts = self._changed
        return backend


def run_checks(mutant: Mutant, folder: Path, changed: dict[str, scripts.Script]) -> None:
    """Run the checks of a mutant over these scripts."""
    for number, check in enumerate(mutant.checks):
        suite = Mutated(changed)
        place = folder / str(number)
        place.mkdir()
        store = Store(suite, place)
        try:
            if isinstance(check, str):
                getattr(suite, check)(store)
            else:
                check(store)
        finally:
            store.close()


@functools.cache
def assembled() -> dict[str, scripts.Script]:
    """All scripts, for the server of the tests."""
    return {name: assemble(name) for name in scripts.NAMES}


def assemble(name: str) -> scripts.Script:
    """One of them, as it is now."""
    version = shared_server().client.info("server")["redis_version"]
    return scripts.assemble(name, int(version.split(".")[0]) >= 7)


def consists_of(name: str, file: str) -> bool:
    """Whether a script is made of that file, or that with others."""
    return name == file or bool(re.search(rf"^-- uses:.* {file[1:]}\b", scripts._read(name), re.M))


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name.replace(" ", "-"))
def test_what_a_script_checks_is_missed_when_it_is_gone(
    mutant: Mutant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "real").mkdir()
    run_checks(mutant, tmp_path / "real", assembled())
    read = scripts._read

    def mutated(name: str) -> str:
        text = read(name)
        return text.replace(mutant.text, mutant.instead) if name == mutant.file else text

    count = read(mutant.file).count(mutant.text)
    assert count == 1, "the script has changed: bring the mutant along"
    affected = [name for name in scripts.NAMES if consists_of(name, mutant.file)]
    assert affected
    with monkeypatch.context() as patched:
        patched.setattr(scripts, "_read", mutated)
        changed = assembled() | {name: assemble(name) for name in affected}
    for number, checks in enumerate(
        [(one,) for one in mutant.checks] if mutant.each else [mutant.checks]
    ):
        folder = tmp_path / f"mutant{number}"
        folder.mkdir()
        with pytest.raises((AssertionError, GoflowError, pytest.fail.Exception)) as missed:
            run_checks(mutant._replace(checks=checks), folder, changed)
        assert "Timeout" not in str(missed.value), "the clock has noticed it, and no check"


@pytest.mark.parametrize(("function", "text", "check"), PASSED_OVER)
def test_a_queue_that_is_wrongly_passed_over_is_missed(
    function: str,
    text: str,
    check: Callable[[Store], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real, mutant = tmp_path / "real", tmp_path / "mutant"
    for folder in (real, mutant):
        folder.mkdir()
    on(check, real)
    source = textwrap.dedent(inspect.getsource(getattr(queuewaker.QueueWaker, function)))
    assert source.count(text) == 1, "the waker has changed: bring the mutant along"
    made: dict[str, Any] = {}
    exec(source.replace(text, ""), vars(queuewaker), made)
    monkeypatch.setattr(queuewaker.QueueWaker, function, made[function])
    with pytest.raises(AssertionError):
        on(check, mutant)


def on(check: Callable[[Store], None], folder: Path) -> None:
    """Run a check over a store of its own."""
    store = Store(Mutated(assembled()), folder)
    try:
        check(store)
    finally:
        store.close()
