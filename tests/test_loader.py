"""Flows out of files: what counts as one, and what is told of a file that is none."""

from __future__ import annotations

import os
import pickle
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from goflow import flow_file
from goflow.errors import LoadError, UnknownFlow
from goflow.flow_file import module_name
from goflow.loader import load, load_all, load_files, pick

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


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty current folder; what loading does to this process is undone."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(flow_file, "_folders", set())
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]


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


# -- files that are no flow files


def test_a_missing_file_is_told_with_the_nearest_name(folder: Path) -> None:
    write("thumbnails.py", ONE)
    with pytest.raises(
        LoadError, match=r"^no file thumbnail\.py, did you mean 'thumbnails\.py'\?$"
    ):
        load("thumbnail.py")
    with pytest.raises(LoadError, match=r"^no file no/flow\.py: there is no folder no$"):
        load("no/flow.py")
    Path("loop.py").symlink_to("loop.py")
    with pytest.raises(LoadError, match=r"^no file loop\.py: it is a symbolic link that leads now"):
        load("loop.py")


def test_a_folder_is_told_with_a_file_in_it(folder: Path) -> None:
    write("flows/a.py", ONE)
    with pytest.raises(
        LoadError, match=r"^flows is a folder: expected a flow file, such as flows/a\.py$"
    ):
        load("flows")


def test_what_is_no_regular_file_is_refused(folder: Path) -> None:
    os.mkfifo("pipe.py")
    with pytest.raises(LoadError, match=r"^pipe\.py is no regular file: expected a flow file$"):
        load("pipe.py")


def test_a_file_that_is_not_utf_8_is_told_with_its_line(folder: Path) -> None:
    told = refused(b"# fine\n\nname = 'caf\xe9'\n")
    assert told == "flow.py:3: expected UTF-8 text, got invalid continuation byte; save it as UTF-8"


def test_a_file_that_names_its_encoding_is_read_with_it(folder: Path) -> None:
    write("flow.py", b"# -*- coding: latin-1 -*-\nassert 'caf\xe9' == 'caf\\xe9'\n" + ONE.encode())
    assert list(load("flow.py")) == ["flow"]


def test_a_syntax_error_is_told_with_line_column_and_text(folder: Path) -> None:
    told = refused("x = 1\nif True:\n    y = = 2\n")
    assert told == "flow.py:3:9: syntax error: invalid syntax\n    y = = 2\n        ^"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("def f():\nx = 1", r"flow\.py:2:1: syntax error: expected an indented block"),
        (
            "if 1:\n\tx = 1\n        y = 2",
            r"flow\.py:3:?\d*: syntax error: inconsistent use of tabs",
        ),
        ("x = 'open", r"flow\.py:1:5: syntax error: unterminated string"),
        ("x = 1\0", r"flow\.py.*: (syntax error|cannot be compiled): .*null bytes"),
        (
            "x = " + "(" * 500,
            r"flow\.py(:1:\d+: syntax error: too many nested|: cannot be compiled)",
        ),
        ("x = " + "-" * 100_000 + "1", r"flow\.py(:1:\d+: syntax error|: cannot be compiled): "),
    ],
)
def test_what_python_cannot_compile_is_told(folder: Path, text: str, told: str) -> None:
    assert re.match(told, refused(text))


def test_raising_at_import_is_told_with_type_message_and_line(folder: Path) -> None:
    told = refused("x = 1\n\ny = x / 0\n")
    assert (
        told == "flow.py:3: raised while flow.py was imported: ZeroDivisionError: division by zero"
    )


def test_the_innermost_own_line_is_told_not_that_of_a_library(folder: Path) -> None:
    told = refused("import json\n\ndef read():\n    json.loads('{')\n\nread()\n")
    assert told.startswith("flow.py:4: raised while flow.py was imported: JSONDecodeError: ")


def test_raising_in_a_module_beside_the_file_is_told_with_that_line(folder: Path) -> None:
    write("raising_helper.py", "x = 1\nraise RuntimeError\n")
    told = refused("import raising_helper\n")
    assert told == "raising_helper.py:2: raised while flow.py was imported: RuntimeError"
    write("wrong_helper.py", "x = 1\nx = = 2\n")
    told = refused("import wrong_helper\n")
    assert told.startswith("wrong_helper.py:2:5: syntax error: invalid syntax\n")


