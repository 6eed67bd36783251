"""Hostile programs, each against every sandbox that this machine offers; no process, file or change is left."""

import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dianoia.base.errors import SandboxError
from dianoia.sandbox import sandbox as module
from dianoia.sandbox.sandbox import (
    STRONG,
    UNSANDBOXED,
    Ending,
    ForkSandbox,
    Limits,
    Outcome,
    Program,
    choose,
    offered,
)

QUICK = Limits(wall_seconds=2.0, cpu_seconds=2.0, memory_bytes=256 * 2**20)
ANY = (*STRONG, UNSANDBOXED)


def start(name: str) -> Iterator[ForkSandbox]:
    if (reason := offered(name)) is not None:
        pytest.skip(f"this machine has no sandbox {name!r}: {reason}")
    sandbox = ForkSandbox(name)
    yield sandbox
    sandbox.close()


@pytest.fixture(scope="module", params=STRONG)
def walled(request: pytest.FixtureRequest) -> Iterator[ForkSandbox]:
    """A sandbox with walls."""
    yield from start(request.param)


@pytest.fixture(scope="module", params=ANY)
def box(request: pytest.FixtureRequest) -> Iterator[ForkSandbox]:
    """Any sandbox, including the one without walls."""
    yield from start(request.param)


@pytest.fixture(scope="module")
def namespaces() -> Iterator[ForkSandbox]:
    yield from start("namespaces")


def run(sandbox: ForkSandbox, source: str, limits: Limits = QUICK, stdin: str = "") -> Outcome:
    return sandbox.run(Program(source, stdin), limits)


# Endings -----------------------------------------------------------------------------------------

ENDINGS = {
    "prints": ("print(input()[::-1])", Ending.FINISHED, 0),
    "exit status": ("import sys; sys.exit(3)", Ending.FINISHED, 3),
    "exit at once": ("import os; os._exit(4)", Ending.FINISHED, 4),
    "exception": ("print(1 / 0)", Ending.FINISHED, 1),
    "no Python": ("print(", Ending.FINISHED, 1),
    "endless loop": ("while True: pass", Ending.TIMED_OUT, None),
    "sleeps": ("import time; time.sleep(60)", Ending.TIMED_OUT, None),
    "memory": ("x = bytearray(10**10)", Ending.OUT_OF_MEMORY, None),
    "memory in bits": (
        "x = []\nwhile True: x.append(bytearray(2**20))", Ending.OUT_OF_MEMORY, None),
    "flood": ("while True: print('x' * 10_000)", Ending.OUTPUT_LIMIT, None),
    "flood that ignores errors": (
        "import os\nfor _ in range(100):\n    try: os.write(1, b'x' * 10**5)\n    except OSError: pass",
        Ending.OUTPUT_LIMIT, None),
    "errors flood": (
        "import sys\nwhile True: sys.stderr.write('x' * 10_000)", Ending.OUTPUT_LIMIT, None),
    "bad memory access": ("import ctypes; ctypes.string_at(0)", Ending.CRASHED, None),
    "endless recursion": ("def f(): f()\nf()", Ending.FINISHED, 1),
}  # fmt: skip


@pytest.mark.parametrize("case", ENDINGS)
def test_every_ending_is_reported(box: ForkSandbox, case: str) -> None:
    source, ending, exit_code = ENDINGS[case]
    limits = Limits(wall_seconds=0.3, cpu_seconds=5, memory_bytes=256 * 2**20, file_bytes=2**16)
    if ending is not Ending.TIMED_OUT:
        limits = Limits(10.0, 5.0, 256 * 2**20, output_bytes=2**18, file_bytes=2**16)
    outcome = run(box, source, limits, "abc\n")
    assert (outcome.ending, outcome.exit_code) == (ending, exit_code), outcome


def test_output_input_and_errors_come_back(box: ForkSandbox) -> None:
    outcome = run(
        box, "import sys\nprint(sys.stdin.read(), 'é')\nraise ValueError('no')", stdin="a\nb"
    )
    assert outcome.stdout == "a\nb é\n"
    assert outcome.stderr.endswith("ValueError: no\n")


def test_threads_and_exit_handlers_run_to_their_end(box: ForkSandbox) -> None:
    source = (
        "import atexit, threading, time\natexit.register(print, 'last')\nmain = threading.Event()\n"
        "threading.Thread(target=lambda: (main.wait(), time.sleep(0.05), print('thread'))).start()\n"
        "print('main')\nmain.set()"
    )
    assert run(box, source).stdout == "main\nthread\nlast\n"


