"""The conformance suite, one role a module; `goflow.testing.conformance` puts them together.

Like the modules of a project's own tests these are rewritten by pytest, so that an assertion that does
not hold shows its values.
"""

from __future__ import annotations

import sys
from pkgutil import iter_modules

import pytest

_MODULES = [f"{__name__}.{module.name}" for module in iter_modules(__path__)]
_HELPERS = [
    "goflow.testing.words",
    "goflow.testing.store",
    "goflow.testing.model",
    "goflow.testing.model_node",
    "goflow.testing.agreement",
    "goflow.testing.history",
]

pytest.register_assert_rewrite(*(n for n in _MODULES + _HELPERS if n not in sys.modules))
