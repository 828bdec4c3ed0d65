"""An author's call to a Dag: where it stands, and the keywords it got wrong."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from typing import Any, Final, TypeVar, cast

from goflow.errors import nearest

_M = TypeVar("_M", bound=Callable[..., Any])

#: the modules an author's call goes through before it is noted
_OURS: Final = ("goflow.dag", "goflow.handle", __name__)


def caller() -> str:
    """`file:line` of the author's call: the nearest frame that is not of these modules."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__") in _OURS:
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def collecting(method: _M) -> _M:
    """Have a keyword that a Dag's method does not know be one of the flow's problems.

    A TypeError would end the definition there, and hide whatever else is wrong with it.
    """
    code = method.__code__
    known = code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount]

    @wraps(method)
    def call(self: Any, *args: Any, **options: Any) -> Any:
        wrong = options.keys() - set(known) if options else ()
        for keyword in sorted(wrong):
            del options[keyword]
            shown = ", ".join(repr(each) for each in args if isinstance(each, str))
            self._drawn.problems.append(
                f"{method.__name__}({shown}) ({caller()}): no option {keyword!r}"
                f"{nearest(keyword, known)}"
            )
        return method(self, *args, **options)

    return cast(_M, call)
