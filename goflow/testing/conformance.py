"""The suite that every backend passes, ours and other people's: the rules of `goflow.backend` as tests.

It drives the seam with hand-made words: no engine, no processes. A backend runs it with a few lines:

    class MyHooks(BackendHooks):
        def open_backend(self, folder: Path, *, ephemeral: bool = False) -> Backend: ...
        def vanish(self, backend: Backend, worker: int) -> None: ...

    class TestMyBackend(MyHooks, BackendConformance):
        pass

`goflow.testing.machine` adds random histories over the same hooks.
"""

from __future__ import annotations

from goflow.testing.hooks import BackendHooks
from goflow.testing.suite.attempting import Attempting
from goflow.testing.suite.branching import Branching
from goflow.testing.suite.browsing import Browsing
from goflow.testing.suite.claiming import Claiming
from goflow.testing.suite.committing import Committing
from goflow.testing.suite.controlling import Controlling
from goflow.testing.suite.directory import Listing
from goflow.testing.suite.ending import Ending
from goflow.testing.suite.expiring import Expiring
from goflow.testing.suite.forgetting import Forgetting
from goflow.testing.suite.glimpsing import Glimpsing
from goflow.testing.suite.handling import Handling
from goflow.testing.suite.logs import Logging
from goflow.testing.suite.owning import Owning
from goflow.testing.suite.pausing import Pausing
from goflow.testing.suite.printing import Speaking
from goflow.testing.suite.reading import Reading
from goflow.testing.suite.rewinding import Rewinding
from goflow.testing.suite.rounds import Rounds
from goflow.testing.suite.staging import Staging
from goflow.testing.suite.stopping import Stopping
from goflow.testing.suite.submitting import Submitting
from goflow.testing.suite.telling import Counting, Telling
from goflow.testing.suite.versions import Remembering
from goflow.testing.suite.watching import Watching
from goflow.testing.suite.wholesaling import Wholesaling

__all__ = ["BackendConformance", "BackendHooks"]


class BackendConformance(
    Submitting,
    Claiming,
    Committing,
    Branching,
    Staging,
    Attempting,
    Ending,
    Handling,
    Expiring,
    Pausing,
    Stopping,
    Controlling,
    Forgetting,
    Owning,
    Rounds,
    Rewinding,
    Browsing,
    Reading,
    Glimpsing,
    Logging,
    Speaking,
    Remembering,
    Watching,
    Listing,
    Telling,
    Counting,
    Wholesaling,
):
    """Every rule of the seam as a test; see `BackendHooks` for what a backend supplies."""