@pytest.mark.parametrize(
    ("raises", "told"),
    [
        (
            "class E(Exception):\n    def __str__(self): 1/0\nraise E",
            "E: (its text cannot be printed)",
        ),
        (
            "class E(Exception):\n    def __str__(self): raise SystemExit(9)\nraise E",
            "E: (its text cannot be printed)",
        ),
        ("raise ValueError('x' * 10_000_000)", "x... (10000000 characters)"),
        ("class B(BaseException): pass\nraise B('base')", "B: base"),
        ("def f(): f()\nf()", "RecursionError: maximum recursion depth exceeded"),
        (
            "from . import helper",
            "ImportError: attempted relative import with no known parent package; a",
        ),
        ("from json import nothing", "ImportError: cannot import name 'nothing' from 'json'"),
    ],
)
def test_whatever_is_raised_is_one_short_message(folder: Path, raises: str, told: str) -> None:
    found = refused(raises)
    assert told in found
    assert len(found) < 1200


@pytest.mark.parametrize(
    ("call", "shown"),
    [
        ("sys.exit(3)", "3"),
        ("exit()", ""),
        ("sys.exit('no')", "'no'"),
        ("__import__('os')._exit(0)", "0"),
    ],
)
def test_exiting_at_import_is_told(folder: Path, call: str, shown: str) -> None:
    told = refused(
        f"import sys, builtins\nfrom _sitebuiltins import Quitter\nexit = sys.exit\n{call}\n"
    )
    assert told == (
        f"flow.py:4: exited (sys.exit({shown})) instead of defining a flow; move what is meant for"
        ' `python FILE` under `if __name__ == "__main__":`'
    )


