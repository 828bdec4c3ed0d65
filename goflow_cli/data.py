"""`--data` and `--query`: what a person types, as a run's payload and options."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import Final

from goflow.errors import GoflowError, nearest
from goflow.payload import EMPTY, JSON, OCTETS, Payload, sniff

#: file endings that say more than the bytes do
_ENDINGS: Final = {".json": JSON, ".bin": OCTETS}


def read_data(data: str | None) -> Payload:
    """The payload that `--data` means.

    `-` is what stdin holds, `@FILE` what a file holds, `@@x` the text "@x", anything else itself; None the
    empty payload. Bytes that are UTF-8 are text/plain, those of a .json file application/json, of a
    .bin file and all others application/octet-stream. Raises GoflowError for a file that cannot be read.

    >>> read_data("@@home")
    Payload(data=b'@home', media_type='text/plain')
    """
    if data is None:
        return EMPTY
    if data == "-":
        return sniff(_stdin())
    if data.startswith("@@"):
        return sniff(os.fsencode(data[1:]))
    if data.startswith("@"):
        return _file(data[1:])
    return sniff(
        os.fsencode(data)
    )  # the bytes of an argument that is not UTF-8 arrive as they were


def read_query(pairs: Iterable[str]) -> dict[str, list[str]]:
    """The options that `--query k=v` gives, all values of a name in order.

    Raises GoflowError that lists every one that is no `k=v`.

    >>> read_query(["size=1", "size=2", "dry="])
    {'size': ['1', '2'], 'dry': ['']}
    """
    query: dict[str, list[str]] = {}
    problems = []
    for pair in pairs:
        name, mark, value = pair.partition("=")
        if not mark or not name:
            problems.append(f"--query {pair}: expected NAME=VALUE")
        elif not _is_text(pair):
            problems.append(f"--query {os.fsencode(pair)!r}: expected UTF-8 text")
        else:
            query.setdefault(name, []).append(value)
    if problems:
        raise GoflowError("\n".join(problems))
    return query


def _stdin() -> bytes:
    if sys.stdin is None:  # as under `goflow ... <&-`
        raise GoflowError(
            "--data -: stdin is closed; give it something to read, or leave --data out"
        )
    return sys.stdin.buffer.read()


def _file(name: str) -> Payload:
    if not name:
        raise GoflowError("--data @: expected a file's name after the @ (the text @ is written @@)")
    try:
        with open(name, "rb") as file:  # noqa: PTH123 - pathlib costs 5 ms at every start
            data = file.read()
    except (OSError, ValueError) as error:
        raise GoflowError(f"--data @{name}: {_reason(name, error)}") from None
    payload = sniff(data)
    media_type = _ENDINGS.get(os.path.splitext(name)[1].lower())  # noqa: PTH122
    if media_type is None or (media_type == JSON and payload.media_type == OCTETS and data):
        return payload  # a .json file that is not UTF-8 is no JSON
    return Payload(data, media_type)


def _reason(name: str, error: OSError | ValueError) -> str:
    if isinstance(error, FileNotFoundError):
        if name == "-":
            return "no such file; stdin is --data -"
        folder, base = os.path.split(name)
        beside = os.listdir(folder or ".") if os.path.isdir(folder or ".") else []  # noqa: PTH112, PTH208
        hint = nearest(base, beside)
        return f"no such file{hint if hint.startswith(',') else ''} (the text is written @@{name})"
    return getattr(error, "strerror", None) or str(error)


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
