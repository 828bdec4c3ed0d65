"""A flow author's function, made callable with payloads (SPEC 2, Functions).

Signatures are read once, when the flow is defined, so a wrong one is a definition error with file and
line rather than a surprise in the middle of a run. Parameters with a default are left alone (the
`lambda data, i=i: ...` idiom) unless they are called `options` or `context`.
"""

from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, Final

from goflow.digests import sha256
from goflow.errors import PayloadError
from goflow.payload import TEXT, Payload, decoder, type_text

if TYPE_CHECKING:
    from goflow.workflow import Context

#: the parameters a function may have, by role: what the first one receives is told to the author
ROLES: Final = {
    "work": "data",
    "aggregator": "inputs",
    "condition": "data",
    "foreach": "data",
    "forwarder": "data",
    "on_failure": "error",
    "finally_": "state",
}
_EXTRAS: Final = ("options", "context")
_BY_PLACE: Final = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
)
_AS_IS: Final = (inspect.Parameter.empty, bytes, bytearray, memoryview, Any, object)


class Function:
    """One function of a flow and how to call it.

    Raises ValueError, with the sentence to show, for anything that cannot be called as its role needs.
    """

    __slots__ = ("_decode", "_digest", "_extras", "_keywords", "call", "name", "optional", "wants")

    def __init__(self, call: Callable[..., Any], role: str) -> None:
        if not callable(call):
            raise ValueError(f"{role} must be a function, got {type(call).__name__}")
        self.call = call
        self.name = _name(call)
        self._digest: str | None = None
        first, self._extras, self._keywords = _signature(call, role)
        self.wants: Any
        self.optional = False
        if role in ("on_failure", "finally_"):
            self.wants = None
            return
        annotation = _resolve(call, first)
        if role == "aggregator":
            annotation = _of_values(call, annotation)
        annotation, self.optional = _unwrap_optional(annotation)
        self.wants = bytes if annotation in _AS_IS else annotation
        try:
            self._decode = decoder(self.wants)
        except PayloadError as error:
            raise ValueError(f"{_describe(call)}: {error}") from None

    def __call__(self, first: object, context: Context) -> Any:
        """Call it with what it declares; a coroutine is run to its end."""
        if self._keywords:
            values = {"options": context.query, "context": context}
            returned = self.call(first, **{name: values[name] for name in self._keywords})
        elif self._extras == 0:
            returned = self.call(first)
        else:
            returned = self.call(first, *(context.query, context)[: self._extras])
        return _finish(returned) if inspect.iscoroutine(returned) else returned

    def on(self, payload: Payload, context: Context) -> Any:
        """Decode the payload as declared, then call."""
        return self(self.decode(payload), context)

    def on_all(self, inputs: Mapping[str, Payload], context: Context) -> Any:
        """Decode every input as declared (aggregators), then call."""
        values = {}
        for name, payload in inputs.items():
            try:
                values[name] = self.decode(payload)
            except PayloadError as error:
                raise PayloadError(f"input {name!r} of {self.name}: {error}") from None
        return self(values, context)

    def decode(self, payload: Payload) -> Any:
        """The payload as the first parameter's annotation asks for it."""
        if self.optional and self._is_none(payload):
            return None
        return self._decode(payload)

    def _is_none(self, payload: Payload) -> bool:
        if self.wants in (str, bytes, Payload):
            empty_text = self.wants is str and payload.media_type == TEXT
            return not payload.data and not empty_text
        return payload.data.strip() in (b"", b"null")

    @property
    def digest(self) -> str:
        """8 hex digits over the compiled code: tells one version of a function from the next.

        Not over file names and line numbers, so moving a function changes nothing.
        """
        if self._digest is None:
            code = getattr(_plain(self.call), "__code__", None)
            parts = repr(_code_parts(code)) if code is not None else self.name
            self._digest = sha256(parts.encode()).hexdigest()[:8]
        return self._digest

    @property
    def code(self) -> types.CodeType | None:
        """The compiled code behind decorators and partials; None for what has none."""
        found = getattr(_plain(self.call), "__code__", None)
        return found if isinstance(found, types.CodeType) else None

    @property
    def where(self) -> str:
        """`file:line`, as far as known."""
        return where(self.call)