def test_interrupting_an_import_is_no_load_error(folder: Path) -> None:
    write("flow.py", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        load("flow.py")


def test_a_missing_import_is_told_with_line_and_way_out(folder: Path) -> None:
    told = refused("x = 1\nimport panda_bears.claws\n")
    assert told == (
        "flow.py:2: no module named 'panda_bears'; what a flow imports lies beside its file or is"
        f" installed beside goflow, here with: {sys.executable} -m pip install panda_bears"
    )
    write("my_helpers.py", "")
    assert "no module named 'my_helper', did you mean 'my_helpers'?" in refused("import my_helper")


def test_no_flow_in_the_file_tells_both_ways(folder: Path) -> None:
    assert refused("x = 1\n") == (
        "flow.py: no flow in this file: expected a function define_workflow(workflow, context),"
        " or functions decorated with @goflow.flow"
    )


@pytest.mark.parametrize("name", ["define_workfow", "DefineWorkflow", "define", "define_flow"])
def test_a_function_almost_called_define_workflow_is_told(folder: Path, name: str) -> None:
    told = refused(f"x = 1\n\ndef {name}(workflow, context):\n    pass\n")
    assert told.startswith("flow.py:3: no flow: ")
    assert told.endswith(f"did you mean {name!r} to be one?")


def test_a_file_whose_name_is_no_flow_name_is_told_how_to_name_it(folder: Path) -> None:
    told = refused("x = 1\n" + ONE, "my flow.py")
    assert told.startswith(
        "my flow.py:3: define_workflow makes a flow named after its file, and 'my flow'"
    )
    assert 'rename the file, or put @goflow.flow("name") above the function' in told
    decorated = write("my flow.py", "import goflow\n@goflow.flow('fine')\n" + ONE.lstrip())
    assert list(load(decorated)) == ["fine"]


def test_two_flows_of_the_same_name_are_told_with_both_lines(folder: Path) -> None:
    text = "import goflow\n" + 2 * "\n@goflow.flow('twin')\ndef a(w, c):\n    w.dag.node('x')\n"
    text = text.replace("def a", "def b", 1)
    assert refused(text) == "flow.py:7: flow 'twin' is defined twice (first at flow.py:3)"


def test_two_flows_of_the_same_name_on_one_line_are_told(folder: Path) -> None:
    told = refused(
        """
        import goflow
        def make(node):
            return lambda workflow, context: workflow.dag.node(node)
        a, b = (goflow.flow("twin")(make(node)) for node in "ab")
        """
    )
    assert told == "flow.py:3: flow 'twin' is defined twice (first at flow.py:3)"


def test_a_decorated_object_that_cannot_be_called_is_told(folder: Path) -> None:
    told = refused("import goflow\nclass C: pass\nc = goflow.flow('x')(C())\n")
    assert told == "flow.py: flow 'x': expected a function (workflow, context), got C"
    assert "got int" in refused("define_workflow = 3")
    assert '@goflow.flow: expected a name, as in @goflow.flow("name"), got 5' in refused(
        "import goflow\n@goflow.flow(5)\ndef f(w, c): ...\n"
    )


@pytest.mark.parametrize(
    ("head", "told"),
    [
        (
            "def define_workflow(workflow):",
            "expected a function (workflow, context), got (workflow)",
        ),
        ("def define_workflow(a, b, c):", "expected a function (workflow, context), got (a, b, c)"),
        ("def define_workflow(*, a, b):", "expected a function (workflow, context), got (*, a, b)"),
        ("async def define_workflow(a, b):", "a definition is a plain function, not `async def`"),
    ],
)
def test_a_definition_of_wrong_shape_is_told_with_its_line(
    folder: Path, head: str, told: str
) -> None:
    assert refused(f"x = 1\n{head}\n    pass\n").startswith(f"flow.py:2: flow 'flow': {told}")


def test_a_definition_that_yields_is_told(folder: Path) -> None:
    told = refused("def define_workflow(workflow, context):\n    yield workflow.dag.node('a')\n")
    assert told.startswith(
        "flow.py:1: flow 'flow': a definition is a plain function without `yield`"
    )


@pytest.mark.parametrize("head", ["(a, b, c=1)", "(*both)", "(workflow, context, /)"])
def test_a_definition_that_takes_two_values_is_one(folder: Path, head: str) -> None:
    body = "define_workflow.last"
    write("flow.py", f"import goflow\ndef define_workflow{head}:\n    {body} = 1\n")
    with pytest.raises(LoadError, match="the DAG is empty"):
        load("flow.py")


def test_an_error_inside_a_definition_is_told_with_its_line(folder: Path) -> None:
    told = refused(ONE + "    workflow.dag.note('x')\n")
    assert told.startswith(
        "flow.py:3: flow 'flow': AttributeError: 'Dag' object has no attribute 'note'"
    )
    told = refused(ONE + "    context.run_id\n")
    assert told.startswith("flow.py:3: flow 'flow': the context belongs to a run")
    told = refused(ONE + "    raise SystemExit\n")
    assert told.startswith("flow.py:3: exited (sys.exit()) instead of defining a flow")


def test_the_problems_of_all_flows_of_a_file_are_told_together(folder: Path) -> None:
    told = refused(
        """
        import goflow

        @goflow.flow
        def looping(workflow, context):
            dag = workflow.dag
            dag.node("a") >> dag.node("b") >> "a"

        @goflow.flow
        def fine(workflow, context):
            workflow.dag.node("a")

        @goflow.flow
        def raising(workflow, context):
            1 / 0

        @goflow.flow
        def loose(workflow, context):
            workflow.dag.node("resize")
            workflow.dag.edge("resize", "stoer")
            workflow.dag.node("store", retries=-1)
        """
    )
    lines = told.splitlines()
    assert lines[0] == "flow.py has 4 problems:"
    assert (
        lines[1] == "  - flow.py:3: flow 'looping': cycle: a -> b -> a; remove one of these edges"
    )
    assert lines[2] == "  - flow.py:14: flow 'raising': ZeroDivisionError: division by zero"
    assert lines[3].startswith(
        "  - flow.py:16: flow 'loose': node 'store' (flow.py:20): retries must be"
    )
    assert lines[4].startswith(
        "  - flow.py:16: flow 'loose': edge 'resize' -> 'stoer' (flow.py:19): no node"
    )
    assert len(lines) == 5


# -- several files


def test_pick_takes_the_only_flow_or_the_one_named(folder: Path) -> None:
    flows = load(write("flow.py", SEVERAL))
    assert pick(flows, "ape").name == "ape"
    assert pick({"ape": flows["ape"]}).name == "ape"
    with pytest.raises(
        LoadError, match=r"^flow\.py defines 2 flows: zebra, ape; choose one with --flow NAME$"
    ):
        pick(flows)
    with pytest.raises(UnknownFlow, match="did you mean 'zebra'"):
        pick(flows, "zebr")


def test_load_all_gives_the_flows_of_every_pattern(folder: Path) -> None:
    write("one.py", ONE)
    write("flows/two.py", SEVERAL)
    write("flows/deep/three.py", ONE)
    flows = load_all(["one.py", "flows/**/*.py", "flows/two.py"], folder)
    assert list(flows) == ["one", "three", "zebra", "ape"]


def test_load_all_passes_over_helpers_a_wildcard_matches(folder: Path) -> None:
    write("flows/one.py", ONE)
    write("flows/plain_helper.py", "x = 1")
    write("flows/_private_helper.py", "1/0")
    assert list(load_all(["flows/*.py"], folder)) == ["one"]


def test_a_folder_with_brackets_in_its_name_is_no_pattern(folder: Path) -> None:
    write("[x]/one.py", ONE)
    assert list(load_all(["*.py"], folder / "[x]")) == ["one"]


def test_load_all_tells_every_problem_of_every_file(folder: Path) -> None:
    write("goflow.toml", "")
    write("flows/one.py", "1/0")
    write("flows/two.py", "def define(): pass")
    write("empty/helper.py", "")
    patterns = ["gone.py", "none/*.py", "flows/*.py", "flows", "empty/*.py", "empty/helper.py"]
    with pytest.raises(LoadError) as caught:
        load_all(patterns, folder)
    lines = str(caught.value).splitlines()
    assert [re.sub(r"(expected|raised).*", "", line) for line in lines] == [
        "goflow.toml: flows: no file gone.py",
        "goflow.toml: flows: 'none/*.py': no file matches (seen from .)",
        "flows/one.py:1: ",
        "flows/two.py:1: no flow: ",
        "goflow.toml: flows: 'flows' is a folder: ",
        "goflow.toml: flows: 'empty/*.py': none of its files defines a flow (seen from .)",
        "empty/helper.py: no flow in this file: ",
    ]


def test_without_a_file_the_variable_is_named(folder: Path) -> None:
    with pytest.raises(LoadError, match=r"^GOFLOW_FLOWS: flows: no file gone\.py"):
        load_all(["gone.py"], folder)


def test_a_flow_name_in_two_files_is_told_with_both(folder: Path) -> None:
    write("a/same.py", ONE)
    write("b/same.py", ONE)
    with pytest.raises(LoadError, match=r"^flow 'same' is defined in a/same\.py and in b/same\.py"):
        load_all(["*/same.py"], folder)
    with pytest.raises(LoadError, match=r"^flow 'same' is defined in a/same\.py and in b/same\.py"):
        load_all(["a/same.py", "b/same.py"], folder)


def test_load_files_takes_every_name_as_it_is(folder: Path) -> None:
    write("one.py", ONE)
    write("_two[1].py", SEVERAL)
    assert list(load_files(["one.py", folder / "_two[1].py", "one.py"])) == ["one", "zebra", "ape"]
    write("other/one.py", ONE)
    write("raising.py", "1/0")
    with pytest.raises(LoadError) as caught:
        load_files(["one.py", "raising.py", "gone.py", "other/one.py"])
    assert [
        re.sub(r"(raised|\(there is).*", "", line) for line in str(caught.value).splitlines()
    ] == [
        "raising.py:1: ",
        "no file gone.py, did you mean 'one.py'?",
        "flow 'one' is defined in one.py and in other/one.py; rename one of them",
    ]
