"""What a node says through `logging` is shown, INFO and up, where its flow configures nothing.

Importing logging costs milliseconds that most runs need not spend, so it is configured when it is there, or as
soon as user code imports it. A flow file that configured it itself is left alone.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from importlib.abc import Loader

#: how a line looks: `12:03:01 INFO goflow.kyc.fetch: ...`
FORMAT: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"
TIME: Final = "%H:%M:%S"


def show_logging() -> None:
    """Have what is logged from here on written to stderr, unless somebody sees to it already."""
    if "logging" in sys.modules:
        _configure()
    elif not any(isinstance(finder, _OnImport) for finder in sys.meta_path):
        sys.meta_path.insert(0, _OnImport())


def _configure() -> None:
    import logging

    class Stderr(logging.StreamHandler):  # type: ignore[type-arg]
        """Writes to whatever sys.stderr is then: a node may have replaced it, and it is put right again."""

        def __init__(self) -> None:
            logging.Handler.__init__(self)

        @property
        def stream(self) -> object:
            return sys.stderr

    if logging.root.handlers:
        return
    handler = Stderr()
    handler.setFormatter(logging.Formatter(FORMAT, TIME))
    logging.root.addHandler(handler)
    if logging.root.level == logging.WARNING:  # nobody has chosen one
        logging.root.setLevel(logging.INFO)


class _OnImport:
    """Configures logging once it is imported, and is gone then."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != "logging":
            return None
        sys.meta_path.remove(self)
        spec = PathFinder.find_spec(name, path)
        if spec is not None and spec.loader is not None:
            spec.loader = _Configured(spec.loader)  # type: ignore[assignment]
        return spec


class _Configured:
    """The loader of logging, which is configured after it. `importlib.abc`, whose classes name what is asked of one,
    imports 20 modules more."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        _configure()
