"""The hostile programs of hostile.toml: none succeeds, each has its named verdict, and the host is as before.

Looked at is only what these programs could have caused, so that sandboxes of another run beside this one, of the same
checkout too, change nothing.
"""

import ctypes
import os
import platform
import secrets
import signal
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from dianoia.base.records import Problem
from dianoia.sandbox.sandbox import (
    ForkSandbox,
    Limits,
    Outcome,
    Program,
    Sandbox,
    offered,
)
from dianoia.tasks.code import Verdict, code_tests, grade_program
from tests.unit.tasks.code.walls import KINDS

PR_SET_CHILD_SUBREAPER, PR_GET_CHILD_SUBREAPER = 36, 37
SYSTEM_V_KEY = "4711"
"""Of what the programs of hostile.toml try to make."""
SECONDS = 60.0
"""Longest wait; reached on a machine that hangs, not on a busy one."""
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the walls are those of Linux")
TABLE = Path(__file__).with_name("hostile.toml")
PROGRAMS = {
    f"{group}: {program['name']}": program
    for group, programs in tomllib.loads(TABLE.read_text(encoding="utf-8")).items()
    for program in programs
}
HELPERS = """
import os, sys
def attempt(action):
    try: result = action()
    except MemoryError: raise
    except BaseException as error: print('refused', type(error).__name__, flush=True)
    else: print('WON', result, flush=True)
def call(number, *arguments):
    import ctypes, platform
    if platform.machine() != 'x86_64': raise OSError('the numbers are those of another machine')
    libc = ctypes.CDLL(None, use_errno=True)
    result = libc.syscall(*arguments_of(number, arguments))
    if result < 0: raise OSError(ctypes.get_errno(), 'refused')
    return result
def arguments_of(number, arguments):
    import ctypes
    yield ctypes.c_long(number)
    for argument in arguments: yield ctypes.c_long(argument) if isinstance(argument, int) else argument
"""


def _mounts() -> str:
    """The mounts of the host, but for those below pytest's own folders: other tests mount small disks there."""
    lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    return "\n".join(line for line in lines if "/pytest-of-" not in line)


@dataclass
class Host:
    """What the programs try to reach, and everything that has to stay as it was."""

    folder: Path
    mark: str = field(default_factory=lambda: f"mark-{secrets.token_hex(8)}")
    token: str = field(default_factory=lambda: secrets.token_hex(16))
    """In a file and in the environment."""
    answer: int = field(default_factory=lambda: secrets.randbelow(10**18) + 10**18)
    """The output that is expected."""

    def __enter__(self) -> "Host":
        self._stack = ExitStack()
        self._stack.enter_context(_adopting())
        self.file = self.folder / f"secret-{self.mark}"
        self.file.write_text(self.token, encoding="ascii")
        self.victim = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
        self.sockets = [
            self._socket(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0)),
            self._socket(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0)),
            self._socket(socket.AF_UNIX, socket.SOCK_STREAM, str(self.folder / "socket")),
            self._socket(socket.AF_UNIX, socket.SOCK_STREAM, "\0" + self.mark),
            self._socket(socket.AF_UNIX, socket.SOCK_DGRAM, str(self.folder / "datagram")),
            self._socket(socket.AF_UNIX, socket.SOCK_DGRAM, f"\0{self.mark}-datagram"),
        ]
        os.environ["SECRET_TOKEN"] = self.token
        return self

    def _socket(self, family: int, kind: int, address: Any) -> socket.socket:
        made = self._stack.enter_context(socket.socket(family, kind))
        made.bind(address)
        if kind == socket.SOCK_STREAM:
            made.listen()
        made.setblocking(False)
        return made

    def __exit__(self, *_error: object) -> None:
        del os.environ["SECRET_TOKEN"]
        self.victim.kill()
        self.victim.wait()
        self._stack.close()

    def names(self) -> str:
        """The beginning of every program."""
        values = {
            "SECRET_FILE": str(self.file),
            "FOLDER": str(self.folder),
            "HOME": self._hidden_home(),
            "HERE": __file__,
            "TCP": self.sockets[0].getsockname()[1],
            "UDP": self.sockets[1].getsockname()[1],
            "UNIX": str(self.folder / "socket"),
            "DATAGRAM": str(self.folder / "datagram"),
            "PARENT": os.getpid(),
            "VICTIM": self.victim.pid,
            "MARK": self.mark,
        }
        return "".join(f"{name} = {value!r}\n" for name, value in values.items()) + HELPERS

    @staticmethod
    def _hidden_home() -> str:
        home = Path.home()
        visible = home in (Path(sys.base_prefix), *Path(sys.base_prefix).parents)
        return str(home / ".config" if visible else home)  # Python may lie in a part of it

    def state(self) -> dict[str, object]:
        """What a program could have changed."""
        files = {self.file, Path(os.__file__), Path(sys.executable).resolve()}
        return {
            "files": {path: (_stat(path), path.read_bytes()[:200]) for path in files},
            "folder": sorted(path.name for path in self.folder.iterdir()),
            "marks": [path for path in self._places() if path.exists()],
            "reached": [_reached(one) for one in self.sockets],
            "alive": self.victim.poll() is None,
            "processes": self.processes(),
            "open files": len(list(Path("/proc/self/fd").iterdir())),
            "environment": dict(os.environ),
            "folder of this process": Path.cwd(),
            "limits of processes": [_limits(pid) for pid in (os.getpid(), self.victim.pid)],
            "mounts": _mounts(),
            "name": platform.node(),
            "System V": [
                line
                for name in ("shm", "sem", "msg")
                if Path("/proc/sysvipc", name).exists()
                for line in Path("/proc/sysvipc", name).read_text(encoding="ascii").splitlines()
                if line.split()[0] == SYSTEM_V_KEY
            ],
        }

    def processes(self) -> dict[int, str]:
        """Whatever lives below this process, to which everything that loses its parent comes back."""
        below, found = _children(), {}
        pids = list(below.get(os.getpid(), ()))
        for pid in pids:
            pids += below.get(pid, ())
            try:
                command = Path(f"/proc/{pid}/cmdline").read_bytes()
            except OSError:  # it has just ended
                continue
            found[pid] = command.decode("utf-8", "replace")
        return found

    def _places(self) -> list[Path]:
        folders = ["/", "/tmp", "/usr", "/usr/lib", "/etc", "/var/tmp", "/run", "/dev", "/dev/shm"]
        places = [*folders, Path.home(), Path(os.__file__).parent, TABLE.parent, self.folder]
        return [Path(place, self.mark) for place in places]


