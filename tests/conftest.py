"""What all tests need, whoever starts them."""

from __future__ import annotations

import signal

from hypothesis import settings

settings.register_profile("goflow", deadline=None)  # a busy machine is no defect of what is tested
settings.load_profile("goflow")

# A shell has what it starts in the background ignore SIGINT, and every process below inherits that: then no Ctrl-C of
# a test would reach anybody.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
# and `nohup` has it ignore SIGHUP: then no terminal that a test closes would be heard of
if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
