"""A script out of its parts, with as few functions as it can do with.

Redis keeps the text of a script, but Lua makes its functions anew in each call and throws them away after it: a
thousand instructions and more for each, most of what a lone call used to cost. So those that a script never names
are left out, those of one line are put where they are called, and those that are rarely called are made then.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial

#: stands between two parts while they are worked on as one text
_CUT = "--[[cut]]\n"
_COMMENT = re.compile(r"^ *--(?! rare\n| run: |\[\[cut).*\n", re.MULTILINE)
_FUNCTION = re.compile(
    r"(?:^-- rare\n)?^local function (\w+)\((?:[^\n]* end|.*?\nend)\n", re.MULTILINE | re.DOTALL
)
_RARE = re.compile(r"^-- rare\nlocal function (\w+)(\(.*?\nend)\n", re.MULTILINE | re.DOTALL)
#: one that only returns something
_SHORT = re.compile(r"^local function (\w+)\((\w.*?)\) return (.*) end\n", re.MULTILINE)
_WORD = re.compile(r"\w+")
#: a call with names alone
_CALL = re.compile(r"\b(\w+)\(((?:[\w.\[\]]+|'\w+')(?:, (?:[\w.\[\]]+|'\w+'))*)\)")
_TEXT_OR_WORD = re.compile(r"'[^'\n]*'|(?<![\w.])[a-z]\w*")


def assemble(parts: Sequence[str]) -> str:
    """The text of a script; each part uses what those before it define."""
    text = _shaken(_COMMENT.sub("", _CUT.join(parts)))
    return _bare(_nested(_rarely(_in_place(_folded(_placed(text)))).split(_CUT)))


def _shaken(text: str) -> str:
    """The text without functions that nothing in it comes to, by name."""
    functions = [*_FUNCTION.finditer(text)]
    named_by = {found[1]: {*_WORD.findall(found[0])} for found in functions}
    coming = [*_WORD.findall(_FUNCTION.sub("", text))]
    used: set[str] = set()
    while coming:
        name = coming.pop()
        if name in named_by and name not in used:
            used.add(name)
            coming += named_by[name]
    for found in functions:
        if found[1] not in used:
            text = text.replace(found[0], "")
    return text


def _in_place(text: str) -> str:
    """The text with functions that only return something where they are called with nothing but names."""
    named = Counter(_WORD.findall(text))
    called = Counter(found[1] for found in _CALL.finditer(text))
    short = {f[1]: (f[2], f[3]) for f in _SHORT.finditer(text) if called[f[1]] == named[f[1]]}
    for name, (params, meant) in short.items():  # they may use those before them
        short[name] = params, _CALL.sub(partial(_expanded, short), meant)
    text = _SHORT.sub(lambda found: "" if found[1] in short else found[0], text)
    return _CALL.sub(partial(_expanded, short), text)


def _expanded(short: Mapping[str, tuple[str, str]], call: re.Match[str]) -> str:
    """What a function means for the names of a call. Parentheses would cut a call's several results to one."""
    if call[1] not in short:
        return call[0]
    params, meant = short[call[1]]
    given = dict(zip(params.split(", "), call[2].split(", "), strict=True))
    meant = _TEXT_OR_WORD.sub(lambda found: given.get(found[0], found[0]), meant)
    return meant if re.fullmatch(r"[\w.]+\(.*\)|\{.*\}", meant) else f"({meant})"


def _rarely(text: str) -> str:
    """The text with the functions of a part that are marked `-- rare` within one that makes them all when one of them
    is called. It stands where the last of them stood, so each may use what is defined before that, and is known
    from the part's beginning."""
    parts = text.split(_CUT)
    maker: dict[str, str] = {}
    for number, part in enumerate(parts):
        rare = [*_RARE.finditer(part)]
        if not rare:
            continue
        make = f"rare_{number}"
        maker |= {found[1]: make for found in rare}
        made = "".join(f"made.{found[1]} = function{found[2]}\n" for found in rare)
        for found in rare[:-1]:
            part = part.replace(found[0], "")
        parts[number] = f"local {make}\n" + part.replace(
            rare[-1][0],
            f"local made\n{make} = function()\nif made then return made end\nmade = {{}}\n{made}return made\nend\n",
        )
    if not maker:
        return text
    calls = re.compile(r"(?<![\w.:])(" + "|".join(maker) + r")\(")
    return calls.sub(lambda call: f"{maker[call[1]]}().{call[0]}", _CUT.join(parts))


def _nested(parts: list[str]) -> str:
    """The parts, each but the first in a function of its own within the one before.

    A function that captures a name of its own level has Lua search for it among all captured ones; one of a
    level above is at hand. Of the 19 us that a call of COMMIT cost before it did anything, that is 4. A level
    may capture 60 names of those above, which the compiler checks.
    """
    return "return (function()\n".join(parts) + "end)()\n" * (len(parts) - 1)


def _placed(text: str) -> str:
    """The text with the fields of a run, `run.state` and the like, as places of an array.

    A table of thirty names is made slot by slot, which takes three times as long as an array and as much
    memory again; a script makes one for each run that it touches.
    """
    names = " ".join(re.findall(r"^-- run: (.*)$", text, re.MULTILINE)).split()
    places = {name: str(place) for place, name in enumerate(names, 1)}
    if not places:
        return text
    return re.sub(r"\brun\.(\w+)", lambda found: f"run[{places[found[1]]}]", text)


def _folded(text: str) -> str:
    """The text with its named numbers in place.

    Lua makes every function of a script anew in each call, and looks for each name that it captures in a
    list of all captured ones: four dozen constants cost a call 20 us.
    """
    numbers: dict[str, str] = {}

    def learn(found: re.Match[str]) -> str:
        names, values = found[1].split(", "), found[2].split(", ")
        numbers.update(zip(names, values, strict=True))
        return ""

    text = re.sub(
        r"^local ([A-Z_, ]+) = ([0-9, ]+?|'\d+')(?: *--.*)?$\n", learn, text, flags=re.MULTILINE
    )
    return re.sub(r"'[^'\n]*'|\b[A-Z_]+\b", lambda found: numbers.get(found[0], found[0]), text)


def _bare(text: str) -> str:
    """The text without comment lines and indentation: less to send, less for Redis to keep."""
    lines = (line.strip() for line in text.splitlines())
    return "\n".join(line for line in lines if line and not line.startswith("--")) + "\n"