@contextmanager
def _adopting() -> Iterator[None]:
    """As long as it is open, a process below this one that loses its parent becomes a child of this one."""
    before, prctl = ctypes.c_int(), ctypes.CDLL(None).prctl
    assert prctl(PR_GET_CHILD_SUBREAPER, ctypes.byref(before)) == 0
    assert prctl(PR_SET_CHILD_SUBREAPER, 1) == 0
    try:
        yield
    finally:
        prctl(PR_SET_CHILD_SUBREAPER, before.value)


def _children() -> dict[int, list[int]]:
    """The living processes of this machine by their parents."""
    found: dict[int, list[int]] = {}
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = file.read_text("utf-8", "replace").rpartition(")")[2].split()[:2]
        except OSError:  # it has just ended
            continue
        if state not in "ZX":
            found.setdefault(int(parent), []).append(int(file.parent.name))
    return found


def _stat(path: Path) -> tuple[int, ...]:
    found = path.stat()
    return found.st_mode, found.st_uid, found.st_size, found.st_mtime_ns, found.st_nlink


def _limits(pid: int) -> tuple[str, int, object]:
    text = Path(f"/proc/{pid}/limits").read_text(encoding="ascii")
    return text, os.getpriority(os.PRIO_PROCESS, pid), os.sched_getaffinity(pid)


def _reached(one: socket.socket) -> bool:
    """Whether somebody has called or written."""
    try:
        if one.type == socket.SOCK_DGRAM:
            one.recv(1)
        else:
            one.accept()[0].close()
    except BlockingIOError:
        return False
    return True


class Recorder:
    """A sandbox that keeps what programs said."""

    def __init__(self, sandbox: ForkSandbox) -> None:
        self.name, self._sandbox = sandbox.name, sandbox
        self.outcomes: list[Outcome] = []

    def run(self, program: Program, limits: Limits) -> Outcome:
        outcome = self._sandbox.run(program, limits)
        self.outcomes.append(outcome)
        return outcome

    def close(self) -> None: ...


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    with Host(tmp_path_factory.mktemp("host")) as host:
        yield host


@pytest.fixture(scope="module", params=KINDS)
def sandbox(request: pytest.FixtureRequest, host: Host) -> Iterator[ForkSandbox]:
    """Started after the secrets were there."""
    if (reason := offered(request.param)) is not None:
        pytest.skip(f"this machine has no sandbox {request.param!r}: {reason}")
    sandbox = ForkSandbox(request.param)
    yield sandbox
    sandbox.close()


