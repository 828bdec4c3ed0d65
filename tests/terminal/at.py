"""`python -m tests.terminal.at NOW COMMANDS`: goflow commands one after the other, at a time that stands still.

COMMANDS is a JSON list of argument lists; before each a record separator goes to the terminal.
"""

from __future__ import annotations

import json
import sys
import time

from goflow_cli.main import main
from goflow_cli.streams import prepare

#: what separates the output of two commands
MARK = "\x1e"

if __name__ == "__main__":
    now = float(sys.argv[1])
    time.time = lambda: now
    prepare()
    for command in json.loads(sys.argv[2]):
        sys.stdout.write(MARK)
        sys.stdout.flush()
        main(command)
        sys.stdout.flush()
        sys.stderr.flush()
