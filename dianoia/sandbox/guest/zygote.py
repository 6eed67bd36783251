"""The warm process: Python is started once and forked for every program.

In: over a socket, a line of limits with five open files a program (request, standard input, output,
error, results), and two more where it and its tests run in processes of their own. Out: a line that says how the program ended. It never reads the files, so that
nothing of one program can be found by the next. It ends with the socket.
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

from dianoia.sandbox.guest import program_process as guest
from dianoia.sandbox.guest.walls import WALLS, Walls

READY = "ready"
FILES, CHANNEL_FILES = 5, 2
_MESSAGE_BYTES = 4096
_GLANCE_SECONDS = 0.02
"""How often threads are counted."""
# What programs import most; loaded once here instead of once a program.
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
    """Enter the walls, say ready (or why not) and serve until the socket closes.

    `packages` is a folder that programs may import from, or empty; `modules` of it are loaded once.
    """
    control = socket.socket(fileno=control_fd)
    for module in _PRELOADED:
        importlib.import_module(module)
    site.setquit()  # exit() and quit(), which Python without its site-packages lacks
    site.sethelper()
    walls = WALLS[name](packages)
    _volunteer()
    try:
        walls.enter(folder_bytes)
        _load(walls.packages_at, modules)
    except OSError as error:
        _send(control, {"state": f"{error.strerror or error}"})
        return
    except ImportError as error:
        _send(control, {"state": f"a package that it needs cannot be loaded: {error}"})
        return
    wakeup = _note_dead_children()
    gc.collect()
    gc.freeze()
    _send(control, {"state": READY})
    while _serve_one(control, wakeup, walls):
        pass


def _load(packages: str, modules: Iterable[str]) -> None:
    """Let programs import from a folder. Caches that packages write at their first start are thrown away."""
    if not packages:
        return
    sys.path.append(packages)
    home = os.environ["HOME"]
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HOME"] = folder
        for module in modules:
            importlib.import_module(module)
    os.environ["HOME"] = home


def _volunteer() -> None:
    """Let the kernel, when the machine runs out of memory, kill programs before anything else."""
    try:
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    except OSError:
        return


def _note_dead_children() -> int:
    """A file descriptor that becomes readable when a child ends."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    return reader


def _send(control: socket.socket, message: dict[str, Any]) -> None:
    control.sendall(json.dumps(message).encode() + b"\n")


def _serve_one(control: socket.socket, wakeup: int, walls: Walls) -> bool:
    """Run one program; False when the caller has gone."""
    message, files, _, _ = socket.recv_fds(control, _MESSAGE_BYTES, FILES + CHANNEL_FILES)
    if not message:
        return False
    limits = json.loads(message)
    folder = walls.before()
    started = time.monotonic()
    pid, closed = _fork(files, limits, folder, walls)
    for fd in files:
        os.close(fd)
    most = limits["processes"] if walls.counts_threads else None
    report = _wait(pid, control, wakeup, started + limits["wall_seconds"], most)
    walls.after(pid)
    report["wall"] = time.monotonic() - started
    report["state"] = "ended" if os.read(closed, 1) else "walls"
    os.close(closed)
    _send(control, report)
    return True


def _fork(files: list[int], limits: dict[str, Any], folder: str, walls: Walls) -> tuple[int, int]:
    """Start the program's process; its number, and a pipe that it writes to once it is walled in."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        guest.run([*files[:FILES], writer, *files[FILES:]], limits, folder, walls)
    os.close(writer)
    return pid, reader


def _wait(
    pid: int, control: socket.socket, wakeup: int, deadline: float, most: int | None
) -> dict[str, Any]:
    """Wait until the program has ended, if need be by force; how it ended and what it used.

    With `most`, it is stopped when it has more threads than that.
    """
    late = crowded = False
    while True:
        found, status, usage = os.wait4(pid, 0 if late or crowded else os.WNOHANG)
        if found:
            cpu = usage.ru_utime + usage.ru_stime
            return {"status": status, "late": late, "crowded": crowded, "cpu": cpu}
        left = deadline - time.monotonic()
        watched: list[Any] = [control, wakeup]
        pause = left if most is None else min(left, _GLANCE_SECONDS)
        readable = select.select(watched, [], [], pause)[0] if left > 0 else []
        late = left <= 0 or control in readable  # nothing is sent while a program runs: it closed
        crowded = most is not None and not late and _threads(pid) > most
        if late or crowded:
            os.kill(pid, signal.SIGKILL)
        elif wakeup in readable:
            os.read(wakeup, 512)


def _threads(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/task"))  # noqa: PTH208 (names are enough)
