"""`python -m goflow_cli`: the command under a certain interpreter, on the PATH or not."""

from goflow_cli.main import run

run()
