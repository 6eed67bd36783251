"""A program that ends with the process that started it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

PROGRAM = """
import pathlib, signal, subprocess, sys
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
child = subprocess.Popen(["sleep", "60"])
pathlib.Path("pids").write_text(f"{child.pid}")
print("started", sys.argv[1:], repr(sys.stdin.read()), flush=True)
child.wait()
"""


def test_it_ends_with_everything_that_it_has_started(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM, encoding="utf-8")
    process = subprocess.Popen(
        [sys.executable, "-m", "dianoia.cluster.end_with", "program", "--ranks", "2"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )
    with process:
        assert process.stdin is not None and process.stdout is not None
        assert process.stdout.readline() == "started ['--ranks', '2'] ''\n"
        child = int((tmp_path / "pids").read_text(encoding="utf-8"))
        process.stdin.close()
        assert process.wait(10) < 0
    deadline = time.monotonic() + 10
    while _is_running(child):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _is_running(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"
