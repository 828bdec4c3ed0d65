"""What `goflow` ends with. Scripts rely on these numbers; they do not change."""

from __future__ import annotations

from typing import Final

#: done: the run succeeded, the question is answered
DONE: Final = 0
#: the run failed, or `check` or `doctor` found problems
FAILED: Final = 1
#: wrong usage or configuration, a bad flow file, an unknown name, a conflict
USAGE: Final = 2
#: the time to wait is over, or the run is not finished yet
TIMED_OUT: Final = 3
#: the run was stopped
STOPPED: Final = 4
#: Ctrl-C, as shells count it: 128 and the signal's number
INTERRUPTED: Final = 130
#: whoever read our output has gone (`goflow runs | head -1`): what a shell makes of SIGPIPE
UNREAD: Final = 141
