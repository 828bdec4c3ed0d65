"""What an author may have meant by a name that nothing has."""

from __future__ import annotations

import builtins
from types import ModuleType

from goflow.errors import nearest


def meant(error: BaseException) -> str:
    """A `, did you mean 'x'?` for a name that is not defined, or that something of goflow's does not have.

    Python says so only in the traceback that it prints itself, and none is printed here. What other objects
    have is not looked at: `dir` of them may run anything. Empty for other errors, and where nothing is near.
    """
    if isinstance(error, AttributeError) and _is_ours(error.obj):
        return nearest(str(error.name), (n for n in dir(error.obj) if not n.startswith("_")))
    if isinstance(error, NameError) and error.name and (trace := error.__traceback__):
        while trace.tb_next is not None:
            trace = trace.tb_next
        frame = trace.tb_frame
        return nearest(error.name, [*frame.f_locals, *frame.f_globals, *dir(builtins)])
    return ""


def _is_ours(thing: object) -> bool:
    home = thing.__name__ if isinstance(thing, ModuleType) else type(thing).__module__
    return home.partition(".")[0] == "goflow"
