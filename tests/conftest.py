"""What all tests need, whoever starts them."""

from __future__ import annotations

import signal

# A shell has what it starts in the background ignore SIGINT, and every process below inherits that: then no Ctrl-C of
# a test would reach anybody.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