def judge(program: dict[str, Any], host: Host, sandbox: Sandbox) -> Verdict:
    limits = {"wall_seconds": program.get("seconds", 30), "memory_bytes": 256 * 2**20}
    limits |= {"cpu_seconds": 20, "output_bytes": 2**16, "file_bytes": 2**16}
    tests: dict[str, Any] = {"cases": [{"input": "3\n", "output": f"{host.answer}\n"}]}
    if program.get("calls"):
        tests = {"calls": [{"function": "f", "arguments": [3], "expected": host.answer}]}
    problem = Problem("p", "?", "", "code", columns={"tests": {**tests, "limits": limits}})
    return grade_program(host.names() + program["source"], code_tests(problem), sandbox).verdict


def test_there_are_enough_of_them() -> None:
    assert len(PROGRAMS) >= 60


@pytest.mark.parametrize("name", PROGRAMS)
def test_none_succeeds_and_the_host_is_as_before(
    name: str, host: Host, sandbox: ForkSandbox
) -> None:
    program = PROGRAMS[name]
    expected = program["result"]
    before, recorder = host.state(), Recorder(sandbox)
    started, clock = time.monotonic(), time.time() - time.monotonic()
    verdict = judge(program, host, recorder)
    (outcome,) = recorder.outcomes
    assert verdict == (expected if isinstance(expected, str) else expected[sandbox.name]), outcome
    said = outcome.stdout + outcome.stderr + repr(outcome.results)
    assert not any(line.startswith("WON") for line in said.splitlines())
    assert host.token not in said and str(host.answer) not in said
    after = host.state()
    assert {key: (before[key], after[key]) for key in before if before[key] != after[key]} == {}
    assert abs(time.time() - time.monotonic() - clock) < 5
    assert sandbox.replaced == 0
    assert time.monotonic() - started < 40


def test_the_next_program_finds_a_clean_sandbox(host: Host, sandbox: ForkSandbox) -> None:
    right = {"source": f"print({host.answer})"}
    assert judge(right, host, sandbox) is Verdict.PASSED, "and the right output does pass"


DAEMON = """
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execv(sys.executable, [sys.executable, '-c', 'import time; time.sleep(600)', MARK])
    os._exit(0)
os.wait()
"""


def test_a_process_that_gets_away_is_found(host: Host) -> None:
    """Without walls it does: a session of its own, no parent, another program."""
    before, sandbox = host.processes(), ForkSandbox("i-accept-unsandboxed-code")
    judge({"source": DAEMON}, host, sandbox)
    sandbox.close()
    deadline = time.monotonic() + 20
    # Until it runs the other program it has the command line of the process that it was forked from.
    while True:
        left = {pid: line for pid, line in host.processes().items() if pid not in before}
        if any(host.mark in line for line in left.values()) or time.monotonic() > deadline:
            break
        time.sleep(0.01)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)  # it has become this process's child
    assert len(left) == 1 and host.mark in next(iter(left.values()))
    assert host.processes() == before


def test_the_traps_work(host: Host) -> None:
    """Without walls the same programs do reach what they look for: the battery is able to fail."""
    sandbox = ForkSandbox("i-accept-unsandboxed-code")
    for name in (
        "files: a file of the user",
        "network: TCP",
        "network: abstract Unix socket",
        "network: a datagram to a name of the host",
    ):
        recorder = Recorder(sandbox)
        assert judge(PROGRAMS[name], host, recorder) is Verdict.WRONG_ANSWER
        assert "WON" in recorder.outcomes[0].stdout
    assert host.state()["reached"] == [True, False, False, True, True, True]
    sandbox.close()


HANDS_OVER = """
import array, socket
one, _ = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [0]))]
one.sendmsg([b'x'], rights, 0, chr(0) + MARK + '-datagram')
"""


def test_an_open_file_is_handed_over_without_walls_only(host: Host, sandbox: ForkSandbox) -> None:
    abstract = host.sockets[-1]
    judge({"source": HANDS_OVER}, host, sandbox)
    assert not _reached(abstract)
    judge({"source": HANDS_OVER}, host, (without := ForkSandbox("i-accept-unsandboxed-code")))
    without.close()
    _, descriptors, _, _ = socket.recv_fds(abstract, 10, 1)
    assert len(descriptors) == 1, "so the trap works"
    os.close(descriptors[0])


