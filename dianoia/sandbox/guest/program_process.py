"""A program's own process: set limits, close the walls, run the program, write what it returns as text.

In: open files (the request, standard input, output, error, results, a pipe to the warm process; for tests in a process of
their own, also two pipes to that one) and limits. Out: what the program writes to those files, and an exit code. The
program shares this process and may read or change anything in it. So nothing here is secret, expected answers never come
here, and everything that comes out is treated as the program's own claim.

A request for tests makes this the process of the tests (`test_side`) instead, in a sandbox where no program runs. The
program then stays in this process and serves calls from there (`Server`).
"""

import atexit
import json
import operator
import os
import resource
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from dianoia.sandbox.guest import test_side
from dianoia.sandbox.guest.channel import Channel, Closed, described, rebuilt
from dianoia.sandbox.guest.values import decode, encode
from dianoia.sandbox.guest.walls import Walls

RESULTS_FD, _CLOSED_FD = 3, 4
_STACK_BYTES = 64 * 2**20
"""Stack for deep recursion through C code, such as that of a cached function."""
_OPEN_FILES = 64
OUT_OF_MEMORY = b"memory\n"
_MAX_OBJECTS = 1_000_000
"""Objects that the tests may refer to at a time; they are kept alive."""


def run(files: list[int], limits: dict[str, Any], folder: str, walls: Walls) -> None:
    """Become the program. Never returns."""
    code = 1
    try:
        request = _take_files(files)
        # Limits first, walls last: closing the walls takes away the rights that the steps before it need.
        _set_limits(limits, walls.more_processes)
        os.chdir(folder)
        walls.close()
        _report_closed()
        code = RUNNERS[request["language"]](request)
    except MemoryError:
        os.write(RESULTS_FD, OUT_OF_MEMORY)
    finally:
        os._exit(code & 0xFF)


def _take_files(files: list[int]) -> dict[str, Any]:
    """Read the request; move the other files to 0 to 4, a channel to 5 and 6, and close everything else that is open."""
    request, *streams = files
    text = os.pread(request, os.fstat(request).st_size, 0)
    # First away from the low numbers, so that moving one file does not overwrite another that is still to be moved.
    copies = [os.dup2(fd, 200 + index, False) for index, fd in enumerate(streams)]
    for number, fd in enumerate(copies):
        os.dup2(fd, number)
    # Any other open file, such as the warm process's socket, would be a way out.
    os.closerange(len(copies), 1024)
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def _report_closed() -> None:
    """Tell the warm process that the walls are closed: any failure after this is the program's own."""
    os.write(_CLOSED_FD, b"1")
    os.close(_CLOSED_FD)


