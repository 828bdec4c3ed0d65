"""Flows out of files: imported and defined once per process, everything wrong with them told at once."""

# ruff: noqa: PTH112, PTH113, PTH118, PTH119, PTH207

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping

from goflow.config import NAME as CONFIG_NAME
from goflow.config import StrPath
from goflow.definitions import Found, NoFlow, find
from goflow.errors import DefinitionError, LoadError, UnknownFlow, listed
from goflow.flow_file import import_file, innermost, no_file, telling
from goflow.layers import display
from goflow.workflow import Flow, build, marked

#: the flows of every file loaded in this process, by its real path
_loaded: dict[str, dict[str, Flow]] = {}


def load(file: StrPath) -> dict[str, Flow]:
    """The flows of a file by name, in the order they are defined.

    The same file gives the same flows again: it is imported, and its definitions run, once per process.
    Raises LoadError that names file and line, and lists the problems of all its flows.

    >>> load("examples/myflow.py")  # doctest: +SKIP
    {'myflow': <goflow.workflow.Flow object at 0x...>}
    """
    path = os.path.realpath(file)
    if not path.isprintable() and any("\ud800" <= letter <= "\udfff" for letter in path):
        raise LoadError(
            f"{os.fsencode(path)!r}: expected a path in UTF-8; rename it, or set LC_ALL=C.UTF-8"
            " where it is"
        )
    if path not in _loaded:
        before = len(marked)
        module = import_file(path)
        _loaded[path] = _build(find(module, path, marked[before:]), path)
    return dict(_loaded[path])


def pick(flows: Mapping[str, Flow], name: str | None = None) -> Flow:
    """The flow of that name, or the only one there is.

    Raises UnknownFlow for a name that is not among them, LoadError where a name is needed.
    """
    if name is not None:
        if name not in flows:
            raise UnknownFlow(name, flows)
        return flows[name]
    if len(flows) != 1:
        files = " and ".join(dict.fromkeys(display(flow.file) for flow in flows.values()))
        raise LoadError(
            f"{files} defines {len(flows)} flows: {', '.join(flows)}; choose one with --flow NAME"
            if flows
            else "there is no flow to choose from"
        )
    return next(iter(flows.values()))


def load_all(patterns: Iterable[str], base: StrPath = ".") -> dict[str, Flow]:
    """The flows of all files that goflow.toml's `flows` match, seen from the folder `base`.

    Of what a wildcard matches, names that begin with `_` and files without any flow (helper modules) are
    passed over. Raises LoadError with the problems of all files, for a pattern that leads to no flow, and
    for a flow name in two files.
    """
    return _sound(*gather_all(patterns, base))


def gather_all(patterns: Iterable[str], base: StrPath = ".") -> tuple[dict[str, Flow], list[str]]:
    """What `load_all` finds, with the problems beside it: the files that are sound are of use all the same."""
    root = os.path.realpath(base)
    toml = os.path.join(root, CONFIG_NAME)
    label = f"{display(toml) if os.path.isfile(toml) else 'GOFLOW_FLOWS'}: flows: "
    problems: list[str] = []
    found = [flow for pattern in patterns for flow in _of_pattern(pattern, root, label, problems)]
    return _by_name(found, problems), problems


def load_files(files: Iterable[StrPath]) -> dict[str, Flow]:
    """The flows of several files together, named one by one as on a command line.

    Raises LoadError with the problems of all files, and for a flow name in two of them.
    """
    return _sound(*gather_files(files))


def gather_files(files: Iterable[StrPath]) -> tuple[dict[str, Flow], list[str]]:
    """What `load_files` finds, with the problems beside it."""
    problems: list[str] = []
    found: list[Flow] = []
    for file in files:
        try:
            found += load(file).values()
        except LoadError as error:
            problems.append(str(error))
    return _by_name(found, problems), problems


def _sound(flows: dict[str, Flow], problems: list[str]) -> dict[str, Flow]:
    if problems:
        raise LoadError("\n".join(dict.fromkeys(problems)))
    return flows


def _by_name(found: Iterable[Flow], problems: list[str]) -> dict[str, Flow]:
    """The flows by name; of two with the same name the first. What is wrong is added to the problems."""
    flows: dict[str, Flow] = {}
    for flow in found:
        other = flows.setdefault(flow.name, flow)
        if other.file != flow.file:
            problems.append(
                f"flow {flow.name!r} is defined in {display(other.file)} and in"
                f" {display(flow.file)}; rename one of them"
            )
    return flows


def _of_pattern(pattern: str, root: str, label: str, problems: list[str]) -> list[Flow]:
    """The flows of the files a pattern matches. What is wrong is added to the problems."""
    from glob import glob, has_magic

    path = os.path.join(root, pattern)
    wild = has_magic(pattern)
    if not wild and not os.path.isfile(path):
        if os.path.isdir(path):
            hint = f"{pattern.rstrip('/')}/*.py"
            problems.append(f"{label}{pattern!r} is a folder: expected files, such as {hint!r}")
        else:
            problems.append(label + no_file(path))
        return []
    matched = sorted(glob(pattern, root_dir=root, recursive=True)) if wild else [pattern]
    files = [f for f in matched if os.path.isfile(os.path.join(root, f))]
    flows: list[Flow] = []
    before = len(problems)
    for file in files:
        if wild and os.path.basename(file).startswith("_"):
            continue
        try:
            flows += load(os.path.join(root, file)).values()
        except LoadError as error:
            if not (wild and isinstance(error, NoFlow)):
                problems.append(str(error))
    if not flows and len(problems) == before:
        what = "none of its files defines a flow" if files else "no file matches"
        problems.append(f"{label}{pattern!r}: {what} (seen from {display(root)})")
    return flows


def _build(found: list[Found], file: str) -> dict[str, Flow]:
    """Run every definition, and raise all that is wrong with any of them in one LoadError."""
    flows: dict[str, Flow] = {}
    places: dict[str, str] = {}
    problems: list[str] = []
    cause: BaseException | None = None
    for each in found:
        first = places.setdefault(each.name, each.place)
        try:
            if each.name in flows or first != each.place:
                raise LoadError(
                    f"{each.place}: flow {each.name!r} is defined twice (first at {first})"
                )
            flows[each.name] = _run(each, file)
        except DefinitionError as error:
            cause = cause or error
            problems += _located(error, each, file)
        except LoadError as error:
            cause = cause or error
            problems.append(str(error))
    if len(problems) == 1:
        raise LoadError(problems[0]) from cause
    if problems:
        raise LoadError(
            f"{display(file)} has {len(problems)} problems:{listed(problems)}"
        ) from cause
    return flows


def _run(found: Found, file: str) -> Flow:
    """Run one definition. Raises DefinitionError for what it made, LoadError for how it went."""
    with telling(file, f"flow {found.name!r}: "):
        return build(found.name, found.define, file)


def _located(error: DefinitionError, found: Found, file: str) -> Iterator[str]:
    """The problems of a flow, each with the line that raised it or else that of the definition."""
    own = innermost(error.__traceback__, file)
    where = f"{display(own[0])}:{own[1]}" if own else found.place
    name = os.path.basename(file)
    folder, near = file.removesuffix(name), display(file).removesuffix(name)
    for problem in error.problems:  # these name files in full
        yield f"{where}: flow {found.name!r}: {problem.replace(folder, near)}"
