"""What `goflow worker` and `goflow serve` write while they serve: one line an event, for people or programs.

`logs.format = "text"` gives `12:03:01 RUN NODE: ...`; `"json"` gives one object a line, with `time` (ISO 8601, UTC),
`level`, `event`, `message` and what else belongs to the event (`run_id`, `node`, `attempt`, `error`).
"""

from __future__ import annotations

import json
import sys
import time
from typing import Literal

from goflow.errors import BackendError
from goflow.message import Outcome, Task
from goflow_cli.session import harmless, note
from goflow_cli.views.output import harmless as harmless_line
from goflow_cli.watching import Echo

Format = Literal["text", "json"]
Level = Literal["info", "warning", "error"]


class ServiceLog:
    """Writes events to stderr in the configured format."""

    def __init__(self, format: Format) -> None:
        self.format = format

    def say(self, event: str, message: str, level: Level = "info", **more: object) -> None:
        """Tell of the service itself: it has started, is drained, is in trouble."""
        if self.format == "json":
            self._json(event, message, level, more)
        else:
            note(message)

    def tell(self, event: str, message: str, level: Level, task: Task, **more: object) -> None:
        """Tell of a task."""
        if self.format == "json":
            told = {"run_id": task.run_id, "node": task.path, "attempt": task.attempt}
            self._json(event, message, level, told | more)
            return
        clock = time.strftime("%H:%M:%S")
        sys.stderr.write(harmless(f"{clock} {task.run_id} {task.path}: {message}") + "\n")
        sys.stderr.flush()

    def _json(self, event: str, message: str, level: Level, more: dict[str, object]) -> None:
        now = time.time()
        stamp = (
            time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1000):03d}Z"
        )
        told = {"time": stamp, "level": level, "event": event, "message": message, **more}
        sys.stderr.write(json.dumps(told) + "\n")
        sys.stderr.flush()


class WorkerLog(Echo):
    """What a worker tells: each failure, each trouble with the store, and what nodes print."""

    def __init__(self, log: ServiceLog) -> None:
        super().__init__()
        self._log = log
        self._draining = False
        #: tasks that went back to the store since it began to drain
        self.handed_back = 0

    def speaker(self, task: Task) -> str:
        return f"{task.run_id} {task.path}"

    def show(self, task: Task, data: bytes) -> None:
        if self._log.format == "text":
            super().show(task, data)
            return
        for line in data.removesuffix(b"\n").split(b"\n"):
            self._log.tell("printed", harmless_line(line), "info", task)

    def finished(self, outcome: Outcome, accepted: bool) -> None:
        super().finished(outcome, accepted)
        task, error = outcome.task, str(outcome.failure)
        self.handed_back += self._draining and outcome.released
        if not accepted:
            self._log.tell("late", "finished too late, another worker has it", "warning", task)
        elif outcome.failure is not None and outcome.retry_at is not None:
            self._log.tell("retrying", f"{error}, will be retried", "warning", task, error=error)
        elif outcome.failure is not None:
            self._log.tell("failed", error, "error", task, error=error)

    def draining(self, running: int, grace: float) -> None:
        self._draining = True
        if running:
            message = (
                f"goflow worker: draining: {_tasks(running)} may run for {grace:.0f} s more"
                " (again hands back at once)"
            )
            self._log.say("draining", message, running=running, grace=round(grace, 3))

    def drained(self) -> None:
        """Tell that nothing is held any more."""
        back = f", {_tasks(self.handed_back)} handed back" if self.handed_back else ""
        self._log.say("drained", f"goflow worker: drained{back}", handed_back=self.handed_back)

    def troubled(self, error: BackendError) -> None:
        message = f"{error} (trying again)"
        if self._log.format == "json":
            self._log.say("trouble", message, "error")
        else:
            self._log.say("trouble", f"{time.strftime('%H:%M:%S')} {message}", "error")


def _tasks(count: int) -> str:
    return "1 task" if count == 1 else f"{count} tasks"
