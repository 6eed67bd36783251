"""The fork server of stages, forked from the tests' own server instead of started as an interpreter that imports PyTorch.

The real one is started by the slow tests of `test_jobs.py`, and with no PyTorch to import by `tests/unit/pipeline/test_fork_server.py`.
"""

import os
from collections.abc import Callable, Sequence
from multiprocessing import Pipe

from dianoia.pipeline import fork_server
from tests.fork_server import Forked


class _Process:
    """What `ForkServer` uses of `subprocess.Popen`."""

    def __init__(self, forked: Forked) -> None:
        self._forked, self.pid = forked, forked.pid

    def wait(self, seconds: float | None = None) -> int | None:
        return self._forked.wait(seconds)

    def kill(self) -> None:
        self._forked.kill()


class ForkedServer(fork_server.ForkServer):
    """To be put in the place of `ForkServer`."""

    def __init__(self, locks: Sequence[int], prepare: Callable[[], object] | None = None) -> None:
        """`prepare` is called in the server, whose forks run the stages."""
        self.control, server_end = Pipe()
        with server_end:
            files = server_end.fileno(), *locks
            self._forked = Forked(f"{__name__}:serve", (prepare,), files)
        self._process = _Process(self._forked)  # type: ignore[assignment]
        self._is_idle = True

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)  # type: ignore[arg-type]
        self._forked.close()


def serve(prepare: Callable[[], object] | None, control: int, *locks: int) -> None:
    """Be the server, in a process that was just forked."""
    if prepare is not None:
        prepare()
    fork_server.serve(locks, os.getppid(), control, True)
