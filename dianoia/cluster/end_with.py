"""A program that ends with the process that started it: `python -m dianoia.cluster.end_with MODULE ARGUMENTS`.

Standard input is a pipe to that process. When the pipe closes, because it has ended in whatever way, the group of this process
is killed, and with it everything that the program has started.
"""

import os
import runpy
import signal
import sys
import threading


def _end_with(pipe: int) -> None:
    while os.read(pipe, 1024):
        pass
    os.killpg(0, signal.SIGKILL)


def main() -> None:
    """Run a module as a program."""
    # Workers of Ray ignore or block Ctrl-C, and both are inherited.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})
    # A number of its own: a program that reads its standard input would otherwise read the pipe.
    pipe = os.dup(0)  # not inherited by programs
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    # Before the module runs, whose imports take seconds in which the parent may end.
    threading.Thread(target=_end_with, args=(pipe,), name="end-with", daemon=True).start()
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
