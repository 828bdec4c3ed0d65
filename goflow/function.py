"""A flow author's function, made callable with payloads (SPEC 2, Functions).

Signatures are read once, when the flow is defined, so a wrong one is a definition error with file and
line rather than a surprise in the middle of a run. Parameters with a default are left alone (the
`lambda data, i=i: ...` idiom) unless they are called `options` or `context`.
"""

from __future__ import annotations

import hashlib
import inspect
import types
import typing
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from goflow.errors import PayloadError
from goflow.payload import Payload, decode

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
_AS_IS: Final = (inspect.Parameter.empty, bytes, bytearray, memoryview, Any, object)


class Function:
    """One function of a flow and how to call it.

    Raises ValueError, with the sentence to show, for anything that cannot be called as its role needs.
    """

    __slots__ = ("_digest", "_extras", "_keywords", "call", "name", "optional", "wants")

    def __init__(self, call: Callable[..., Any], role: str) -> None:
        if not callable(call):
            raise ValueError(f"{role} must be a function, got {type(call).__name__}")
        self.call = call
        self.name = getattr(call, "__qualname__", repr(call))
        self._digest: str | None = None
        first, self._extras, self._keywords = _signature(call, role)
        self.wants: Any
        self.optional = False
        if role in ("on_failure", "finally_"):
            self.wants = None
            return
        annotation = _resolve(call, first)
        if role == "aggregator":
            arguments = typing.get_args(annotation)
            annotation = arguments[1] if len(arguments) == 2 else bytes
        annotation, self.optional = _unwrap_optional(annotation)
        self.wants = bytes if annotation in _AS_IS else annotation

    def __call__(self, first: object, context: Context) -> Any:
        """Call it with what it declares; a coroutine is run to its end."""
        if self._keywords:
            values = {"options": context.query, "context": context}
            returned = self.call(first, **{name: values[name] for name in self._keywords})
        elif self._extras == 0:
            returned = self.call(first)
        else:
            returned = self.call(first, *(context.query, context)[: self._extras])
        if inspect.iscoroutine(returned):
            import asyncio

            return asyncio.run(returned)
        return returned

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
        if self.wants is bytes:
            return payload.data
        if self.optional and not payload.data:
            return None
        return decode(payload, self.wants)

    @property
    def digest(self) -> str:
        """8 hex digits over the compiled code: tells one version of a function from the next.

        Not over file names and line numbers, so moving a function changes nothing.
        """
        if self._digest is None:
            code = getattr(inspect.unwrap(self.call), "__code__", None)
            parts = repr(_code_parts(code)) if code is not None else self.name
            self._digest = hashlib.sha256(parts.encode()).hexdigest()[:8]
        return self._digest

    @property
    def where(self) -> str:
        """`file:line`, as far as known."""
        return where(self.call)


def where(call: object) -> str:
    """`file:line` of a function, "" for what has none."""
    code = getattr(inspect.unwrap(call), "__code__", None) if callable(call) else None
    return f"{code.co_filename}:{code.co_firstlineno}" if code is not None else ""


def _signature(call: Callable[..., Any], role: str) -> tuple[Any, int, tuple[str, ...]]:
    first = ROLES[role]
    expected = f"{role}({first}), {role}({first}, options) or {role}({first}, options, context)"
    try:
        parameters = list(inspect.signature(call).parameters.values())
    except (ValueError, TypeError):
        return inspect.Parameter.empty, 0, ()  # a builtin that does not tell: it gets one argument
    positional: list[inspect.Parameter] = []
    keywords: list[str] = []
    spread = False
    for p in parameters:
        named = p.name in _EXTRAS
        if p.kind is p.VAR_POSITIONAL:
            spread = True
        elif p.kind is p.KEYWORD_ONLY and named:
            keywords.append(p.name)
        elif p.kind is p.KEYWORD_ONLY and p.default is p.empty:
            raise ValueError(f"{_describe(call)} needs {p.name!r}, but gets {expected}")
        elif p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and (
            p.default is p.empty or named or not positional
        ):
            positional.append(p)
    if len(positional) > 3 or not (positional or spread):
        raise ValueError(
            f"{_describe(call)} takes {len(positional)} arguments, but gets {expected}"
        )
    annotation = positional[0].annotation if positional else inspect.Parameter.empty
    if keywords:
        late = [p.name for p in positional[1:]]
        if any(name not in _EXTRAS for name in late):
            raise ValueError(f"{_describe(call)} mixes extra and keyword arguments: use {expected}")
        return annotation, 0, (*late, *keywords)
    if spread:
        return annotation, 2, ()
    names = [p.name for p in positional[1:]]
    if names == ["context"]:  # asked for by name, without the options before it
        return annotation, 0, ("context",)
    return annotation, len(names), ()


def _describe(call: Callable[..., Any]) -> str:
    place = where(call)
    return f"{getattr(call, '__qualname__', repr(call))}()" + (f" ({place})" if place else "")


def _resolve(call: Callable[..., Any], annotation: Any) -> Any:
    """An annotation that `from __future__ import annotations` left as text, as the type it means."""
    if not isinstance(annotation, str):
        return annotation
    target = inspect.unwrap(call)
    if not hasattr(target, "__globals__"):
        target = getattr(target, "__func__", None) or vars(type(target)).get("__call__", target)
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
        raise ValueError(
            f"{_describe(call)}: the annotation {annotation!r} cannot be resolved ({error});"
            " import it outside `if TYPE_CHECKING`"
        ) from None


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
