"""Every error goflow raises, as one tree.

An error says what was expected, what it got, the nearest right name and what to do; the command line
prints its text and nothing else. `exit_code` is what `goflow` ends with (docs/states.md lists them).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final


class GoflowError(Exception):
    """The root: anything that is the caller's to mend (a file, a name, an option, a backend).

    >>> raise GoflowError("no such file")
    Traceback (most recent call last):
    goflow.errors.GoflowError: no such file
    """

    exit_code = 2


class DefinitionError(GoflowError):
    """A flow that cannot work. Lists every problem found, not the first only.

    `problems` holds one sentence each; `flow` the flow's name where it is known.
    """

    def __init__(self, problems: Sequence[str], flow: str | None = None) -> None:
        self.problems = tuple(problems)
        self.flow = flow
        where = f"flow {flow!r}" if flow else "the DAG"
        if len(self.problems) == 1:
            text = f"{where}: {self.problems[0]}"
        else:
            text = f"{where} has {len(self.problems)} problems:{listed(self.problems)}"
        super().__init__(text)


class LoadError(GoflowError):
    """A flow file that cannot be imported or defines no flow; names file and line."""


class ConfigError(GoflowError):
    """goflow.toml, an environment variable or an option holds something we cannot use."""


class UnknownFlow(GoflowError):
    """No worker has registered this flow and no file defines it."""

    def __init__(self, name: str, known: Iterable[str] = (), hint: str = "") -> None:
        self.name = name
        text = f"no flow named {name!r}{nearest(name, known)}"
        super().__init__(text + (hint and (" " if text.endswith("?") else ". ") + hint))


class UnknownRun(GoflowError):
    """The store holds no run with this id: never accepted, or expired after its retention."""

    def __init__(self, run_id: str, known: Iterable[str] = (), store: str = "this store") -> None:
        self.run_id = run_id
        super().__init__(
            f"no run {run_id!r} in {store}{nearest(run_id, known)}"
            " (see `goflow runs`; finished runs go after their retention)"
        )


class UnknownNode(GoflowError):
    """A run or a flow has no node with this path or plain name."""

    def __init__(self, node: str, known: Iterable[str] = (), hint: str = "") -> None:
        self.node = node
        super().__init__(f"no node {node!r}{nearest(node, known)}{hint}")


class Conflict(GoflowError):
    """The request contradicts what is recorded: a taken run id, a retry of a live run, ..."""


class PayloadError(GoflowError):
    """Data that cannot be decoded into, or encoded from, what a function declares."""


class ContextError(GoflowError):
    """The context was used where no run is executing."""


class BackendError(GoflowError):
    """The store cannot be reached or refuses; names host and port, never credentials."""


class StoreAway(BackendError):
    """The store cannot be reached now: not running, not yet up, or cut off. Trying again may help."""


class BlobsAway(BackendError):
    """The place where large payloads rest (`payload.blobs`) cannot be reached or refuses us."""


class BlobMissing(PayloadError):
    """A large payload is not where it should be, or is not what was stored."""


class VersionGone(GoflowError):
    """A value that a run's store had before was not kept."""

    def __init__(self, key: str, number: int) -> None:
        self.key = key
        self.number = number
        super().__init__(f"version {number} of {key!r} is not kept")

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.key, self.number))


class StoreFull(BackendError):
    """The store takes no new run now: out of memory or disk, or over the queue limit."""


class RunEnded(GoflowError):
    """A run that has no result: the common root of `RunFailed` and `RunStopped`."""

    exit_code = 1

    def __init__(self, run_id: str, error: str | None = None) -> None:
        self.run_id = run_id
        self.error = error
        super().__init__(self._text())

    def _text(self) -> str:
        return f"run {self.run_id} failed: {self.error or 'no reason was recorded'}"

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.run_id, self.error))


class RunFailed(RunEnded):
    """`wait` met a run that failed; `error` is its recorded reason."""


class RunStopped(RunEnded):
    """`wait` met a run that somebody stopped."""

    exit_code = 4

    def _text(self) -> str:
        return f"run {self.run_id} was stopped"


class NodeFailed(GoflowError):
    """What `on_failure` handlers receive: how a node failed, whichever way it did.

    `node` is the node path, `type` the exception's type name (`ProcessDied`, `TimedOut` and
    `WorkerLost` for failures without an exception), `message` its text, `attempt` the last attempt.
    """

    exit_code = 1

    def __init__(self, node: str, type: str, message: str, attempt: int = 1) -> None:
        self.node = node
        self.type = type
        self.message = message
        self.attempt = attempt
        super().__init__(f"{type}: {message}" if message else type)


#: how many problems a message lists: a loop that draws ten thousand wrong edges has one mistake in it
MOST_LISTED: Final = 100


def listed(problems: Sequence[str]) -> str:
    """Problems as lines below a heading, the first `MOST_LISTED` of them."""
    lines = ["\n  - " + problem.replace("\n", "\n    ") for problem in problems[:MOST_LISTED]]
    if len(problems) > MOST_LISTED:
        lines.append(f"\n  - ... and {len(problems) - MOST_LISTED} more")
    return "".join(lines)


def nearest(name: str, known: Iterable[str]) -> str:
    """A `, did you mean 'x'?` for the nearest known name, else the known names, else nothing."""
    import difflib  # where a name is wrong; at every start it would cost 1.5 ms

    names = sorted(set(known))
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f", did you mean {close[0]!r}?"
    if 0 < len(names) <= 8:
        return f" (there is {', '.join(map(repr, names))})"
    return ""
