"""Text on a terminal: how wide it is, cutting and wrapping it, times and counts in few columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

#: columns that `duration` needs at most
DURATION: Final = 6
#: columns that `progress` needs at most
PROGRESS: Final = 9


def width(text: str) -> int:
    """How many terminal columns a text takes: two for each wide (CJK) character, none for marks."""
    if text.isascii():
        return len(text)
    return sum(map(_columns, text))


def clean(text: str, unicode: bool = True) -> str:
    r"""The text on one line, with `\x1b`-style escapes for what would steer or mislead a terminal.

    Without `unicode` everything outside ASCII is escaped too.
    """
    text = " ".join(text.split())
    if not unicode:
        text = text.encode("ascii", "backslashreplace").decode()
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _escape(c) for c in text)


def cut(text: str, columns: int, mark: str = "…") -> str:
    """The text in at most so many columns; `mark` stands for what was cut off."""
    if width(text) <= columns:
        return text
    if columns <= width(mark):
        return mark[: max(columns, 0)]
    kept = split(text, columns - width(mark))[0]
    return (kept if width(kept) + width(mark) <= columns else "") + mark


def cut_middle(text: str, columns: int, mark: str = "…") -> str:
    """The same with the cut in the middle: what is alike in many paths is their beginning, and what tells
    them apart their end, which keeps two thirds of the room."""
    if width(text) <= columns:
        return text
    room = columns - width(mark)
    if room < 3:
        return cut(text, columns, mark)
    head = split(text, room // 3)[0]
    tail = text
    while width(tail) > room - width(head):
        tail = tail[1:]
    return head + mark + tail


def split(text: str, columns: int) -> tuple[str, str]:
    """The part that fits into so many columns (at least one character), and the rest."""
    if text.isascii():
        columns = max(columns, 1)
        return text[:columns], text[columns:]
    used = 0
    for position, char in enumerate(text):
        used += _columns(char)
        if used > columns and position:
            return text[:position], text[position:]
    return text, ""


def wrap(words: Iterable[str], first: int, rest: int) -> Iterator[str]:
    """Lines of words: the first in `first` columns, the others in `rest`. Too long words are broken.

    The first line may be empty, when no word fits into it.
    """
    line, room = "", first
    for word in words:
        spaced = f"{line} {word}" if line else word
        if width(spaced) <= room:
            line = spaced
            continue
        if line or room == first != rest:
            yield line
            room = rest
        while width(word) > room:
            head, word = split(word, room)
            yield head
            room = rest
        line = word
    if line:
        yield line


def duration(seconds: float) -> str:
    """Seconds in at most six columns: `3 ms`, `1.2 s`, `42 s`, `3m07s`, `5h02m`, `12d03h`."""
    if seconds < 0.9995:
        return f"{max(seconds, 0) * 1000:.0f} ms"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    whole = int(seconds + 0.5)
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 100 * 3600:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    days = whole // 86400
    return f"{days}d{whole % 86400 // 3600:02d}h" if days < 100 else f"{days}d"


def count(number: int) -> str:
    """A number in at most four columns: `999`, `9999`, `12k`, `1.2M`."""
    if number < 10_000:
        return str(number)
    for unit, size in (("k", 1000), ("M", 1_000_000)):
        if number < 1000 * size:
            short = number / size
            return f"{short:.1f}{unit}" if short < 9.95 else f"{int(short)}{unit}"
    return f"{number // 1_000_000_000}G"


def progress(done: int, of: int) -> str:
    """`37/500`, in at most nine columns."""
    return f"{count(done)}/{count(of)}"


def _columns(char: str) -> int:
    import unicodedata  # only for text outside ASCII

    if unicodedata.east_asian_width(char) in "WF":
        return 2
    return 0 if unicodedata.category(char) in ("Mn", "Me", "Cf") else 1


def _escape(char: str) -> str:
    number = ord(char)
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
