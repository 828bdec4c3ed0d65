"""The worker beside `goflow serve`: another process, so that user code never runs in the server.

`python -m goflow_cli.beside` reads its orders as one line of JSON from stdin and works until SIGTERM, or until
stdin ends: that happens however its server ends. A `Keeper` in the server's process starts it, starts it
again when it dies or (with `reload`) when a flow file changes, and drains it. Flow files that cannot be
loaded do not keep it from working on the others: what is wrong with them is told to the Keeper.
"""

# ruff: noqa: PTH100, PTH118, PTH123, PTH207

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final

import msgspec

from goflow.config import Config, Serve
from goflow.own import command, reason
from goflow_cli.exit_codes import USAGE
from goflow_cli.service_log import ServiceLog

#: seconds between two looks at the flow files, and before a worker that died is started again
_PACE: Final = 0.5
_PAUSE: Final = 2.0
#: what of the environment is the server's alone
_SECRETS: Final = ("GOFLOW_SERVE_SECRET", "GOFLOW_SERVE_SECRET_FILE")


class Orders(msgspec.Struct, frozen=True, kw_only=True):
    """What to work on: flow files, or the configuration's where none are named. With `take_tasks` False
    it only registers them. `report` is the descriptor to which the problems of the files go."""

    config: Config
    files: tuple[str, ...] = ()
    take_tasks: bool = True
    report: int = -1


class Keeper:
    """The worker process of a server, and the thread that looks after it.

    `failed` is called when no flow at all can be loaded and nobody watches for changes, `told` with what is
    wrong with the flow files whenever they were loaded.
    """

    def __init__(
        self,
        orders: Orders,
        *,
        reload: bool,
        failed: Callable[[], None],
        told: Callable[[list[str]], None],
    ) -> None:
        # the secret is the server's alone
        config = msgspec.structs.replace(orders.config, serve=Serve())
        self._log = ServiceLog(config.logs.format)
        self._orders = msgspec.structs.replace(orders, config=config)
        self._reload = reload
        self._failed = failed
        self._told = told
        self._ending = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._keep, name="goflow-keeper", daemon=True)

    def start(self) -> None:
        """Start the worker."""
        self._thread.start()

    def end(self) -> None:
        """Drain it: running tasks get `worker.grace` seconds. Blocks."""
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join()
        self._drain()

    def _keep(self) -> None:
        seen = dict(self._times())
        process = self._spawn()
        while not self._ending.wait(_PACE):
            if self._reload:
                now = dict(self._times())
                if now != seen:
                    seen = now
                    self._log.say(
                        "reload", "goflow serve: flow files changed, starting the worker anew"
                    )
                    self._drain()
                    process = self._spawn()
                    continue
            code = process.poll()
            if code is None or (code == 0 and not self._orders.take_tasks):
                continue
            if code == USAGE:
                if not self._reload:
                    self._failed()
                    return
            else:
                self._log.say(
                    "worker ended",
                    f"goflow serve: the worker ended ({reason(code)}), starting it again",
                    "warning",
                )
                if self._ending.wait(_PAUSE):
                    return
                process = self._spawn()

    def _spawn(self) -> subprocess.Popen[bytes]:
        """In a session of its own: Ctrl-C in a terminal reaches the server alone, which drains it in
        its turn."""
        hears, tells = os.pipe()
        self._process = process = subprocess.Popen(
            command("goflow_cli.beside"),
            stdin=subprocess.PIPE,
            start_new_session=True,
            pass_fds=(tells,),
            env={name: value for name, value in os.environ.items() if name not in _SECRETS},
        )
        os.close(tells)
        threading.Thread(target=self._hear, args=(hears,), daemon=True).start()
        assert process.stdin is not None
        orders = msgspec.structs.replace(self._orders, report=tells)
        with suppress(BrokenPipeError):
            process.stdin.write(msgspec.json.encode(orders) + b"\n")
            process.stdin.flush()
        return process

    def _hear(self, hears: int) -> None:
        """Pass on what it says about its flow files; nothing comes where it died before."""
        with open(hears, "rb") as report:
            line = report.readline()
        if line:
            self._told(msgspec.json.decode(line, type=list[str]))

    def _drain(self) -> None:
        process = self._process
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(self._orders.config.worker.grace + 10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdin is not None:
            with suppress(BrokenPipeError):
                process.stdin.close()

    def _times(self) -> Iterator[tuple[str, int]]:
        """When the flow files, and what lies beside them, were changed last."""
        from glob import glob

        config = self._orders.config
        files = list(self._orders.files)
        if not files:
            for pattern in config.flows:
                files += glob(os.path.join(config.base, pattern), recursive=True)
        folders = sorted({os.path.dirname(os.path.abspath(file)) for file in files})
        for folder in filter(os.path.isdir, folders):
            for entry in os.scandir(folder):
                if entry.name.endswith(".py"):
                    with suppress(FileNotFoundError):
                        yield entry.path, entry.stat().st_mtime_ns


def main() -> int:
    """Work as the orders say."""
    from goflow_cli.main import answer

    orders = msgspec.json.decode(sys.stdin.buffer.readline(), type=Orders)
    return answer(lambda: _work(orders), debug=False)


def _work(orders: Orders) -> None:
    from goflow.backend import load_backend
    from goflow.errors import LoadError
    from goflow.host import register, serve_flows
    from goflow.loader import gather_all, gather_files
    from goflow.patience import patiently
    from goflow_cli.service_log import WorkerLog

    config = orders.config
    log = ServiceLog(config.logs.format)
    watching = WorkerLog(log)
    # before flow files change sys.path
    store = patiently(lambda: load_backend(config.backend, config), watching.troubled, full=True)
    if orders.files:
        flows, problems = gather_files(orders.files)
    else:
        flows, problems = gather_all(config.flows, config.base)
    with open(orders.report, "wb") as report:  # closed before there are children to inherit it
        report.write(msgspec.json.encode(problems) + b"\n")
    if not flows:
        raise LoadError("\n".join(problems) or "no flows to work on: name some in goflow.toml")
    for problem in problems:
        log.say("not loaded", f"goflow serve: not loaded: {problem}", "error")
    if not orders.take_tasks:
        for flow in flows.values():
            register(store, flow)
        return
    threading.Thread(target=_end_with_server, daemon=True).start()
    serve_flows(store, list(flows.values()), config, observer=watching)


def _end_with_server() -> None:
    """Drain when the server has gone without a word."""
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
