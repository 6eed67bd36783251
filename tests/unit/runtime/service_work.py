"""What the workers of `test_service.py` do."""

import os
import signal
import sys
import time
from pathlib import Path


def work(item: list[object]) -> object:
    """Whatever the item's first word says."""
    kind, *rest = item
    match kind:
        case "echo":
            return rest[0]
        case "loop":
            while True:
                pass
        case "power":  # one call of C code, which no signal handler interrupts
            return len(str(3 ** (10**9)))
        case "sleep":
            time.sleep(1000)
        case "exit":
            os._exit(3)
        case "fault":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "memory":
            return len(bytearray(2**40))
        case "raise":
            raise ValueError("no")
        case "once":  # dies when it is first asked, as a worker does that somebody kills
            if not Path(str(rest[0])).exists():
                os.kill(os.getpid(), signal.SIGTERM)
            return "second"
        case "files":
            return sorted(os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{fd}"))  # noqa: PTH110, PTH115, PTH208  # fmt: skip
        case "about":
            return {"pid": os.getpid(), "parent": os.getppid(), "environment": dict(os.environ), "torch": "torch" in sys.modules}  # fmt: skip
    return None
