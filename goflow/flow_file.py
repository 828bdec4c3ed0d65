"""A flow file imported as a module of its own, and every way that can go wrong told in one message.

The module's name is private and stable (derived from the path), so dataclasses, type hints and pickle inside
user code work and `if __name__ == "__main__"` does not fire. The source is compiled anew each time: a
flow file leaves no .pyc behind and an edit within the same second is seen. What the file prints while it is
imported goes to stderr, since stdout belongs to the run's result.
"""

# ruff: noqa: PTH110, PTH112, PTH113, PTH114, PTH118, PTH119, PTH123, PTH208
# (pathlib costs 5 ms at every start)

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from importlib.machinery import ModuleSpec
from itertools import takewhile
from types import CodeType, ModuleType, TracebackType
from typing import Final, NoReturn

from goflow.digests import sha256
from goflow.errors import DefinitionError, GoflowError, LoadError, nearest
from goflow.layers import display
from goflow.meant import meant

#: how much of a user's exception text a message shows, in characters
_MOST: Final = 1000

#: folders whose flows were loaded in this process
_folders: set[str] = set()


def import_file(file: str) -> ModuleType:
    """The module of a flow file, whose folder stays at the front of `sys.path`.

    `file` is an absolute path without symbolic links. Raises LoadError.
    """
    code = _compile(_read(file), file)
    folder = os.path.dirname(file)
    if folder not in sys.path[:1]:
        sys.path.insert(0, folder)
    _check_siblings(code, file)
    _folders.add(folder)
    name = module_name(file)
    module = ModuleType(name)
    module.__file__ = file
    module.__package__ = ""
    module.__spec__ = ModuleSpec(name, None, origin=file)
    sys.modules[name] = module
    try:
        with telling(file, f"raised while {display(file)} was imported: "):
            exec(code, module.__dict__)
    except BaseException:
        del sys.modules[name]
        raise
    return module


@contextmanager
def without_flow_folders() -> Iterator[None]:
    """Meanwhile no folder of a flow file leads `sys.path`: a json.py or goflow.py in it is the flow's alone."""
    put_first = list(takewhile(_folders.__contains__, sys.path))
    del sys.path[: len(put_first)]
    try:
        yield
    finally:
        sys.path[:0] = put_first


def module_name(file: str) -> str:
    """The name a flow file's module has: the same in every process of a machine.

    >>> module_name("/srv/my-flow.py")
    'goflow_flow_my_flow_35b68b73'
    """
    stem = re.sub(r"\W", "_", os.path.basename(file).removesuffix(".py"))
    digest = sha256(os.fsencode(file)).hexdigest()
    return f"goflow_flow_{stem}_{digest[:8]}"


@contextmanager
def telling(file: str, what: str) -> Iterator[None]:
    """Turns whatever user code raises into a LoadError with the file and line it was raised at.

    `what` says in what it happened, as in "raised while flow.py was imported: ". A DefinitionError passes.
    """
    try:
        with redirect_stdout(sys.stderr), _exits_seen():
            yield
    except (KeyboardInterrupt, DefinitionError):
        raise
    except SystemExit as error:
        code = "" if error.code is None else repr(error.code)[:60]
        raise LoadError(
            f"{at(error, file)}: exited (sys.exit({code})) instead of defining a flow;"
            ' move what is meant for `python FILE` under `if __name__ == "__main__":`'
        ) from error
    except SyntaxError as error:  # in a module beside the file: the file itself compiled
        raise _syntax_error(error, error.filename or file) from error
    except ModuleNotFoundError as error:
        raise LoadError(f"{at(error, file)}: {_missing(error, file)}") from error
    except BaseException as error:  # user code may raise anything, and no traceback is to be seen
        raise LoadError(f"{at(error, file)}: {what}{brief(error)}{meant(error)}") from error


@contextmanager
def _exits_seen() -> Iterator[None]:
    """`os._exit` raises SystemExit: otherwise it would end the command without a word, and `check` with a 0."""
    ours, leave = os.getpid(), os._exit

    def seen(status: int) -> NoReturn:
        if os.getpid() != ours:  # a process that the file has forked ends as it wants to
            leave(status)
        raise SystemExit(status)

    os._exit = seen
    try:
        yield
    finally:
        os._exit = leave


def at(error: BaseException, file: str) -> str:
    """`flow.py:12`: the innermost of the author's own lines that an exception passed through."""
    place = innermost(error.__traceback__, file)
    return f"{display(place[0])}:{place[1]}" if place else display(file)


def innermost(traceback: TracebackType | None, file: str) -> tuple[str, int] | None:
    """File and line of the innermost frame in the flow file or in what lies beside it."""
    folder = os.path.dirname(file) + os.sep
    found = None
    while traceback is not None:
        name = traceback.tb_frame.f_code.co_filename
        installed = re.search(r"(site|dist)-packages", name)
        if name.startswith(folder) and not installed and not _is_ours(traceback):
            found = (name, traceback.tb_lineno)
        traceback = traceback.tb_next
    return found