def test_cpu_time_is_limited_too(namespaces: ForkSandbox) -> None:
    outcome = run(namespaces, "while True: pass", Limits(wall_seconds=30, cpu_seconds=1))
    assert outcome.ending is Ending.TIMED_OUT
    assert outcome.wall_seconds < 25


def test_a_program_that_ignores_every_signal_is_stopped(box: ForkSandbox) -> None:
    source = (
        "import signal\nfor n in range(1, 65):\n    try: signal.signal(n, signal.SIG_IGN)\n"
        "    except (OSError, ValueError): pass\nwhile True: pass"
    )
    outcome = run(box, source, Limits(wall_seconds=0.3))
    assert outcome.ending is Ending.TIMED_OUT
    assert outcome.wall_seconds < 2


# Walls -------------------------------------------------------------------------------------------

TRY = "try:\n    {}\n    print('REACHED')\nexcept OSError as error:\n    print('refused', error)"
FORBIDDEN = {
    "password file": "open('/etc/passwd').read()",
    "shadow file": "open('/etc/shadow').read()",
    "home": "import os; os.listdir(HOME)",
    "this repository": "open(HERE).read()",
    "write to /": "open('/x', 'w')",
    "write to /usr": "open('/usr/x', 'w')",
    "write to Python": "import os; open(os.__file__, 'a')",
    "change a mode": "import os; os.chmod(os.__file__, 0o777)",
    "change a time": "import os; os.utime(os.__file__)",
    "shared memory": "open('/dev/shm/x', 'w')",
    "memory file": "import os; os.memfd_create('x')",
    "a disk": "import os; os.mknod('/tmp/disk', 0o60600, os.makedev(8, 0))",
    "TCP": "import socket; socket.create_connection(('127.0.0.1', PORT), 1)",
    "UDP": "import socket; socket.socket(2, 2).sendto(b'x', ('127.0.0.1', PORT))",
    "abstract socket": "import socket; socket.socket(1).connect(chr(0) + 'x')",
    "trace a process": "import ctypes, os; call(101, 16, os.getppid())",
    "new namespaces": "call(272, 0x10000000)",
    "become root": "import os; os.setuid(0); os.setgid(0); os.setgroups([0])",
    "mount": "call(165, b'none', b'/tmp', b'tmpfs', 0, 0)",
}
CALL = (
    "import ctypes\ndef call(*a):\n    import platform\n    libc = ctypes.CDLL(None, use_errno=True)\n"
    "    if platform.machine() != 'x86_64' or libc.syscall(*a) < 0: raise OSError(ctypes.get_errno())\n"
)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize("case", FORBIDDEN)
def test_the_walls_hold(walled: ForkSandbox, case: str, port: int) -> None:
    if case == "become root" and os.geteuid() == 0 and walled.name == "landlock":
        pytest.skip("as root, landlock leaves the user and takes every capability")
    names = f"HOME, HERE, PORT = {str(Path.home())!r}, {__file__!r}, {port}\n{CALL}"
    visible = Path.home() in (Path(sys.base_prefix), *Path(sys.base_prefix).parents)
    if case == "home" and visible:
        names += "HOME += '/.ssh'\n"  # Python lies there, and only its part of home is shown
    outcome = run(walled, names + TRY.format(FORBIDDEN[case]))
    assert outcome.stdout.startswith("refused"), outcome


