"""What a backend may be able to do beside the seam. One that cannot just lacks the methods.

Whoever wants one of these asks with `isinstance`, and does without where it is not there. Those that only make
things faster are in wholesale.py and glimpse.py, with the slower way beside them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

from goflow.message import Task
from goflow.payload import Payload
from goflow.record import Access, Finding, NodeRun

if TYPE_CHECKING:
    from goflow.errors import BackendError


@runtime_checkable
class Printing(Protocol):
    """A backend that records what tasks print while they run, so that `logs` has it then; for another all of
    it comes with their outcomes."""

    def printed(self, pieces: Sequence[tuple[Task, bytes]]) -> None:
        """Put each piece at the end of the run's logs, as its task's attempt's, and wake whoever watches the
        run. For a task that is held no more it does nothing. `Outcome.log` is then what came after."""
        ...


@runtime_checkable
class Attentive(Protocol):
    """A waker for work that begins to listen when its worker is about to sleep: what a claim brought goes to a child
    before."""

    @property
    def due(self) -> bool:
        """Whether it does not listen to all that it should, until `attend`."""
        ...

    def attend(self) -> None:
        """Its worker is about to sleep, and says so each time from now on. Whatever came since the claim that left
        nothing wakes it."""
        ...


@runtime_checkable
class Paged(Protocol):
    """A backend that reads a run's nodes page by page, so that watching a run of any width takes the same
    memory."""

    def node_pages(self, run_id: str) -> Iterator[Sequence[NodeRun]]:
        """All recorded node instances, in any order. Each page is read when it is asked for, so that what
        changes meanwhile may be seen as it was or as it is."""
        ...


#: bytes of overwritten values that a run keeps of each key; the oldest go first
HISTORY: Final = 16 * 1024 * 1024


@runtime_checkable
class Versioned(Protocol):
    """A backend that can tell what its runs' stores held before, for `goflow debug`; for another that is shown
    as it is now.

    Every value is a version of its key. They are numbered from 1 in the order of the commits that wrote or
    deleted them; 0 is what was there before. An overwritten one stays as long as its run, within `HISTORY`.
    """

    def present(self, run_id: str, key: str) -> tuple[int, Payload | None]:
        """The number of the present version of a key, and its value; None where it was deleted, or never was."""
        ...

    def version(self, run_id: str, key: str, number: int) -> Payload | None:
        """A value as it was. Raises VersionGone where that is not kept."""
        ...

    def accesses(self, run_id: str) -> list[Access]:
        """What attempts of every round read and wrote, in the order they were recorded."""
        ...


@runtime_checkable
class Delivering(Protocol):
    """A backend that delivers much of what nodes send on, and very many starts, only as workers ask for tasks."""

    def deliver_rest(self, run_id: str) -> None:
        """Deliver what is left of that in a run that has ended, so that whoever plans a new round finds all of it where
        it belongs. Nothing starts; does nothing to a run on its way. Raises UnknownRun."""
        ...


@runtime_checkable
class Diagnosable(Protocol):
    """A backend that can look at itself, for `goflow doctor`."""

    def diagnose(self, fix: bool) -> list[Finding]:
        """Look at the store, and with `fix` repair what can be repaired without losing anything that
        somebody needs. Raises BackendError."""
        ...


@runtime_checkable
class Parted(Protocol):
    """A backend of several parts that fail one by one, such as the servers of a cluster: what lies on one that does
    not answer is left out, and the others get theirs as if it were not there. `claim` then answers what they
    have, `commit` None for an outcome that could not be told, `renew` nothing of a task whose lease could not
    be kept, and `tick` does what it can; none of them waits for that part once it is known not to answer. They
    raise where no part answers. Nothing is taken back from a part before its holders had a lease's time, since it
    answers again, to renew."""

    def left_out(self) -> BackendError | None:
        """Why something was left out since this was last asked, told once for as long as it lasts."""
        ...
