"""Flow files to load, and what loading one is refused with."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from goflow.errors import LoadError
from goflow.loader import load

ONE = """
def define_workflow(workflow, context):
    workflow.dag.node("test", lambda data: data)
"""
SEVERAL = """
import goflow

@goflow.flow("zebra")
def first(workflow, context):
    workflow.dag.node("z")

@goflow.flow
def ape(workflow, context):
    workflow.dag.node("a")

again = first

def define_workflow(workflow, context):
    raise AssertionError("a file with decorated flows has no other")
"""


def write(name: str, text: str | bytes) -> str:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else textwrap.dedent(text).lstrip().encode())
    return name


def refused(text: str | bytes, name: str = "flow.py") -> str:
    """What loading this file is answered with."""
    write(name, text)
    with pytest.raises(LoadError) as caught:
        load(name)
    assert "Traceback" not in str(caught.value)
    return str(caught.value)
