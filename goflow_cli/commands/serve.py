"""`goflow serve`: the HTTP API and the dashboard, with a worker beside it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from goflow_cli.arguments import Name
from goflow_cli.exit_codes import DONE, USAGE
from goflow_cli.service_log import ServiceLog
from goflow_cli.session import Session, backend_option

if TYPE_CHECKING:
    from goflow.server.serving import Server


@click.command()
@click.argument("files", metavar="[FILE]...", type=Name(), nargs=-1)
@click.option("--port", metavar="N", type=int, help="0 takes any free one (goflow.toml: 8080).")
@click.option("--host", metavar="H", help="Others than 127.0.0.1 need a secret.")
@click.option("--no-worker", is_flag=True, help="Only serve; workers run elsewhere.")
@click.option("--reload", is_flag=True, help="Start the worker anew when a flow file changes.")
@backend_option
def serve(
    files: tuple[str, ...],
    port: int | None,
    host: str | None,
    no_worker: bool,
    reload: bool,
    backend: str | None,
) -> int:
    """Serve the HTTP API and the dashboard, and work on the flows in FILEs (else goflow.toml's).

    The worker is a process of its own. SIGTERM, Ctrl-C or a terminal that closes drains both: what is
    under way is answered first. A file that cannot be loaded is told here and on the dashboard; the others are served. Where none
    can be, serve ends, unless --reload waits for it to be mended.
    """
    from goflow.server.serving import serve as serve_http
    from goflow_cli.beside import Keeper, Orders

    start = files[0] if files else None
    config = Session(start, backend, serve__port=port, serve__host=host).config
    log = ServiceLog(config.logs.format)
    named = tuple(os.path.abspath(file) for file in files)  # noqa: PTH100
    orders = Orders(config=config, files=named, take_tasks=not no_worker)
    keeper: Keeper | None = None
    failed = False

    def started(server: Server, url: str) -> None:
        nonlocal keeper

        def fail() -> None:
            nonlocal failed
            failed = True
            server.drain()

        log.say("started", f"goflow serve: {url} (Ctrl-C drains)", url=url)
        if named or config.flows:
            keeper = Keeper(orders, reload=reload, failed=fail, told=server.tell_problems)
            keeper.start()
        elif not no_worker:
            log.say(
                "no worker",
                "goflow serve: no flow files, so no worker: name some, or start `goflow worker`",
                "warning",
            )

    try:
        serve_http(config, started=started)
    finally:
        if keeper is not None:
            keeper.end()
    log.say("drained", "goflow serve: drained")
    return USAGE if failed else DONE
