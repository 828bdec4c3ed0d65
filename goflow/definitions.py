"""Which functions of a module define flows, and why one that was meant to does not.

Every function decorated with `@goflow.flow` that is in the module or stands in its file, in the order of
definition; where there is none, the function `define_workflow(workflow, context)`, whose flow is called like the file.
"""

# ruff: noqa: PTH119

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any, Final, NamedTuple

from goflow.draft import NAME, NAME_RULE
from goflow.errors import LoadError
from goflow.layers import display

#: the function that defines a file's only flow
DEFINE: Final = "define_workflow"


class NoFlow(LoadError):
    """The file defines no flow, and nothing in it looks as if it was meant to."""


class Found(NamedTuple):
    """A function that defines a flow, and where it stands."""

    name: str
    define: Callable[..., Any]
    place: str


def find(
    module: ModuleType, file: str, marked: Sequence[Callable[..., object]] = ()
) -> list[Found]:
    """The functions of a module that define flows. Raises LoadError where there is none.

    `marked` are those that `@goflow.flow` marked while it was imported. One that stands in the file counts
    though nothing in the module is called like it any more (made in a loop, or two of the same name).
    """
    values = {id(value): value for value in vars(module).values() if _mark_of(value) is not None}
    inner = {id(inspect.unwrap(value)) for value in values.values()}
    hidden = [each for each in marked if id(each) not in inner and _stands_in(each, file)]
    if hidden:
        order = {id(each): number for number, each in enumerate(marked)}
        both = values | {id(each): each for each in hidden}
        values = dict(sorted(both.items(), key=lambda each: order.get(each[0], -1)))
    found = [Found(_mark_of(value) or "", value, _place(value, file)) for value in values.values()]
    if not found:
        found.append(_undecorated(module, file))
    return found


def _mark_of(value: object) -> str | None:
    """The name `@goflow.flow` left on a function. Asks no `__getattr__`: those of mocks always answer."""
    try:
        own = object.__getattribute__(value, "__dict__")
    except (AttributeError, TypeError):
        return None
    name = own.get("__goflow_flow__") if isinstance(own, Mapping) else None
    return None if name is None else str(name)


def _stands_in(define: Callable[..., object], file: str) -> bool:
    code = getattr(define, "__code__", None)
    return inspect.iscode(code) and os.path.realpath(code.co_filename) == file


def _undecorated(module: ModuleType, file: str) -> Found:
    define = vars(module).get(DEFINE)
    if define is None:
        raise _no_flow(module, file)
    stem = os.path.basename(file).removesuffix(".py")
    place = _place(define, file)
    if not NAME.fullmatch(stem):
        raise LoadError(
            f"{place}: {DEFINE} makes a flow named after its file, and {stem!r} is no flow name"
            f' (allowed are {NAME_RULE}): rename the file, or put @goflow.flow("name") above the function'
        )
    return Found(stem, define, place)


def _no_flow(module: ModuleType, file: str) -> LoadError:
    ways = (
        f"expected a function {DEFINE}(workflow, context), or functions decorated with @goflow.flow"
    )
    for name, value in vars(module).items():
        if (
            callable(value)
            and getattr(value, "__module__", None) == module.__name__
            and _is_near(name)
        ):
            return LoadError(
                f"{_place(value, file)}: no flow: {ways}; did you mean {name!r} to be one?"
            )
    return NoFlow(f"{display(file)}: no flow in this file: {ways}")


def _is_near(name: str) -> bool:
    """Whether a function's name looks as if `define_workflow` was meant."""
    import difflib

    plain = name.lower().replace("_", "")
    return plain.startswith("define") or bool(
        difflib.get_close_matches(plain, ["defineworkflow"], cutoff=0.75)
    )


def unfit(define: object) -> Iterator[str]:
    """Why a function cannot be called as a definition."""
    if not callable(define):
        yield f"expected a function (workflow, context), got {type(define).__name__}"
        return
    if inspect.iscoroutinefunction(define) or inspect.isasyncgenfunction(define):
        yield "a definition is a plain function, not `async def`; its nodes may be async"
    elif inspect.isgeneratorfunction(define):
        yield "a definition is a plain function without `yield`: nothing in it would ever run"
    try:
        signature = inspect.signature(define)
    except (TypeError, ValueError):
        return  # a builtin that tells no signature: calling it will show
    try:
        signature.bind(None, None)
    except TypeError:
        yield f"expected a function (workflow, context), got {signature}"


def _place(value: object, file: str) -> str:
    """`flow.py:12`, where a function is defined; the file alone where nothing tells."""
    function = inspect.unwrap(value) if callable(value) else value
    code = getattr(getattr(function, "__func__", function), "__code__", None)
    if inspect.iscode(code):
        return f"{display(code.co_filename)}:{code.co_firstlineno}"
    return display(file)
