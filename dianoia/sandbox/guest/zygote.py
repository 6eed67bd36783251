"""The warm process, or zygote: Python is started once behind the walls, and forked for every program.

"Zygote" is the usual term (Android, Chromium) for a process that loads everything and then only forks. A fork takes
milliseconds where a new interpreter takes tens of them.

In: over a socket, per program, a line of limits with five open files (request, standard input, output, error, results), and
two more if its tests run in a process of their own. Out: a line that says how the program ended. The zygote never reads
the files: it runs no code of a program and holds nothing that a later program could find. It ends when the socket closes.
"""

import gc
import importlib
import json
import os
import select
import signal
import site
import socket
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dianoia.sandbox.guest import program_process
from dianoia.sandbox.guest.walls import WALLS, Walls

READY = "ready"
FILES, CHANNEL_FILES = 5, 2
_MESSAGE_BYTES = 4096
_COUNT_SECONDS = 0.02
"""Time between two counts of a program's threads."""
# The modules that programs import most; loaded once here instead of once per program.
_PRELOADED = [
    "bisect",
    "collections",
    "copy",
    "dataclasses",
    "decimal",
    "fractions",
    "functools",
    "heapq",
    "io",
    "itertools",
    "json",
    "math",
    "operator",
    "random",
    "re",
    "statistics",
    "string",
    "typing",
]


def main(name: str, control_fd: int, folder_bytes: int, packages: str, *modules: str) -> None:
    """Enter the walls, report "ready" or the reason why not, and serve until the socket closes.

    Args:
        name: of the walls, in `WALLS`.
        control_fd: the socket to the caller.
        folder_bytes: size of the folder that a program may write to.
        packages: a folder that programs may import from, or "".
        modules: those of the folder's packages to load now.
    """
    control = socket.socket(fileno=control_fd)
    for module in _PRELOADED:
        importlib.import_module(module)
    site.setquit()  # exit() and quit(), which Python without its site-packages lacks
    site.sethelper()
    walls = WALLS[name](packages)
    _prefer_as_oom_victim()
    try:
        walls.enter(folder_bytes)
        # After the walls: packages are code of others, and see no more of the machine than programs do.
        _load(walls.packages_at, modules)
    except OSError as error:
        _send(control, {"state": f"{error.strerror or error}"})
        return
    except ImportError as error:
        _send(control, {"state": f"a package that it needs cannot be loaded: {error}"})
        return
    wakeup = _watch_children()
    # Objects that exist now are never collected again, so that their memory stays shared with the forks.
    gc.collect()
    gc.freeze()
    _send(control, {"state": READY})
    while _serve_one(control, wakeup, walls):
        pass


def _load(packages: str, modules: Iterable[str]) -> None:
    """Let programs import from a folder, and load some of its modules.

    Packages that write a cache into the home folder at their first import write it into a temporary one.
    """
    if not packages:
        return
    sys.path.append(packages)
    home = os.environ["HOME"]
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HOME"] = folder
        for module in modules:
            importlib.import_module(module)
    os.environ["HOME"] = home


def _prefer_as_oom_victim() -> None:
    """Have the kernel kill programs before any other process when the machine runs out of memory."""
    try:
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    except OSError:
        return


def _watch_children() -> int:
    """Return a file descriptor that becomes readable when a child ends, so that `select` can wait for it."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    return reader


def _send(control: socket.socket, message: dict[str, Any]) -> None:
    control.sendall(json.dumps(message).encode() + b"\n")


def _serve_one(control: socket.socket, wakeup: int, walls: Walls) -> bool:
    """Run one program; return False if the caller has closed the socket."""
    message, files, _, _ = socket.recv_fds(control, _MESSAGE_BYTES, FILES + CHANNEL_FILES)
    if not message:
        return False
    limits = json.loads(message)
    folder = walls.before()
    started = time.monotonic()
    pid, closed = _fork(files, limits, folder, walls)
    for fd in files:
        os.close(fd)
    max_threads = limits["processes"] if walls.counts_threads else None
    report = _wait(pid, control, wakeup, started + limits["wall_seconds"], max_threads)
    walls.after(pid)
    report["wall"] = time.monotonic() - started
    # The pipe is empty if the process died before its walls were closed: then no program has run.
    report["state"] = "ended" if os.read(closed, 1) else "walls"
    os.close(closed)
    _send(control, report)
    return True


def _fork(files: list[int], limits: dict[str, Any], folder: str, walls: Walls) -> tuple[int, int]:
    """Start the program's process; return its id, and a pipe that it writes to once its walls are closed."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        program_process.run([*files[:FILES], writer, *files[FILES:]], limits, folder, walls)
    os.close(writer)
    return pid, reader


def _wait(
    pid: int, control: socket.socket, wakeup: int, deadline: float, max_threads: int | None
) -> dict[str, Any]:
    """Wait until the program has ended, by force at the deadline; return how it ended and its CPU seconds.

    With `max_threads`, it is also ended when it has more threads than that.
    """
    late = crowded = False
    while True:
        ended_pid, status, usage = os.wait4(pid, 0 if late or crowded else os.WNOHANG)
        if ended_pid:
            cpu = usage.ru_utime + usage.ru_stime
            return {"status": status, "late": late, "crowded": crowded, "cpu": cpu}
        remaining = deadline - time.monotonic()
        watched: list[Any] = [control, wakeup]
        pause = remaining if max_threads is None else min(remaining, _COUNT_SECONDS)
        readable = select.select(watched, [], [], pause)[0] if remaining > 0 else []
        # The caller sends nothing while a program runs, so that a readable socket is a closed one.
        late = remaining <= 0 or control in readable
        crowded = max_threads is not None and not late and _threads(pid) > max_threads
        if late or crowded:
            os.kill(pid, signal.SIGKILL)
        elif wakeup in readable:
            os.read(wakeup, 512)  # empty the pipe


def _threads(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/task"))  # noqa: PTH208 (names are enough)
