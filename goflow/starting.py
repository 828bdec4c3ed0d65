"""How a worker's children are started, and how they come by their flows.

A fork inherits everything. Fresh processes (spawn, forkserver) load flow files again; a definition that
lives in no file (a notebook, a prompt, a program) travels by value, as dill makes it: only ever to a
child on this machine. Such a child never runs the program's main module again, as it otherwise would.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from goflow.child import Source
from goflow.errors import GoflowError
from goflow.flow_file import without_flow_folders
from goflow.workflow import Flow


class Forked:
    """Flows as a fork inherits them: nothing is loaded again."""

    def __init__(self, flows: Sequence[Flow]) -> None:
        self._flows = flows

    def __call__(self) -> Sequence[Flow]:
        return self._flows


class Reloaded:
    """Flows as a fresh process gets them: from their files, or from pickled (name, function) pairs."""

    def __init__(self, files: Sequence[str], definitions: bytes) -> None:
        self._files = files
        self._definitions = definitions

    def __call__(self) -> list[Flow]:
        from goflow.loader import load
        from goflow.workflow import build

        flows = [flow for file in self._files for flow in load(file).values()]
        if self._definitions:
            import dill

            flows += [build(name, define) for name, define in dill.loads(self._definitions)]
        return flows


def source(flows: Sequence[Flow], method: str) -> Source:
    """What a child gets its flows from. Raises GoflowError for a definition that cannot travel."""
    if method == "fork":
        return Forked(flows)
    files = dict.fromkeys(flow.file for flow in flows if flow.file)
    loose = [(flow.name, flow.define) for flow in flows if not flow.file]
    return Reloaded(list(files), _by_value(loose) if loose else b"")


def _by_value(definitions: Sequence[tuple[str, Any]]) -> bytes:
    import dill

    try:  # recurse: with what the functions refer to, not with all that lies beside them
        pickled: bytes = dill.dumps(definitions, recurse=True)
    except Exception as error:  # pickling asks every object, and those are the author's
        names = ", ".join(repr(name) for name, _ in definitions)
        raise GoflowError(
            f"{names}: defined in no file, and what is used there cannot be sent to a child process"
            f" ({type(error).__name__}: {error}); put such a flow into a file of its own"
        ) from error
    return pickled


def start_method() -> str:
    """Fork where it is this Python's default and safe (one thread), else forkserver or spawn.

    Forking costs 2 ms and shares what the flow file has loaded; a process with threads may fork a lock
    that nobody will ever release.
    """
    chosen = os.environ.get("GOFLOW_START_METHOD")
    if chosen:
        return chosen
    threading = sys.modules.get("threading")
    threads = threading.active_count() if threading is not None else 1
    if sys.platform == "linux":
        return "fork" if sys.version_info < (3, 14) and threads == 1 else "forkserver"
    return "spawn"


def context(method: str) -> Any:
    """What starts children. A fork pickles nothing, so the standard library will do, which imports 20 ms
    faster. Raises GoflowError for a method this system does not have."""
    from importlib import import_module

    library = import_module("multiprocessing" if method == "fork" else "multiprocess")
    try:
        return library.get_context(method)
    except ValueError:
        known = ", ".join(library.get_all_start_methods())
        raise GoflowError(f"GOFLOW_START_METHOD: expected one of {known}, got {method!r}") from None


@contextmanager
def apart() -> Iterator[None]:
    """Meanwhile a fresh child that is started takes nothing of the author's before it loads its flows."""
    with _nameless_main(), without_flow_folders():
        yield


@contextmanager
def _nameless_main() -> Iterator[None]:
    """Meanwhile the main module has no file that a fresh child could run again.

    It would start the whole program anew, and fails where the program came from a pipe.
    """
    main: dict[str, Any] = sys.modules["__main__"].__dict__
    hidden: dict[str, Any] = {name: main[name] for name in ("__file__", "__spec__") if name in main}
    main.pop("__file__", None)
    main["__spec__"] = None
    try:
        yield
    finally:
        main.update(hidden)