def where(call: object) -> str:
    """`file:line` of a function, "" for what has none."""
    code = getattr(_plain(call), "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code is not None else ""


def _plain(call: object) -> Any:
    """The function behind decorators, partials, methods and callable objects."""
    while True:
        inner = getattr(call, "__wrapped__", None) or getattr(call, "__func__", None)
        if isinstance(call, functools.partial):
            inner = call.func
        if inner is None:
            break
        call = inner
    if hasattr(call, "__code__") or isinstance(call, type):
        return call
    return getattr(type(call), "__call__", call)  # noqa: B004 - the function, not whether there is one


def _name(call: object) -> str:
    name = getattr(call, "__qualname__", None)
    if name is None and isinstance(call, functools.partial):
        return _name(call.func)
    return str(name or type(call).__qualname__)


def _signature(call: Callable[..., Any], role: str) -> tuple[Any, int, tuple[str, ...]]:
    """The first parameter's annotation, how many extras follow by position, and which by name."""
    first = ROLES[role]
    expected = f"{role}({first}), {role}({first}, options) or {role}({first}, options, context)"
    try:
        parameters = list(inspect.signature(call).parameters.values())
    except NameError as error:  # Python 3.14 evaluates annotations here
        raise ValueError(_unresolved(call, error)) from None
    except (ValueError, TypeError):
        return inspect.Parameter.empty, 0, ()  # a builtin that does not tell: it gets one argument
    places = [p for p in parameters if p.kind in _BY_PLACE]
    positional = [p for p in places if p is places[0] or p.default is p.empty or p.name in _EXTRAS]
    spread = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    named = [p for p in parameters if p.kind is p.KEYWORD_ONLY]
    keywords = [p.name for p in named if p.name in _EXTRAS]
    for p in named:
        if p.default is p.empty and p.name not in _EXTRAS:
            raise ValueError(f"{_describe(call)} needs {p.name!r}, but gets {expected}")
    if len(positional) > 3 or not (positional or spread):
        raise ValueError(
            f"{_describe(call)} takes {len(positional)} arguments, but gets {expected}"
        )
    annotation = positional[0].annotation if positional else inspect.Parameter.empty
    late = [p.name for p in positional[1:]]
    by_name = all(name in _EXTRAS for name in late)
    if keywords and not by_name:
        raise ValueError(f"{_describe(call)} mixes extra and keyword arguments: use {expected}")
    if spread and not keywords and positional == places:
        return annotation, 2, ()
    if by_name and not any(p.kind is p.POSITIONAL_ONLY for p in positional[1:]):
        return annotation, 0, (*late, *keywords)
    return annotation, len(late), ()


def _finish(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine to its end: in a thread where a loop is running here (an asynchronous test)."""
    import asyncio

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(coroutine)
    from concurrent.futures import ThreadPoolExecutor
    from contextvars import copy_context

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(copy_context().run, asyncio.run, coroutine).result()


def _describe(call: Callable[..., Any]) -> str:
    place = where(call)
    return f"{_name(call)}()" + (f" ({place})" if place else "")


def _resolve(call: Callable[..., Any], annotation: Any) -> Any:
    """An annotation that `from __future__ import annotations` left as text, as the type it means."""
    if not isinstance(annotation, str):
        return annotation
    target = _plain(call)
    names = dict(getattr(target, "__globals__", {}))
    code, cells = getattr(target, "__code__", None), getattr(target, "__closure__", None) or ()
    for name, cell in zip(code.co_freevars if code else (), cells, strict=False):
        try:
            names[name] = cell.cell_contents
        except ValueError:  # a name the definition has not assigned yet
            continue
    try:
        return eval(annotation, names)
    except Exception as error:  # noqa: BLE001 - it evaluates the author's text
        raise ValueError(_unresolved(call, error, annotation)) from None


def _unresolved(call: Callable[..., Any], error: Exception, annotation: str = "") -> str:
    return (
        f"{_describe(call)}: the annotation{annotation and f' {annotation!r}'} cannot be resolved"
        f" ({error}); define or import it at the top of the file, outside `if TYPE_CHECKING`"
    )


def _of_values(call: Callable[..., Any], annotation: Any) -> Any:
    """What an aggregator wants each input as: the T of `dict[str, T]`."""
    if annotation in _AS_IS:
        return bytes
    origin = typing.get_origin(annotation) or annotation
    arguments = typing.get_args(annotation)
    if (
        not (isinstance(origin, type) and issubclass(origin, Mapping))
        or typing.is_typeddict(origin)
        or len(arguments) not in (0, 2)
    ):
        raise ValueError(
            f"{_describe(call)} gets its inputs by name: annotate them as dict[str, T],"
            f" not {type_text(annotation)}"
        )
    return arguments[1] if arguments else bytes


def _unwrap_optional(annotation: Any) -> tuple[Any, bool]:
    if typing.get_origin(annotation) not in (typing.Union, types.UnionType):
        return annotation, False
    members = [m for m in typing.get_args(annotation) if m is not type(None)]
    if len(members) == len(typing.get_args(annotation)):
        return annotation, False
    return (members[0] if len(members) == 1 else typing.Union[tuple(members)]), True  # noqa: UP007


def _code_parts(code: Any) -> tuple[object, ...]:
    constants = tuple(
        _code_parts(c) if isinstance(c, types.CodeType) else _stable(c) for c in code.co_consts
    )
    return (code.co_code, constants, code.co_names)


def _stable(constant: object) -> str:
    return repr(sorted(map(repr, constant)) if isinstance(constant, frozenset) else constant)
