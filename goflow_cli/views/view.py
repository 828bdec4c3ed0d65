"""Which view a stream can show."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, TextIO

from goflow.overview import Overview
from goflow.plan import Plan

if TYPE_CHECKING:
    from goflow_cli.views.live import LiveView
    from goflow_cli.views.plain import PlainView


def view(
    plan: Plan,
    current: Callable[[], Overview],
    outline: Callable[[], Overview],
    stream: TextIO | None = None,
) -> LiveView | PlainView:
    """A live picture of `current` on a terminal that can move its cursor, plain lines of `outline` on anything else.

    >>> with view(plan, current, outline) as shown:  # doctest: +SKIP
    ...     while not ended():
    ...         wait(shown.tick())
    """
    stream = stream or sys.stderr
    if stream.isatty() and os.environ.get("TERM") != "dumb":
        from goflow_cli.views.live import LiveView

        return LiveView(plan, current, stream)
    from goflow_cli.views.plain import PlainView

    return PlainView(plan, outline, stream)
