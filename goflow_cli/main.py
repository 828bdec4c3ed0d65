"""`goflow`: the group of commands, each loaded only when it is called.

Every error ends here: one message on stderr and the exit code of SPEC 4, never a traceback unless
`--debug` asks for it.
"""

from __future__ import annotations

import errno
import gc
import os
import signal
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Final, NoReturn

import click

from goflow.errors import GoflowError
from goflow_cli.exit_codes import FAILED, INTERRUPTED, TIMED_OUT, UNREAD, USAGE
from goflow_cli.streams import prepare

#: set where a shell asks what a word may be completed to
_COMPLETING: Final = "_GOFLOW_COMPLETE"

#: command -> (module, help): the help stands here so that `goflow --help` loads no command
COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "run": ("run", "Run a flow to its end and print its result."),
    "submit": ("submit", "Hand a run to the backend's workers."),
    "worker": ("worker", "Execute tasks until stopped."),
    "serve": ("serve", "Serve the HTTP API and the dashboard."),
    "graph": ("graph", "Draw a flow, or a run of it."),
    "check": ("check", "Load and validate flows and configuration."),
    "runs": ("runs", "List runs, the newest first."),
    "show": ("show", "What happened in a run."),
    "result": ("result", "What came out of a run."),
    "logs": ("logs", "What a run's nodes printed."),
    "pause": ("control", "Let a run's nodes finish and start nothing more."),
    "resume": ("control", "Go on with a paused run."),
    "stop": ("control", "Stop a run and kill what it is executing."),
    "retry": ("retry", "Go on from the unfinished nodes of a run that ended."),
    "trace": ("trace", "Where a run's time went: a waterfall with the critical path."),
    "top": ("top", "A live page of flows, queues and workers."),
    "explain": ("explain", "Why a run or a node is where it is."),
    "debug": ("debug", "Run a node again here, on its recorded input."),
    "export": ("export", "Write a run as one file."),
    "replay": ("replay", "Run an exported run again, and say what differs."),
    "flows": ("flows", "The flows that are known."),
    "workers": ("workers", "Who is working on what."),
    "dead": ("dead", "Runs that failed: list, show, retry, drop."),
    "doctor": ("doctor", "Check configuration, flows, versions and the store."),
    "init": ("init", "Write a starter flow and goflow.toml."),
    "completion": ("completion", "Print the shell completion script."),
}


#: commands that read, answer and end: looking for garbage meanwhile would be a sixth of their time
QUICK: Final = frozenset({"explain", "trace", "graph"})


class LazyGroup(click.Group):
    """Imports a command's module when the command is called, not before."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"goflow_cli.commands.{COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from goflow.errors import nearest

            hint = nearest(args[0], COMMANDS) or "; `goflow --help` lists them"
            raise click.UsageError(f"no command {args[0]!r}{hint}", ctx)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            name = ctx.invoked_subcommand
            if (
                error.ctx is None and name
            ):  # click's own parser does not say which command it was at
                error.ctx = click.Context(click.Command(name), parent=ctx, info_name=name)
            raise

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.version_option(None, "--version", package_name="goflow-cli", prog_name="goflow")
def cli(debug: bool) -> None:
    """Flows of plain Python functions: on your laptop, or on many machines.

    \b
    goflow init                            a first flow.py and goflow.toml
    goflow run flow.py --data hallo        run it here
    goflow graph flow.py                   draw it
    """


def run(arguments: list[str] | None = None) -> NoReturn:
    """The console script's entry."""
    arguments = sys.argv[1:] if arguments is None else arguments
    prepare()
    if (
        signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN
    ):  # inherited: no child could be waited for
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if arguments and arguments[0] in QUICK:
        gc.disable()
    code = main(arguments)
    try:
        sys.stdout.flush()
    except OSError:  # whoever read our output has gone
        code = code or UNREAD
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    # Everything durable is done: skipping the interpreter's tidying saves 10 ms of a small run.
    sys.stderr.flush()
    os._exit(code)


def main(arguments: list[str]) -> int:
    """Run one command line and answer its exit code."""
    arguments = arguments or ["--help"]
    debug = "--debug" in arguments
    if debug:  # it may stand anywhere: whoever adds it to a failed command adds it at the end
        arguments = ["--debug", *(a for a in arguments if a != "--debug")]
    try:
        return answer(lambda: cli.main(arguments, "goflow", standalone_mode=False), debug)
    except SystemExit as left:
        if _COMPLETING in os.environ and isinstance(left.code, int):
            return left.code
        return UNREAD  # what click makes of a broken pipe, and of nothing else here


def answer(work: Callable[[], object], debug: bool) -> int:
    """Do it, and turn whatever it raises into one message and an exit code."""
    try:
        code = work()
        return code if isinstance(code, int) else 0
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.UsageError as error:
        return _usage(error)
    except click.ClickException as error:
        return _fail(error.format_message(), USAGE, debug)
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except GoflowError as error:
        return _fail(str(error), error.exit_code, debug)
    except TimeoutError as error:
        return _fail(str(error), TIMED_OUT, debug)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return UNREAD
    except OSError as error:
        return _fail(_system(error), FAILED, debug)
    except Exception as error:  # noqa: BLE001 - a mistake of ours, still one message
        return _fail(_ours(error), FAILED, debug)


def _ours(error: Exception) -> str:
    return f"{type(error).__name__}: {error} (this is a mistake in goflow; `--debug` shows where)"


#: what the system has no more of, by errno, and the way out
_LACKING: Final = {
    errno.ENOSPC: "write to what has room",
    errno.EDQUOT: "write to what has room",
    errno.EFBIG: "write to what has room, or raise the limit (`ulimit -f`)",
    errno.EIO: "is what is written to still there?",
    errno.EMFILE: "raise the limit (`ulimit -n`), or use a lower --concurrency",
    errno.ENFILE: "the whole system has no more; end what holds many",
    errno.ENOMEM: "free some memory, or use a lower --concurrency",
    errno.EAGAIN: "raise the limit of processes (`ulimit -u`), or use a lower --concurrency",
}


def _system(error: OSError) -> str:
    """What the system refused; where that is no lack of something, the mistake is ours."""
    way_out = _LACKING.get(error.errno or 0)
    if way_out is None:
        return _ours(error)
    doing = "" if error.filename is None else f"{error.filename}: "
    return f"{doing}{error.strerror}: {way_out}"


def _usage(error: click.UsageError) -> int:
    where = error.ctx.command_path if error.ctx else "goflow"
    from goflow_cli.session import note

    if isinstance(
        error, click.exceptions.NoArgsIsHelpError
    ):  # `goflow dead`: the help is the way out
        note(error.format_message())
        return USAGE
    note(f"{where}: {error.format_message()}\nTry `{where} --help`.")
    return USAGE


def _fail(message: str, code: int, debug: bool) -> int:
    if debug:
        import traceback

        traceback.print_exc()
    from goflow_cli.session import note

    note(f"goflow: {message}")
    return code


if __name__ == "__main__":
    run()