def test_the_environment_is_clean(walled: ForkSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    source = (
        "import os\ntry: print(open('/proc/1/environ').read())\nexcept OSError: pass\n"
        "print(dict(os.environ))"
    )
    monkeypatch.setenv("SECRET_TOKEN", "4711")
    sandbox = ForkSandbox(walled.name)  # started while the secret was there
    outcome = run(sandbox, source)
    sandbox.close()
    assert "PATH" in outcome.stdout and "4711" not in outcome.stdout


def test_other_processes_cannot_be_signalled(walled: ForkSandbox) -> None:
    source = (
        "import os\nfor pid in (-1, PARENT, os.getppid()):\n    try: os.kill(pid, 9) if pid else 0\n"
        "    except OSError: pass\nprint('done')"
    )
    run(walled, f"PARENT = {os.getpid()}\n{source}")
    assert walled._process.poll() is None and walled.replaced == 0


def test_a_fork_bomb_is_bounded(walled: ForkSandbox) -> None:
    source = (
        "import os, time\nn = 0\ntry:\n    while n < 200:\n"
        "        if os.fork() == 0:\n            time.sleep(60)\n        n += 1\n"
        "except OSError: pass\nprint(n)"
    )
    outcome = run(walled, source, Limits(wall_seconds=10, processes=8))
    assert outcome.ending is Ending.FINISHED
    assert int(outcome.stdout) == (7 if walled.name == "namespaces" else 0)
    assert run(walled, "print('next')").stdout == "next\n"


def test_the_folder_is_new_for_every_program(namespaces: ForkSandbox) -> None:
    first = run(namespaces, "open('note', 'w').write('hidden')\nprint(open('note').read())")
    second = run(namespaces, "import os\nprint(os.listdir('.'), os.listdir('/tmp'))")
    assert (first.stdout, second.stdout) == ("hidden\n", "[] []\n")


def test_files_together_are_bounded(namespaces: ForkSandbox) -> None:
    source = (
        "n = 0\ntry:\n    while n < 1000:\n        with open(str(n), 'wb') as f: f.write(bytes(2**20))\n"
        "        n += 1\nexcept OSError: pass\nprint(n)"
    )
    assert 8 <= int(run(namespaces, source).stdout) <= 16


def test_no_change_of_a_program_reaches_the_next(box: ForkSandbox) -> None:
    run(box, "import builtins, json\nbuiltins.print = json.dumps = None\nbuiltins.mark = 1")
    assert run(box, "import json\nprint(json.dumps(1), 'mark' in dir(__builtins__))").stdout == (
        "1 False\n"
    )


# Nothing is left ---------------------------------------------------------------------------------


def family(pid: int) -> list[int]:
    """Return the ids of a process and all its descendants, zombies included."""
    parents = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                stat = (folder / "stat").read_text()
            except OSError:
                continue
            parents[int(folder.name)] = int(stat.rpartition(")")[2].split()[1])
    pids = [pid] if pid in parents else []
    for member in pids:
        pids += [child for child, parent in parents.items() if parent == member]
    return pids


def test_no_process_is_left(walled: ForkSandbox) -> None:
    before = family(walled._process.pid)
    assert before, "the warm process itself"
    daemon = (
        "import os, time\ntry:\n    if os.fork() == 0:\n        os.setsid()\n"
        "        if os.fork() == 0: time.sleep(60)\n        os._exit(0)\nexcept OSError: pass\nprint(1)"
    )
    for source in (daemon, "while True: pass", "import os; os._exit(0)"):
        run(walled, source, Limits(wall_seconds=0.3))
    assert family(walled._process.pid) == before


def test_closing_ends_everything(box: ForkSandbox) -> None:
    sandbox = ForkSandbox(box.name)
    members = family(sandbox._process.pid)
    sandbox.close()
    assert members and not any(family(pid) for pid in members)


def test_no_file_stays_open(box: ForkSandbox) -> None:
    run(box, "print(1)")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        run(box, "print(1)")
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_warm_process_that_died_is_replaced_and_the_program_still_runs() -> None:
    sandbox = ForkSandbox(UNSANDBOXED)
    os.kill(sandbox._process.pid, signal.SIGKILL)
    sandbox._process.wait()
    time.sleep(0.1)
    assert run(sandbox, "print(2)").stdout == "2\n"
    assert sandbox.replaced == 1
    sandbox.close()


def test_a_warm_process_that_does_not_answer_is_killed_and_replaced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_GRACE_SECONDS", 0.2)
    monkeypatch.setattr(module, "_END_SECONDS", 0.1)
    sandbox = ForkSandbox(UNSANDBOXED)
    stuck = sandbox._process
    os.kill(stuck.pid, signal.SIGSTOP)
    assert run(sandbox, "print(1)", Limits(wall_seconds=0.2)).ending is Ending.TIMED_OUT
    assert stuck.poll() is not None and sandbox.replaced == 1
    assert run(sandbox, "print(2)").stdout == "2\n"
    sandbox.close()


# Choosing ----------------------------------------------------------------------------------------


def test_running_without_walls_needs_the_long_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "offered", lambda name: f"no {name} here")
    with pytest.raises(SandboxError) as error:
        choose()
    for part in ("no namespaces here", "no landlock here", "'auto'", UNSANDBOXED):
        assert part in str(error.value)
    assert choose(UNSANDBOXED) == UNSANDBOXED


def test_the_strongest_that_works_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "offered", lambda name: None if name == "landlock" else "no")
    assert choose() == "landlock"
    with pytest.raises(SandboxError, match="namespaces: no"):
        choose("namespaces")


@pytest.mark.parametrize("name", ["", "none", "yes", "unsandboxed"])
def test_an_unknown_name_is_refused(name: str) -> None:
    with pytest.raises(SandboxError, match="there is no such sandbox"):
        choose(name)