def brief(error: BaseException) -> str:
    """`ValueError: what it said`, even where it cannot be printed or is very long."""
    try:
        text = str(error)
    except BaseException:  # noqa: BLE001 - __str__ is user code, and may exit
        text = "(its text cannot be printed)"
    if len(text) > _MOST:
        text = f"{text[:_MOST]}... ({len(text)} characters)"
    if isinstance(error, GoflowError):
        return text
    name = type(error).__qualname__
    if isinstance(error, ImportError) and "relative import" in text:
        text += (
            "; a flow file is no part of a package: import what lies beside it by its plain name"
        )
    return f"{name}: {text}" if text else name


def _is_ours(traceback: TracebackType) -> bool:
    module = str(traceback.tb_frame.f_globals.get("__name__", ""))
    return module == "goflow" or module.startswith("goflow.")


def no_file(file: str) -> str:
    """What to say of a file that is not there, with the nearest one that is."""
    folder = os.path.dirname(file)
    if os.path.islink(file):
        return f"no file {display(file)}: it is a symbolic link that leads nowhere"
    if not os.path.isdir(folder):
        return f"no file {display(file)}: there is no folder {display(folder)}"
    beside = _python_files(folder)
    return f"no file {display(file)}{nearest(os.path.basename(file), beside)}"


def _read(file: str) -> bytes:
    name = display(file)
    if os.path.isdir(file):
        inside = _python_files(file)
        hint = f", such as {os.path.join(name, inside[0])}" if inside else ""
        raise LoadError(f"{name} is a folder: expected a flow file{hint}")
    if not os.path.exists(file):
        raise LoadError(no_file(file))
    if not os.path.isfile(file):
        raise LoadError(f"{name} is no regular file: expected a flow file")
    try:
        with open(file, "rb") as stream:
            return stream.read()
    except OSError as error:
        raise LoadError(f"cannot read {name}: {error.strerror}") from error


def _compile(source: bytes, file: str) -> CodeType:
    try:
        source.decode()
    except UnicodeDecodeError as error:
        first = b"\n".join(source.split(b"\n", 2)[:2])
        if not re.search(rb"coding[=:]", first):  # PEP 263: a file may name another encoding
            line = source.count(b"\n", 0, error.start) + 1
            raise LoadError(
                f"{display(file)}:{line}: expected UTF-8 text, got {error.reason}; save it as UTF-8"
            ) from error
    try:
        return compile(source, file, "exec", dont_inherit=True)
    except SyntaxError as error:
        raise _syntax_error(error, file) from error
    except (ValueError, RecursionError, MemoryError) as error:
        reason = str(error) or "nested too deeply"
        raise LoadError(f"{display(file)}: cannot be compiled: {reason}") from error


def _syntax_error(error: SyntaxError, file: str) -> LoadError:
    place = display(file)
    if error.lineno:
        place += f":{error.lineno}" + (f":{error.offset}" if error.offset else "")
    text = (error.text or "").rstrip()
    shown = ""
    if text:
        cut = len(text) - len(text.lstrip())
        shown = f"\n    {text[cut : cut + 200]}"
        if error.offset and 0 <= error.offset - 1 - cut < 200:
            shown += f"\n    {' ' * (error.offset - 1 - cut)}^"
    return LoadError(f"{place}: syntax error: {error.msg}{shown}")


def _missing(error: ModuleNotFoundError, file: str) -> str:
    name = error.name or ""
    top = name.partition(".")[0]
    beside = (f for f in _python_files(os.path.dirname(file)) if f != os.path.basename(file))
    hint = nearest(top, (f.removesuffix(".py") for f in beside))
    return (
        f"no module named {name!r}{hint if hint.startswith(',') else ''}"
        f"; what a flow imports lies beside its file or is installed beside goflow,"
        f" here with: {sys.executable} -m pip install {top}"
    )


def _python_files(folder: str) -> list[str]:
    try:
        return sorted(name for name in os.listdir(folder) if name.endswith(".py"))
    except OSError:  # one may open a file in a folder that one may not list
        return []


def _check_siblings(code: CodeType, file: str) -> None:
    """Refuse to hand a flow the helper module of another flow's folder that has the same name.

    Python keeps one module of each name, so the second folder's own would silently be passed over.
    """
    folder = os.path.dirname(file)
    for name in _names(code):
        known = getattr(sys.modules.get(name), "__file__", None)
        if not known or os.path.dirname(known) == folder or os.path.dirname(known) not in _folders:
            continue
        own = os.path.join(folder, f"{name}.py")
        if os.path.isfile(own):
            raise LoadError(
                f"{display(file)}: {name!r} is already {display(known)} in this process, so it cannot be"
                f" {display(own)} too; rename one of them, or run these flows in separate workers"
            )


def _names(code: CodeType) -> set[str]:
    """Every name that code uses, what it imports among them."""
    found = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found |= _names(constant)
    return found
