"""The entry point of the command line: parses arguments, runs one command, turns errors into exit statuses."""

import argparse
import os
import select
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from io import TextIOWrapper

import dianoia
from dianoia.base.errors import StageCrashed, Stopped, UserError
from dianoia.base.faults import fault_message
from dianoia.cli import (
    ask,
    chat,
    claims,
    completion,
    demo,
    doctor,
    evaluate,
    help_topic,
    new,
    report,
    run,
    runs,
    serve,
    show,
    simulate,
    tasks,
    track,
)

_COMMANDS = (
    demo,
    new,
    run,
    runs,
    show,
    report,
    ask,
    chat,
    serve,
    evaluate,
    claims,
    track,
    tasks,
    simulate,
    doctor,
    help_topic,
    completion,
)
"""The modules of the commands, in the order of the help."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status.

    0: success. 1: gold answers that are not right, or an error of the program. 2: an error that the user can fix.
    130: Ctrl-C. 143: SIGTERM. 141: the program that reads the output has ended.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            # A character that the terminal cannot show must not end the command.
            stream.reconfigure(errors="replace")
    commands = parser()
    completion.complete(commands)
    arguments = commands.parse_args(argv)
    # Set by each `add_parser`; it returns None for success.
    command: Callable[[argparse.Namespace], int | None] = arguments.command
    try:
        status = command(arguments) or 0
        sys.stdout.flush()  # here, so that a full disk or a closed pipe is an error of this command
        return status
    except UserError as error:
        return _report_error(str(error), _exit_status(error))
    except StageCrashed as error:
        return _report_error(str(error), 1)
    except KeyboardInterrupt as interrupt:
        message = str(interrupt) or "interrupted"
        return _report_error(message, _signal_status(message))
    except Exception as error:
        if _is_closed_output(error):
            return 141
        fault = fault_message(error)
        if fault is None:
            raise
        # Files of a run are named by `error_path`. An error without a name comes from the output.
        unnamed = isinstance(error, OSError) and error.errno is not None and error.filename is None
        return _report_error(f"the output of this command: {fault}" if unnamed else fault, 2)


def parser() -> argparse.ArgumentParser:
    """Return the parser of every command; the parsed `command` runs it."""
    root = argparse.ArgumentParser(
        prog="dianoia", description="Trains reasoning models the way DeepSeek-R1 was trained."
    )
    root.add_argument("--version", action="version", version=dianoia.__version__)
    commands = root.add_subparsers(required=True, metavar="COMMAND")
    for module in _COMMANDS:
        module.add_parser(commands)
    return root


def _report_error(message: str, status: int) -> int:
    # Standard error may be closed or full too; then the exit status has to do.
    with suppress(OSError):
        print(f"dianoia: {message}", file=sys.stderr)
    return status


def _exit_status(error: UserError) -> int:
    return _signal_status(str(error)) if isinstance(error, Stopped) else 2


def _signal_status(message: str) -> int:
    """Return 128 plus the number of the signal that a message names, as shells have it."""
    return 143 if "SIGTERM" in message else 130


def _is_closed_output(error: Exception) -> bool:
    """Return True if the reader of the output has ended, such as `head`; further output then goes nowhere."""
    if not isinstance(error, BrokenPipeError):
        return False
    # Asked of the pipe itself: a text larger than the buffer is dropped when it fails, so that a flush succeeds.
    poll = select.poll()
    try:
        poll.register(sys.stdout.fileno(), 0)
    except OSError:  # no file, as in a test that captures the output
        return False
    if not any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0)):
        return False
    # Python flushes standard output once more at exit and would raise again.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return True


if __name__ == "__main__":
    sys.exit(main())
