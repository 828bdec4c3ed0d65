"""Where settings come from: the file, the environment, options. Each yields settings and problems, told together."""

# ruff: noqa: PTH123
# (pathlib costs more than all of this to import)

from __future__ import annotations

import math
import os.path
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import msgspec

from goflow.errors import ConfigError, nearest
from goflow.setting import Keys, shown

if TYPE_CHECKING:
    from goflow.toml_text import Document

#: what Kubernetes puts into every container's environment for a service called goflow-redis, goflow-serve, ...
_KUBERNETES: Final = (
    r"(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)"
)


class Setting(msgspec.Struct, frozen=True):
    """A value somebody set. `where()` is how a message calls the place, `base` what paths start from."""

    section: str
    key: str
    value: object
    where: Callable[[], str]
    base: str


def of_file(file: str, keys: Keys, problems: list[str]) -> list[Setting]:
    """What a goflow.toml sets. A file that is no TOML is one problem, with line and column."""
    from goflow import toml_text

    name = display(file)
    try:
        with open(file, "rb") as stream:
            document = toml_text.Document(stream.read(), name)
    except OSError as error:
        problems.append(f"cannot read {name}: {error.strerror}")
        return []
    except ConfigError as error:
        problems.append(str(error))
        return []
    base = os.path.dirname(file)
    found = []
    for section, inner in document.table.items():
        if section in keys[""]:
            found.append(Setting("", section, inner, partial(_place, document, section), base))
        elif not section or section not in keys:
            what = "section" if isinstance(inner, dict) else "key"
            hint = _elsewhere(section, "", keys)
            problems.append(f"{document.where(section)}: unknown {what} {section!r}{hint}")
        elif not isinstance(inner, dict):
            where = document.where(section)
            problems.append(f"{where}: {section} = {shown(inner)}: expected a section [{section}]")
        else:
            for key, value in inner.items():
                if key in keys[section]:
                    where_ = partial(_place, document, section, key)
                    found.append(Setting(section, key, value, where_, base))
                else:
                    where = document.where(section, key)
                    hint = _elsewhere(key, section, keys)
                    problems.append(f"{where}: unknown key {key!r} in [{section}]{hint}")
    return found


def _place(document: Document, *keys: str) -> str:
    """`goflow.toml:7: [worker] lease`; only called for a message, since finding a line takes a while."""
    name = keys[0] if len(keys) == 1 else f"[{keys[0]}] {keys[1]}"
    return f"{document.where(*keys)}: {name}"


def of_environment(
    environ: Mapping[str, str], keys: Keys, base: str, problems: list[str]
) -> list[Setting]:
    """What GOFLOW_<SECTION>_<KEY> sets, GOFLOW_<KEY> for the top level. Other names are not ours."""
    found = []
    for name, text in environ.items():
        if not name.startswith("GOFLOW_") or not text.strip():
            continue
        section, key = _split(name, keys)
        kind = keys[section].get(key)
        if kind is not None and not (key == "port" and "://" in text):
            found.append(Setting(section, key, kind.of_text(text), partial(str, name), base))
        elif kind is None and section and not re.fullmatch(_KUBERNETES, name):
            known = (_variable(section, other) for other in keys[section])
            problems.append(f"{name}: unknown environment variable{nearest(name, known)}")
    return found


def of_options(
    options: Mapping[str, object], keys: Keys, base: str, problems: list[str]
) -> list[Setting]:
    """What a caller sets by dotted name; None is not set."""
    found = []
    for name, value in options.items():
        section, _, key = name.rpartition(".")
        if value is None:
            continue
        if key in keys.get(section, {}):
            found.append(Setting(section, key, value, partial(str, name), base))
        else:
            known = (f"{s}.{k}".lstrip(".") for s in keys for k in keys[s])
            problems.append(f"{name}: unknown option{nearest(name, known)}")
    return found


def read(
    setting: Setting, keys: Keys, values: dict[str, dict[str, Any]], problems: list[str]
) -> None:
    """Put the setting's value among the values, or what is wrong with it among the problems."""
    kind = keys[setting.section][setting.key]
    try:
        values[setting.section][setting.key] = kind.read(setting.value, setting.base)
    except ValueError as expected:
        got = "" if kind.secret else f" = {shown(setting.value)}"
        problems.append(f"{setting.where()}{got}: expected {expected}")


def display(file: str) -> str:
    """A path as a message shows it: from the current folder where that is shorter."""
    try:
        near = os.path.relpath(file)
    except (OSError, ValueError):  # the current folder is gone; or, on Windows, another drive
        return file
    return near if len(near) < len(file) else file


def together(problems: list[str], file: str | None) -> str:
    """Every problem in one message: those of the file in the order of its lines, then the others."""
    start = re.compile(re.escape(display(file or "")) + r":(\d+)")

    def line(problem: str) -> float:
        found = start.match(problem)
        return int(found[1]) if found else math.inf

    if len(problems) == 1:
        return problems[0]
    return f"the configuration has {len(problems)} problems:" + "".join(
        "\n  - " + problem.replace("\n", "\n    ") for problem in sorted(problems, key=line)
    )


def _split(name: str, keys: Keys) -> tuple[str, str]:
    """The section and key that a variable's name means; section "" where it names none."""
    rest = name.removeprefix("GOFLOW_").lower()
    section, _, key = rest.partition("_")
    return (section, key) if section and section in keys else ("", rest)


def _variable(section: str, key: str) -> str:
    return f"GOFLOW_{section}_{key}".upper()


def _elsewhere(key: str, section: str, keys: Keys) -> str:
    """Where an unknown key belongs, else the nearest one of its section."""
    for other, members in keys.items():
        if key in members and other != section:
            return (
                f": it belongs into [{other}]"
                if other
                else ": it belongs above the first [section]"
            )
    return nearest(key, [*keys[section], *(filter(None, keys) if not section else ())])
