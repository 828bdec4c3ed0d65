"""An exception of user code in words that any store can keep."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final

from goflow.meant import meant
from goflow.message import Failure

#: how much of an exception is kept, in characters
MAX_MESSAGE: Final = 2000
MAX_DETAIL: Final = 8000


def describe(error: BaseException, path: str) -> Failure:
    """An exception as words of bounded length. Survives exceptions that cannot be printed."""
    kind = type(error).__name__[:200]
    if isinstance(error, SystemExit):
        code = error.code
        return Failure(kind, f"the node called sys.exit({_text(lambda: repr(code)):.100})", path)
    message = _text(lambda: f"{error}{meant(error)}")
    return Failure(kind, shorten(message, MAX_MESSAGE), path, _text(lambda: _traceback(error)))


def _text(make: Callable[[], str]) -> str:
    """What user code makes of itself, as text that any store can keep."""
    try:
        return make().encode(errors="backslashreplace").decode()
    except BaseException as error:  # noqa: BLE001 - its __str__ is user code
        return f"(its text cannot be printed: {type(error).__name__})"


def shorten(text: str, most: int) -> str:
    """The text, its middle cut out where it is longer than `most` characters."""
    if len(text) <= most:
        return text
    half = most // 2
    return f"{text[:half]} ... ({len(text)} characters) ... {text[-half:]}"


def _traceback(error: BaseException) -> str:
    """The author's part of the traceback: what lies below goflow's own frames and those of asyncio."""
    import traceback

    own = os.path.dirname(__file__) + os.sep
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame.filename.startswith(own) for frame in frames]
    begin = ours.index(True) if any(ours) else 0  # whoever called goflow is of no interest
    theirs = [f for f, mine in list(zip(frames, ours, strict=True))[begin:] if not mine]
    asyncio = f"{os.path.dirname(traceback.__file__)}{os.sep}asyncio{os.sep}"
    while theirs and theirs[0].filename.startswith(asyncio):  # how a coroutine is run
        theirs.pop(0)
    if len(theirs) > 30:
        theirs = [*theirs[:15], *theirs[-15:]]
    return shorten("".join(traceback.format_list(theirs)), MAX_DETAIL)
