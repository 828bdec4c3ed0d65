"""What is told of a file that is no flow file."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

from goflow.errors import LoadError
from goflow.loader import load
from tests.loading.files import ONE, refused, write


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


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (
            "workflow.dag.foreach('x', list)",
            "no attribute 'foreach', did you mean 'foreach_branch'?",
        ),
        ("workflow.on_fail(list)", "no attribute 'on_fail', did you mean 'on_failure'?"),
        ("goflow.Cilent()", "no attribute 'Cilent', did you mean 'Client'?"),
        ("worflow.dag.node('x', list)", "name 'worflow' is not defined, did you mean 'workflow'?"),
        ("lenn(workflow)", "name 'lenn' is not defined, did you mean 'len'?"),
        ("''.joined()", "'str' object has no attribute 'joined'"),
    ],
)
def test_what_was_meant_by_a_name_that_nothing_has_is_told(
    folder: Path, line: str, told: str
) -> None:
    text = f"import goflow\n@goflow.flow('f')\ndef f(workflow, context):\n    {line}\n"
    assert refused(text).endswith(told)


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
        "flow.py:3: flow 'flow': AttributeError: 'Dag' object has no attribute 'note', did you mean 'node'?"
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
