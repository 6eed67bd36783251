"""A program's own process: limits, walls, then the program; what it returns goes out as text.

In: open files (the request, standard input, output, error, results, a pipe to the warm process, and for tests in a
process of their own two pipes to that one) and limits. Out: what the program writes to those files, an exit code.
The program shares this process and may read or change anything in it: nothing here is secret, and whatever comes
out counts as said by the program. Right answers never come here. A request for tests makes this the process of
the tests (`examine`) instead, in a sandbox where no program runs.
"""

import atexit
import json
import os
import resource
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from types import ModuleType
from typing import Any

from dianoia.sandbox.guest import test_side as examine
from dianoia.sandbox.guest.program_side import Server
from dianoia.sandbox.guest.values import encode
from dianoia.sandbox.guest.walls import Walls

RESULTS_FD, _CLOSED_FD = 3, 4
_STACK_BYTES = 64 * 2**20
"""What deep recursion through C code may take, such as that of a cached function."""
_OPEN_FILES = 64
OUT_OF_MEMORY = b"memory\n"


def run(files: list[int], limits: dict[str, Any], folder: str, walls: Walls) -> None:
    """Become the program. Never returns."""
    code = 1
    try:
        request = _take_files(files)
        _set_limits(limits, walls.more_processes)
        os.chdir(folder)
        walls.close()
        _say_closed()
        code = RUNNERS[request["language"]](request)
    except MemoryError:
        os.write(RESULTS_FD, OUT_OF_MEMORY)
    finally:
        os._exit(code & 0xFF)


def _take_files(files: list[int]) -> dict[str, Any]:
    """Read the request; put the others at 0 to 4, a channel at 5 and 6, and close whatever else is open."""
    request, *streams = files
    text = os.pread(request, os.fstat(request).st_size, 0)
    # Away from the places they are about to be put at.
    aside = [os.dup2(fd, 200 + index, False) for index, fd in enumerate(streams)]
    for place, fd in enumerate(aside):
        os.dup2(fd, place)
    os.closerange(len(aside), 1024)
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def _say_closed() -> None:
    """From here on what happens is the program's doing."""
    os.write(_CLOSED_FD, b"1")
    os.close(_CLOSED_FD)


def _set_limits(limits: dict[str, Any], more_processes: int | None) -> None:
    os.setsid()
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    cpu = max(1, -int(-limits["cpu_seconds"] // 1))
    values = {
        resource.RLIMIT_CPU: cpu,
        resource.RLIMIT_AS: limits["memory_bytes"],
        resource.RLIMIT_FSIZE: max(limits["file_bytes"], limits["output_bytes"] + 1),
        resource.RLIMIT_NOFILE: _OPEN_FILES,
        resource.RLIMIT_CORE: 1,  # 0 would still start the handler that a host may pipe cores to
    }
    if more_processes is not None:
        values[resource.RLIMIT_NPROC] = limits["processes"] + more_processes
    for which, value in values.items():
        _lower(which, value)
    hard = resource.getrlimit(resource.RLIMIT_STACK)[1]
    if hard == resource.RLIM_INFINITY or hard >= _STACK_BYTES:
        resource.setrlimit(resource.RLIMIT_STACK, (_STACK_BYTES, hard))


def _lower(which: int, value: int) -> None:
    hard = resource.getrlimit(which)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    try:
        resource.setrlimit(which, (value, value))
    except ValueError:  # macOS has no limit on memory
        return


def run_python(request: dict[str, Any]) -> int:
    """Run a Python program, then evaluate what the request asks for; the exit code."""
    sys.set_int_max_str_digits(0)  # time and the size of the output are limits enough
    if "units" in request:
        return examine.run_tests(request)
    steps, serves = request["steps"], request["serves"]
    name = "solution" if steps or serves else "__main__"
    module = ModuleType(name)
    sys.modules[name] = module
    sys.argv = ["program.py"]

    def program() -> None:
        for source in (request["prelude"], request["source"]):
            exec(compile(source, "program.py", "exec", dont_inherit=True), module.__dict__)  # noqa: S102

    code = _guarded(program, request["any_status"])
    if not (steps or serves):
        return _finish(code)
    if code == 0:
        for number, step in enumerate(steps):
            _take_step(number, step, module.__dict__)
    if code == 0 and serves:
        Server(module.__dict__).serve()
    return code


def _guarded(action: Callable[[], None], any_status: bool = False) -> int:
    """Run like a script would: 0, the status of `sys.exit` (0 with `any_status`), or 1 with a traceback."""
    try:
        action()
    except SystemExit as stop:
        return 0 if any_status else _status(stop.code)
    except MemoryError:
        raise
    except BaseException:  # noqa: BLE001 (whatever a program raises is its result)
        traceback.print_exc(limit=-8)
        return 1
    return 0


def _status(code: object) -> int:
    if code is None or isinstance(code, int):
        return int(code or 0)
    print(code, file=sys.stderr)  # noqa: T201 (as Python does)
    return 1


def _finish(code: int) -> int:
    """The end of an ordinary Python process: threads, exit handlers, buffers."""

    def end() -> None:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()

    return _guarded(end) or code


def _take_step(number: int, step: list[str], names: dict[str, Any]) -> None:
    """Run a statement, or evaluate an expression and write its value."""
    kind, source = step
    try:
        if kind == "do":
            exec(compile(source, "test", "exec"), names)  # noqa: S102
            return
        line = [number, "value", encode(eval(compile(source, "test", "eval"), names))]  # noqa: S307
    except MemoryError:
        raise
    except BaseException as error:  # noqa: BLE001 (whatever a program raises is its result)
        line = [number, "error", f"{type(error).__name__}: {_message(error)}"]
    os.write(RESULTS_FD, json.dumps(line).encode() + b"\n")


def _message(error: BaseException) -> str:
    try:
        return str(error)[:200]
    except Exception:  # noqa: BLE001 (__str__ is the program's)
        return "(it has no message)"


RUNNERS: dict[str, Callable[[dict[str, Any]], int]] = {"python": run_python}
"""By language. Another one writes its source to the folder, compiles it and becomes it."""