STAYS = [
    "attempt(lambda: call(157, 1, 0, 0, 0, 0))",
    "attempt(lambda: __import__('ctypes').CDLL(None).prctl(1, 0, 0, 0, 0))",
    """
attempt(lambda: call(157, 1, 0, 0, 0, 0))
try:
    if os.fork(): os._exit(0)
    os.setsid()
    if os.fork(): os._exit(0)
except OSError: pass
""",
    "attempt(os.setsid)\nattempt(lambda: os.setpgid(0, 0))",
    "attempt(lambda: os.posix_spawn(sys.executable, ['python', '-c', 'import time; time.sleep(600)'], {}))",
    """
os.execv(sys.executable, [sys.executable, '-I', '-S', '-c', 'import ctypes, time; ctypes.CDLL(None).prctl(1, 0, 0, 0, 0); time.sleep(600)'])
""",
    "attempt(lambda: os.setresuid(os.getuid(), os.geteuid(), os.getuid()))\nattempt(lambda: call(157, 1, 0, 0, 0, 0))",
    """
import ctypes, threading, time
threading.Thread(target=time.sleep, args=(600,)).start()
ctypes.CDLL(None).syscall(60, 0)
""",
    """
import signal
for number in range(1, 65):
    try: signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError): pass
""",
    "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))",
]
"""Ways to stay when the parent has died."""

JUDGE = """
import sys
from threading import Thread
from dianoia.sandbox.sandbox import ForkSandbox, Limits, Program
limits = Limits(wall_seconds=600, cpu_seconds=600, memory_bytes=2**28)
sandboxes = [ForkSandbox(sys.argv[1]) for _ in sys.argv[2:]]
for sandbox, source in zip(sandboxes, sys.argv[2:]):
    Thread(target=sandbox.run, args=(Program(source), limits)).start()
print(*(sandbox._process.pid for sandbox in sandboxes), flush=True)
"""


@pytest.mark.parametrize("end", ["warm processes", "judge"])
@pytest.mark.parametrize("kind", KINDS)
def test_no_program_outlives_its_judge(kind: str, end: str, host: Host) -> None:
    """A judge in a process of its own runs all of them; it, or its warm processes, are killed."""
    if (reason := offered(kind)) is not None:
        pytest.skip(f"this machine has no sandbox {kind!r}: {reason}")
    before = _living()
    sources = [
        f"{host.names()}{attempt}\nimport time\nwhile True: time.sleep(1)" for attempt in STAYS
    ]
    command = [sys.executable, "-c", JUDGE, kind, *sources]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as judge_process:
        assert judge_process.stdout is not None
        warm = [int(pid) for pid in judge_process.stdout.readline().split()]
        assert len(warm) == len(STAYS)
        # the warm process with the one that waits for it, and the program; one program leaves at once
        most = (3 if kind == "namespaces" else 2) * len(STAYS)
        others = before | {judge_process.pid}
        running = _settled(lambda: _living() - others, at_least=most - 2)
        assert len(running) >= most - 2, "each has started"
        for pid in warm if end == "warm processes" else [judge_process.pid]:
            os.kill(pid, signal.SIGKILL)
        outlived = not _wait_for(lambda: not running & _living())
        left = _commands(running & _living())
        judge_process.kill()
    for pid in left:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    assert not outlived, left
    assert _wait_for(lambda: _living() <= before)
    _bury()


def _settled(look: Callable[[], set[int]], at_least: int) -> set[int]:
    """Return the processes once there are enough and none has come or gone for half a second, so that each has tried.

    On a busy machine a program may start long after another has ended what it tried.
    """
    until = time.monotonic() + SECONDS
    seen, since = look(), time.monotonic()
    while time.monotonic() < until:
        time.sleep(0.05)
        if (now := look()) != seen:
            seen, since = now, time.monotonic()
        elif len(seen) >= at_least and time.monotonic() - since >= 0.5:
            break
    return seen


def _commands(pids: set[int]) -> dict[int, str]:
    """Return the command lines of processes that are still there."""
    lines = {}
    for pid in pids:
        with suppress(OSError):
            line = Path(f"/proc/{pid}/cmdline").read_bytes()
            lines[pid] = line.decode("utf-8", "replace")
    return lines


def _living() -> set[int]:
    """Processes below this one of which any thread lives, one whose first thread has ended too."""
    parents: dict[int, list[int]] = {}
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = file.read_text("utf-8", "replace").rpartition(")")[2].split()[1]
        except OSError:
            continue
        parents.setdefault(int(parent), []).append(int(file.parent.name))
    below = list(parents.get(os.getpid(), ()))
    for pid in below:
        below += parents.get(pid, ())
    return {pid for pid in below if any(map(_runs, Path(f"/proc/{pid}/task").glob("*/stat")))}


def _runs(file: Path) -> bool:
    try:
        return file.read_text("utf-8", "replace").rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def _bury() -> None:
    """Wait for what lost its parent and came back to this process."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            continue
    except ChildProcessError:
        return


def _wait_for(condition: Callable[[], bool]) -> bool:
    """Wait until the condition holds; return False where it does not in a minute."""
    until = time.monotonic() + SECONDS
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True
