"""`goflow top`: a live page of flows, queues and workers."""

from __future__ import annotations

import os
import sys
import time

import click
import msgspec

from goflow.drawing.look import paint
from goflow.standing import Standing, Watcher
from goflow_cli.session import Asking, backend_option, json_option
from goflow_cli.told import print_json, run_json
from goflow_cli.views.drawing import Screen, screen
from goflow_cli.waiting import Seconds

#: seconds between two looks, at least and at most: a page that loads the store is no help
SOONEST = 1.0
LATEST = 86_400.0


@click.command()
@click.option(
    "--interval",
    metavar="SECONDS",
    type=Seconds(SOONEST, LATEST),
    default=SOONEST,
    show_default=True,
    help="Between two looks.",
)
@backend_option
@json_option
def top(interval: float, backend: str | None, as_json: bool) -> int:
    """Show flows, queues, workers and the newest runs, with rates, until q is pressed.

    Without a terminal, and with --json, it looks twice, one interval apart, and prints that. Rates come
    from counters that workers hand over once a second.
    """
    store = Asking(None, backend).backend
    watcher = Watcher(store)
    live = sys.stdout.isatty() and os.environ.get("TERM") != "dumb" and not as_json
    if live:
        from goflow_cli.views.fullscreen import show

        show(watcher, store.name, interval)
        return 0
    watcher.look()
    time.sleep(interval)
    now = watcher.look()
    if as_json:
        print_json(_told(now))
        return 0
    from goflow_cli.views.top import page

    seen = screen(sys.stdout)
    wide = seen.width if sys.stdout.isatty() or os.environ.get("COLUMNS") else 200
    for line in page(now, store.name, Screen(wide, 0, seen.color, seen.unicode)):
        print(paint(line, seen.color))
    return 0


def _told(now: Standing) -> dict[str, object]:
    told: dict[str, object] = msgspec.to_builtins(now)
    return told | {"runs": [run_json(run) for run in now.runs]}
