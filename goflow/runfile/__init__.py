"""A run as one file: written by `goflow export`, read by `goflow replay`. docs/export.md is the format.

JSON, one record a line: a header, the run, its request, its definition, then contexts, nodes, attempts and
pieces of logs, and an end that counts them, so that a file that was cut off is noticed. A payload is in it
once: what a node got is kept only where it is not simply what the node before it made.
"""

from goflow.runfile.read import InFile
from goflow.runfile.write import export

__all__ = ["InFile", "export"]
