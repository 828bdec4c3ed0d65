"""Flows out of files: what counts as one."""

from __future__ import annotations

import os
import pickle
import sys
from pathlib import Path

import pytest

from goflow.errors import LoadError
from goflow.flow_file import module_name
from goflow.loader import load
from tests.loading.files import ONE, SEVERAL, refused, write


def test_a_file_with_define_workflow_is_one_flow_named_after_it(folder: Path) -> None:
    flows = load(write("my-flow.py", ONE))
    assert list(flows) == ["my-flow"]
    flow = flows["my-flow"]
    assert (flow.name, flow.file) == ("my-flow", str(folder / "my-flow.py"))
    assert list(flow.plan.graph.nodes) == ["test"]


def test_every_decorated_function_is_a_flow_once_in_the_order_of_definition(folder: Path) -> None:
    flows = load(write("flow.py", SEVERAL))
    assert list(flows) == ["zebra", "ape"]
    assert list(flows["zebra"].plan.graph.nodes) == ["z"]


def test_a_decorated_function_counts_whatever_became_of_its_name(folder: Path) -> None:
    file = folder / "again.py"
    file.write_text(
        """
import functools
import goflow

def plain(function):
    return functools.wraps(function)(lambda *args: function(*args))

def made(name):
    @goflow.flow(name)
    def define(workflow, context):
        workflow.dag.node(name)

@goflow.flow("one")
def define(workflow, context):
    workflow.dag.node("a")

@goflow.flow("two")
def define(workflow, context):
    workflow.dag.node("b")

for region in ("north", "south"):
    made(region)

@plain
@goflow.flow("wrapped")
def wrapped(workflow, context):
    workflow.dag.node("c")
"""
    )
    assert set(load(file)) == {"one", "two", "north", "south", "wrapped"}
    assert list(load(file))[-4:] == ["one", "two", "north", "south"]


def test_a_decorated_flow_of_a_module_beside_it_counts(folder: Path) -> None:
    write("beside.py", SEVERAL)
    assert list(load(write("flow.py", "from beside import ape"))) == ["ape"]


def test_a_file_is_loaded_once_however_it_is_called(folder: Path) -> None:
    write("flow.py", "import sys\nsys.goflow_loads = getattr(sys, 'goflow_loads', 0) + 1\n" + ONE)
    Path("link.py").symlink_to("flow.py")
    Path("x").mkdir()
    first = load("flow.py")["flow"]
    try:
        assert load(folder / "flow.py")["flow"] is first
        assert load("./x/../flow.py")["flow"] is first
        assert load("link.py")["flow"] is first
        assert vars(sys)["goflow_loads"] == 1
    finally:
        del vars(sys)["goflow_loads"]


def test_a_file_that_failed_is_tried_again(folder: Path) -> None:
    refused("1/0")
    assert module_name(str(folder / "flow.py")) not in sys.modules
    assert list(load(write("flow.py", ONE))) == ["flow"]


def test_the_module_is_a_real_one_and_not_main(folder: Path) -> None:
    write(
        "flow.py",
        """
        from __future__ import annotations
        import dataclasses, pickle, typing

        if __name__ == "__main__":
            raise AssertionError("this is no script")

        @dataclasses.dataclass
        class Order:
            parts: dict[str, Order] | None = None

        assert typing.get_type_hints(Order)["parts"] == dict[str, Order] | None
        assert pickle.loads(pickle.dumps(Order({}))) == Order({})

        def define_workflow(workflow, context):
            workflow.dag.node("order", lambda data: pickle.dumps(Order()))
        """,
    )
    load("flow.py")
    module = sys.modules[module_name(str(folder / "flow.py"))]
    assert module.__file__ == str(folder / "flow.py")
    assert pickle.loads(pickle.dumps(vars(module)["Order"])) is vars(module)["Order"]


def test_our_own_future_imports_do_not_leak_into_the_file(folder: Path) -> None:
    write(
        "flow.py",
        ONE + "\ndef typed(data: 1 + 1): pass\nassert typed.__annotations__['data'] == 2\n",
    )
    load("flow.py")


def test_modules_beside_the_file_are_found_also_later_and_from_anywhere(folder: Path) -> None:
    write("flows/early_helper.py", "NAME = 'node'")
    write("flows/late_helper.py", "ANSWER = 42")
    write(
        "flows/flow.py",
        """
        import early_helper

        def late():
            import late_helper
            return late_helper.ANSWER

        def define_workflow(workflow, context):
            workflow.dag.node(early_helper.NAME)
        """,
    )
    load("flows/flow.py")
    os.chdir("/")
    assert sys.path[0] == str(folder / "flows")
    assert vars(sys.modules[module_name(str(folder / "flows/flow.py"))])["late"]() == 42


def test_two_files_of_a_folder_put_it_on_the_path_once(folder: Path) -> None:
    load(write("a.py", ONE))
    load(write("b.py", ONE))
    assert sys.path.count(str(folder)) == 1


def test_loading_leaves_no_bytecode_of_the_file(folder: Path) -> None:
    load(write("flow.py", ONE))
    assert sorted(path.name for path in folder.rglob("*")) == ["flow.py"]


def test_what_a_file_prints_goes_to_stderr(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    load(write("flow.py", "print('imported')\n" + ONE + "    print('defined')\n"))
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", "imported\ndefined\n")


def test_helpers_of_the_same_name_in_two_folders_are_refused(folder: Path) -> None:
    for name in ("a", "b"):
        write(f"{name}/common_helper.py", f"NAME = {name!r}")
        write(f"{name}/flow_{name}.py", "from common_helper import NAME\n" + ONE)
    load("a/flow_a.py")
    with pytest.raises(
        LoadError, match=r"b/flow_b\.py: 'common_helper' is already a/common_helper\.py"
    ):
        load("b/flow_b.py")


def test_an_object_that_answers_everything_is_no_flow(folder: Path) -> None:
    text = "from unittest.mock import MagicMock, call\nmock = MagicMock()\nany = call\n"
    assert list(load(write("flow.py", text + ONE))) == ["flow"]