def _set_limits(limits: dict[str, Any], more_processes: int | None) -> None:
    os.setsid()
    # The warm process's wake-up pipe and handlers are not the program's.
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    cpu = max(1, -int(-limits["cpu_seconds"] // 1))  # rounded up
    values = {
        resource.RLIMIT_CPU: cpu,
        resource.RLIMIT_AS: limits["memory_bytes"],
        # One byte above the limit of output, so that an output that was cut can be told from one that just fits.
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
    """Lower the soft and the hard limit, which the program then cannot raise again."""
    hard = resource.getrlimit(which)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    try:
        resource.setrlimit(which, (value, value))
    except ValueError:  # macOS has no limit on memory
        return


# Python programs ----------------------------------------------------------------------------------


def run_python(request: dict[str, Any]) -> int:
    """Run a Python program, then evaluate the steps of the request or serve its tests; return the exit code."""
    sys.set_int_max_str_digits(0)  # time and output size are limits enough
    if "units" in request:
        return test_side.run_tests(request)
    steps, serves = request["steps"], request["serves"]
    # With steps or tests the program is imported as a module, so that its `if __name__ == "__main__"` part does not run.
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
    """Run as a script would; return 0, the status of `sys.exit` (0 with `any_status`), or 1 with a traceback."""
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
    """End like an ordinary Python process: wait for threads, run exit handlers, flush; return the exit code."""

    def end() -> None:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()

    return _guarded(end) or code


def _take_step(number: int, step: list[str], names: dict[str, Any]) -> None:
    """Run a statement, or evaluate an expression and write its value as a line of the results."""
    action, source = step
    try:
        if action == "do":
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
"""Runner by language. One for a compiled language would write the source to the folder, compile it and exec the result."""


# Serving the tests --------------------------------------------------------------------------------


def _call(target: Any, /, *arguments: Any, **keywords: Any) -> Any:
    return target(*arguments, **keywords)


OPERATIONS: Mapping[str, Callable[..., Any]] = {
    "call": _call,
    "getattr": getattr,
    "setattr": setattr,
    "delattr": delattr,
    "getitem": operator.getitem,
    "setitem": operator.setitem,
    "delitem": operator.delitem,
    "len": len,
    "iter": iter,
    "next": next,
    "str": str,
    "repr": repr,
}
"""Operations that tests may use on an object of the program. Comparisons are not among them, so that the program's own
`__eq__` decides nothing."""


class Server:
    """Answers what the process of the tests asks of the program's functions and objects, until the tests have ended.

    Values travel as text. An object that is no plain value stays here and is represented by a number. The program shares
    this process, so every answer is its own claim; expected values never come here.

    Messages in: ["name", NAME], ["do", OPERATION, OBJECT, POSITIONAL, KEYWORDS], and in reply to a callback
    ["value", TEXT] or ["error", CLASSES, MESSAGE]. Messages out: ["value", TEXT], ["error", ...], and while an operation
    runs ["callback", NUMBER, POSITIONAL, KEYWORDS], for a function of the tests that was passed as an argument.
    """

    def __init__(self, names: dict[str, Any]) -> None:
        self._names, self._channel = names, Channel()
        self._objects: list[Any] = []
        self._numbers: dict[int, int] = {}
        """Index in `_objects` by `id`."""

    def serve(self) -> None:
        """Answer one message after another. Raises MemoryError if the program runs out of memory."""
        while True:
            try:
                message = self._channel.receive()
                self._channel.send(self._answer(message))
            except Closed:
                return

    def _answer(self, message: list[Any]) -> list[Any]:
        try:
            return ["value", encode(self._result(message), self._reference)]
        except (MemoryError, Closed):
            raise
        except BaseException as error:  # noqa: BLE001 (whatever a program raises is its result)
            return described(error)

    def _result(self, message: list[Any]) -> Any:
        if message[0] == "name":
            if message[1] not in self._names:
                raise NameError(f"the program has no {message[1]!r}")
            return self._names[message[1]]
        _, operation, target, positional, keywords = message
        positional, keywords = decode(positional, self._resolve), decode(keywords, self._resolve)
        return OPERATIONS[operation](self._objects[target], *positional, **keywords)

    def _reference(self, value: Any) -> dict[str, Any]:
        """Return the tag that stands for an object which stays here: its number and the name of its class."""
        if len(self._objects) >= _MAX_OBJECTS:
            raise TypeError("too many objects for one test")
        number = self._numbers.setdefault(id(value), len(self._objects))
        if number == len(self._objects):
            self._objects.append(value)  # kept alive, so that no other object gets its id
        cls = type(value)
        return {"object": [number, f"{cls.__module__}.{cls.__name__}"[:80]]}

    def _resolve(self, tag: str, content: Any) -> Any:
        """Return the argument that a tag of the tests stands for: an object, an iterator or a function of theirs."""
        if tag == "object":
            return self._objects[content]
        if tag == "iterator":
            return iter(decode(content, self._resolve))
        if tag == "callback":
            return lambda *arguments, **keywords: self._call_back(content, arguments, keywords)
        raise ValueError(f"not an encoded value: {tag!r}")

    def _call_back(self, number: int, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        """Call a function of the tests, which runs in their process."""
        texts = [encode(list(arguments), self._reference), encode(keywords, self._reference)]
        self._channel.send(["callback", number, *texts])
        while True:
            reply = self._channel.receive()
            if reply[0] == "value":
                return decode(reply[1], self._resolve)
            if reply[0] == "error":
                raise rebuilt(reply[1], reply[2])
            # Before it returns, the function uses the program itself.
            self._channel.send(self._answer(reply))
