"""A fork server for the tests: imports PyTorch and the like once, and forks every process that would import them again.

xdist's workers are forked from it (`tests/conftest.py`), and so are the commands of the smoke tests (`tests.smoke.commands`).
Each import of PyTorch, transformers and what they import takes five seconds of a core; a fork takes a tenth of one. The
server computes nothing, so every process begins in the same state, as a new interpreter does.

A client connects to a socket in the file system, sends what to run and the files that it inherits, and gets the process's
id and, at its end, its exit status. A client that goes away ends its process; the end of the tests ends the server, and with
it all that it has started.
"""

import atexit
import gc
import importlib
import os
import pickle
import select
import selectors
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import traceback
import types
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NoReturn

ADDRESS = "DIANOIA_TEST_FORK_SERVER"
"""The environment variable that names the socket of the server."""
_IMPORTED = (
    *(
        f"dianoia.stages.{kind}"
        for kind in ("rl", "sft", "pretrain", "sample", "evaluate", "preferences", "reward_model")
    ),
    "dianoia.pipeline.scheduler",
    "dianoia.pipeline.stage_process",
    "dianoia.cli.run",
    "dianoia.cli.chat_commands",
    "dianoia.claims",
    "dianoia.inference.conversation",
    "dianoia.miniature.corpus",
    "dianoia.miniature.plugin",
    "dianoia.miniature.tokenizer",
    "dianoia.recipe.check.inputs",
    "dianoia.recipe.plan.plan_text",
    "dianoia.report.page",
    "dianoia.results.run_results",
    "dianoia.serve.running",
    "dianoia.track.followers",
    "numpy.ctypeslib",
    "rich._emoji_codes",
    "torch.utils.serialization",
    "transformers.models.auto.modeling_auto",
    "transformers.models.gpt2.modeling_gpt2",
    "transformers.models.qwen2.modeling_qwen2",
    "transformers.models.qwen3.modeling_qwen3",
    "transformers.generation.utils",
    "pyarrow.parquet",
    "pyarrow.feather",
)
"""What the server imports; a module that is missing here is imported by each process that needs it."""
_IMPORTED_IF_INSTALLED = ("openai", "pandas", "tensorboard.summary.writer.record_writer")
_NUMBER = struct.Struct("q")


# Clients --------------------------------------------------------------------------------------------


class ForkServer:
    """A server that was started by this process; it ends with `close`, or with this process."""

    def __init__(self, root: Path) -> None:
        """root: the folder from which `tests` and `dianoia` are imported."""
        self._folder = tempfile.mkdtemp(prefix="forks-")
        self.address = f"{self._folder}/socket"
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(self.address)
            listening.listen(64)  # clients may connect before the imports are done
            alive, self._alive = os.pipe()
            descriptors = listening.fileno(), alive
            code = f"from {__name__} import serve; serve({self._folder!r}, *{descriptors})"
            self._process = subprocess.Popen(
                [sys.executable, "-c", code],
                cwd=root,
                stdin=subprocess.DEVNULL,
                pass_fds=descriptors,
            )
            os.close(alive)

    def close(self) -> None:
        """End the server and all that it has started."""
        os.close(self._alive)
        self._process.wait()


@cache
def _own_server() -> ForkServer:
    server = ForkServer(Path(__file__).parents[1])
    atexit.register(server.close)
    return server


def _address() -> str:
    """Return the address of the server that all tests share, or where there is none, of one of this process."""
    return os.environ.get(ADDRESS) or _own_server().address


class Forked:
    """A process that a server has started."""

    def __init__(
        self, function: str, arguments: tuple[object, ...], files: Sequence[int] = ()
    ) -> None:
        """Have the server call a function, `module:name`, in a new process.

        Args:
            files: descriptors that the process gets copies of. Their numbers follow the arguments.
        """
        surroundings = dict(os.environ), str(Path.cwd()), sys.path, sys.argv
        # The arguments are read in the process, where their modules can be imported.
        request = pickle.dumps((function, pickle.dumps(arguments), *surroundings))
        self._connection = socket.socket(socket.AF_UNIX)
        self._connection.connect(_address())
        socket.send_fds(self._connection, [_NUMBER.pack(len(request))], files)
        self._connection.sendall(request)
        self.pid = _NUMBER.unpack(self._connection.recv(_NUMBER.size))[0]
        """Also of the process's group, if it leads one."""
        self._status: int | None = None

    def wait(self, seconds: float | None = 0) -> int | None:
        """Return the exit status, or minus the number of the signal that ended it; None if it runs on after `seconds`. None waits forever."""
        if self._status is None and select.select([self._connection], [], [], seconds)[0]:
            answer = self._connection.recv(_NUMBER.size)
            assert answer, "the fork server has ended"
            self._status = _NUMBER.unpack(answer)[0]
        return self._status

    def kill(self) -> None:
        """Send SIGKILL, unless it has ended."""
        if self.wait() is None:
            # The server may have seen its end already, with the status still on its way here.
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def close(self) -> None:
        """Forget the process, which must have ended."""
        self._connection.close()


# The server -----------------------------------------------------------------------------------------


