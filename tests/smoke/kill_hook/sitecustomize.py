"""Python imports this at its start where the folder is on its path: it ends the process at an exact moment.

DIANOIA_KILL = "EVENT REGEX COUNT": SIGKILL right before the COUNT-th event (`open` or `os.rename`, as Python's
auditing names them) whose path ends in a match of REGEX. DIANOIA_MOMENTS = FILE: writes each rename's path there.
"""

import os
import re
import signal
import sys
from typing import Any

_event, _pattern, _count = (os.environ.get("DIANOIA_KILL") or "- - 0").split()
_log = os.environ.get("DIANOIA_MOMENTS")
_met = 0


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    global _met
    if event not in ("open", "os.rename"):
        return
    path = str(arguments[1] if event == "os.rename" else arguments[0])
    if _log and event == "os.rename":
        descriptor = os.open(_log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(descriptor, f"{path}\n".encode())
        os.close(descriptor)
    if event == _event and re.search(f"{_pattern}$", path):
        _met += 1
        if _met == int(_count):
            os.kill(os.getpid(), signal.SIGKILL)


if _log or _event != "-":
    sys.addaudithook(_hook)
