"""Flows out of several files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from goflow.errors import LoadError, UnknownFlow
from goflow.loader import load, load_all, load_files, pick
from tests.loading.files import ONE, SEVERAL, write


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
