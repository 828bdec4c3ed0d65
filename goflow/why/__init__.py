"""Why a run, or a node of it, is where it is, and what to do about it.

Every answer is a list of `Reason`s, the decisive one first. They are read from the store and from nothing else: a
collector, a log or a live worker may all be missing.
"""

from goflow.why.node import why_node
from goflow.why.reason import Reason
from goflow.why.run import why_run

__all__ = ["Reason", "why_node", "why_run"]
