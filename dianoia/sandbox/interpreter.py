"""Start a fresh Python interpreter that runs one function, and make it end with the process that started it.

In: a function as "package.module:function", and arguments that JSON has. Out: a command for `subprocess`. Used by the fork
servers of workers (`workers`) and of stages (`dianoia.pipeline.fork_server`). Not here: the interpreter of untrusted
programs (`sandbox`), which is isolated and must see neither this process's path nor its packages.
"""

import ctypes
import importlib
import json
import os
import signal
import sys
from collections.abc import Sequence

_BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from dianoia.sandbox.interpreter import call; call(sys.argv[2], json.loads(sys.argv[3]))"
)
_PR_SET_PDEATHSIG = 1


def command(target: str, arguments: Sequence[object], options: Sequence[str] = ()) -> list[str]:
    """Return the command that calls `target` in a new interpreter, which imports from where this process does.

    Args:
        options: of the interpreter, such as "-P".
    """
    # Absolute, as the new process may have another working folder; "" is the present one.
    path = [os.path.abspath(entry) for entry in sys.path]  # noqa: PTH100 - Path("").absolute() keeps ".."
    return [sys.executable, *options, "-c", _BOOT, json.dumps(path), target, json.dumps(arguments)]


def call(target: str, arguments: Sequence[object]) -> None:
    """Import a function and call it."""
    module, _, function = target.partition(":")
    getattr(importlib.import_module(module), function)(*arguments)


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent ends, however that ends. Only Linux can; elsewhere do nothing."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