def serve(folder: str, listening: int, alive: int) -> None:
    """Fork a process per connection to the socket `listening`, until the pipe `alive` closes; then remove the folder."""
    # Ctrl-C and the SIGTERM of `timeout` go to all; this process ends with the tests.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    _import_all()
    _Server(socket.socket(fileno=listening), alive).run()
    shutil.rmtree(folder)
    os._exit(0)


def _import_all() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # as in the tests
        for name in _IMPORTED:
            importlib.import_module(name)
        for name in _IMPORTED_IF_INSTALLED:
            with suppress(ModuleNotFoundError):
                importlib.import_module(name)
        importlib.import_module("dianoia.pipeline.stage_process").warm_up()
    for name in ("anyio",):
        # pytest warns of a plugin that was imported before it could rewrite its assertions; this says that it need not.
        module = sys.modules[name]
        module.__doc__ = f"{module.__doc__}\nPYTEST_DONT_REWRITE"
    # What every run writes down, and each forked process would find out again, with git.
    run_directory = importlib.import_module("dianoia.storage.run_directory")
    run_directory.code_version()
    run_directory.library_versions()
    gc.collect()
    freeze()  # memory that the collector never writes to stays shared with the forks


def freeze() -> None:
    """Leave what is there now out of every later collection of garbage, for good."""
    gc.freeze()
    # A run asks whether anything is frozen: counting half a million objects would take each 50 ms.
    count = gc.get_freeze_count()
    gc.get_freeze_count = lambda: count


class _Server:
    """The connections of a server, and their processes."""

    def __init__(self, listening: socket.socket, alive: int) -> None:
        self._listening, self._alive = listening, alive
        self._ended, self._woken = os.pipe()
        os.set_blocking(self._woken, False)
        signal.set_wakeup_fd(self._woken)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # writes to the pipe
        self._clients: dict[int, socket.socket] = {}  # by process id
        self._selector = selectors.DefaultSelector()
        for file in (listening, alive, self._ended):
            self._selector.register(file, selectors.EVENT_READ)

    def run(self) -> None:
        """Serve until the tests end, then end every process."""
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._listening:
                    self._start(self._listening.accept()[0])
                elif key.fileobj == self._ended:
                    os.read(self._ended, 4096)
                    self._report_ends()
                elif key.fileobj == self._alive:
                    self._end(list(self._clients))
                    return
                else:  # a client has gone
                    self._selector.unregister(key.fileobj)
                    self._end([pid for pid, c in self._clients.items() if c is key.fileobj])
                    key.fileobj.close()

    def _start(self, connection: socket.socket) -> None:
        length, files, _, _ = socket.recv_fds(connection, _NUMBER.size, 8)
        if len(length) < _NUMBER.size:  # it has gone already
            connection.close()
            return
        with connection.makefile("rb") as stream:
            request = pickle.loads(stream.read(_NUMBER.unpack(length)[0]))
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # about threads that libraries start when they are imported
            pid = os.fork()
        if pid == 0:
            self._leave()
            connection.close()
            _run(files, *request)
        for file in files:
            os.close(file)
        self._clients[pid] = connection
        self._selector.register(connection, selectors.EVENT_READ)
        self._send(connection, pid)

    def _report_ends(self) -> None:
        while self._clients:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            self._send(self._clients.pop(pid), os.waitstatus_to_exitcode(status))

    def _send(self, connection: socket.socket, number: int) -> None:
        with suppress(OSError):  # a client that has gone, which the selector will tell
            connection.send(_NUMBER.pack(number))

    def _end(self, pids: Sequence[int]) -> None:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)

    def _leave(self) -> None:
        """Undo, in a forked process, what belongs to the server."""
        signal.set_wakeup_fd(-1)
        os.close(self._woken)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for key in list(self._selector.get_map().values()):
            os.close(key.fd)
            if isinstance(key.fileobj, socket.socket):
                key.fileobj.detach()
        self._selector.close()


def _run(
    files: Sequence[int],
    function: str,
    arguments: bytes,
    environment: dict[str, str],
    folder: str,
    path: list[str],
    argv: list[str],
) -> NoReturn:
    """Call a function, `module:name`, in a process that was just forked, and exit."""
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.path[:], sys.argv[:] = path, argv
    sys.modules["__main__"] = types.ModuleType("__main__")
    status = 1
    try:
        module, _, name = function.partition(":")
        called: Callable[..., object] = getattr(importlib.import_module(module), name)
        called(*pickle.loads(arguments), *files)
        status = 0
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:  # noqa: BLE001 - as an interpreter
        traceback.print_exc()
    finally:
        # Exits without the second that the interpreter takes to tear down PyTorch; exit handlers still run.
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


# What it starts -------------------------------------------------------------------------------------


def interpreter(code: str, *streams: int) -> None:
    """Be `python -c code`, with standard streams of its own."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    exec(code, sys.modules["__main__"].__dict__)  # noqa: S102 - as asked for


if (
    __name__ == "__main__"
):  # `python tests/fork_server.py [options] -c CODE`: such an interpreter, forked
    process = Forked("tests.fork_server:interpreter", (sys.argv[-1],), (0, 1, 2))
    for descriptor in (0, 1):
        os.close(descriptor)  # the end of the process closes them
    sys.exit(process.wait(None))
