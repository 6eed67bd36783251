"""Three ways to wall a program in: namespaces, Landlock, and none at all.

In: nothing but the machine. Out: `Walls`, whose methods the warm process calls at its start
(`enter`), around every program (`before`, `after`) and in the program's own process (`close`).

`Namespaces` is the strong one: an empty network, a file tree of its own with the Python
installation read-only in it, a process tree of its own for every program, seccomp. It needs Linux
5.14 and the right to make user namespaces, or root. `Alone` needs no right at all: Landlock and
seccomp, one process, no writable folder. `Open` is resource limits and nothing else.
"""

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from dianoia.sandbox.guest import landlock, seccomp
from dianoia.sandbox.guest import system_calls as linux

NOBODY = 65534
"""User and group that a program runs as when root asks."""
_SYSTEM = ("/usr", "/lib", "/lib64", "/bin", "/etc/ld.so.cache")
_DEVICES = ("null", "zero", "full", "random", "urandom")
_TMP = "/tmp"
_PACKAGES = "/packages"


class Walls(Protocol):
    """What stands between a program and the machine."""

    more_processes: int | None
    """How many processes beside the program's own the process limit counts; None: not applied."""

    counts_threads: bool
    """Whether the warm process has to count a program's threads, since the kernel does not."""

    packages_at: str
    """Where the folder of packages lies for a program, once inside; "" without one."""

    def enter(self, folder_bytes: int) -> None:
        """Once, in the warm process. Raises OSError where the machine does not offer it."""
        ...

    def before(self) -> str:
        """Before every program, in the warm process; the folder that it starts in."""
        ...

    def close(self) -> None:
        """In the program's process, last of all: no right can be had back after it."""
        ...

    def after(self, pid: int) -> None:
        """When the program has ended: nothing of it stays."""
        ...


def _kill_group(pid: int) -> None:
    """Kill what is left of a program's process group."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


class Open:
    """No wall: resource limits, a folder and a process group. For those who ask for it in words."""

    more_processes: int | None = None
    counts_threads = False
    _folder = ""

    def __init__(self, packages: str = "") -> None:
        self.packages_at = packages

    def enter(self, folder_bytes: int) -> None:
        """Nothing to do: the size of the folder stays unbounded."""

    def before(self) -> str:
        """A new folder."""
        self._folder = tempfile.mkdtemp(prefix="program-")
        return self._folder

    def close(self) -> None:
        """No wall; but on Linux the program ends with the warm process."""
        if sys.platform == "linux":
            linux.die_with_parent()

    def after(self, pid: int) -> None:
        """Kill the group and remove the folder. A process that made its own session survives."""
        _kill_group(pid)
        shutil.rmtree(self._folder, ignore_errors=True)


class Alone:
    """Landlock and seccomp: one process that may read Python's installation and write no file."""

    more_processes: int | None = None  # it cannot fork
    counts_threads = True  # the kernel counts all that the user has, and root's not at all
    _warm_process = 0

    def __init__(self, packages: str = "") -> None:
        self.packages_at = packages

    def enter(self, folder_bytes: int) -> None:
        """Check that the kernel has both, and a way to count threads."""
        os.listdir("/proc/self/task")  # noqa: PTH208 (raises where there is no /proc)
        self._warm_process = os.getpid()
        landlock.version()
        seccomp.filter_program(alone=True)

    def before(self) -> str:
        """A folder that exists and that Landlock lets nobody write to."""
        return sys.base_prefix

    def close(self) -> None:
        """Without capabilities, then without files, then without system calls."""
        linux.drop_privileges()
        linux.die_with_parent()  # last of what changes rights, since such a change would undo it
        if os.getppid() != self._warm_process:
            raise OSError("the warm process ended before its program began")
        devices = [Path("/dev", name) for name in _DEVICES]
        packages = [Path(self.packages_at)] if self.packages_at else []
        landlock.apply([*installation(), *packages], [path for path in devices if path.exists()])
        seccomp.apply(alone=True)

    def after(self, pid: int) -> None:
        """Nothing to do: the program was one process and wrote no file."""


class Namespaces:
    """Own network, files, processes and users, and seccomp."""

    more_processes: int | None = 2  # the warm process and the one that waits for it
    counts_threads = False
    _pid_space = -1
    _tmp_options = ""

    def __init__(self, packages: str = "") -> None:
        self._packages, self.packages_at = packages, _PACKAGES if packages else ""

    def enter(self, folder_bytes: int) -> None:
        """Build the file tree and leave every namespace; returns in a child of the caller."""
        proc = os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        user, group = os.geteuid(), os.getegid()
        if user == 0:
            # As root, who may read where Python lies; then as nobody, who may not.
            linux.unshare(linux.CLONE_NEWNS)
            _build_tree(self._packages)
            user = group = NOBODY
            _become(user, group)
            _leave_all(proc, user, group)
        else:
            _leave_all(proc, user, group)
            _build_tree(self._packages)
        _continue_as_first_process()
        self._pid_space = os.open("self/ns/pid", os.O_RDONLY | os.O_CLOEXEC, dir_fd=proc)
        os.close(proc)
        self._tmp_options = f"mode=700,size={folder_bytes},nr_inodes=4096,uid={user},gid={group}"
        self._mount_tmp()

    def _mount_tmp(self) -> None:
        linux.mount("tmpfs", _TMP, "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, self._tmp_options)

    def before(self) -> str:
        """The next child gets a process tree of its own."""
        linux.unshare(linux.CLONE_NEWPID)
        return _TMP

    def close(self) -> None:
        """Without capabilities, then without system calls."""
        linux.drop_privileges()
        seccomp.apply(alone=False)

    def after(self, pid: int) -> None:
        """All of its processes died with its first one; a folder that was used is replaced."""
        linux.setns(self._pid_space, linux.CLONE_NEWPID)
        if os.listdir(_TMP):  # noqa: PTH208 (names are enough, and this is on the way of every run)
            linux.unmount(_TMP)
            self._mount_tmp()


def _become(user: int, group: int) -> None:
    os.setgroups([])
    os.setresgid(group, group, group)
    os.setresuid(user, user, user)
    linux.own_proc_files()


def _leave_all(proc: int, user: int, group: int) -> None:
    linux.unshare(
        linux.CLONE_NEWUSER
        | linux.CLONE_NEWNS
        | linux.CLONE_NEWPID
        | linux.CLONE_NEWNET
        | linux.CLONE_NEWIPC
        | linux.CLONE_NEWUTS
    )
    _write(proc, "self/setgroups", "deny")
    _write(proc, "self/uid_map", f"{user} {user} 1")
    _write(proc, "self/gid_map", f"{group} {group} 1")


def _write(folder: int, name: str, text: str) -> None:
    fd = os.open(name, os.O_WRONLY | os.O_CLOEXEC, dir_fd=folder)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def _continue_as_first_process() -> None:
    """Fork into the new process namespace; the parent only waits, kills and buries its child."""
    pid = os.fork()
    if pid == 0:
        linux.die_with_parent()
        return
    os.closerange(3, 256)  # the caller's socket too: its end is the child's to notice
    signal.signal(signal.SIGTERM, lambda _number, _frame: os.kill(pid, signal.SIGKILL))
    os.waitpid(pid, 0)
    os._exit(0)


def installation() -> list[Path]:
    """Files and folders that a Python program needs: libraries of the system, Python's own."""
    prefix = Path(sys.base_prefix)
    if prefix == Path("/"):
        raise OSError("Python is installed in /, so that it cannot be shown without everything")
    places = [Path(path) for path in _SYSTEM if Path(path).exists()]
    return places if Path("/usr") in (prefix, *prefix.parents) else [*places, prefix]


def _build_tree(packages: str) -> None:
    """A root that holds `installation()` and packages read-only, five devices and an empty /tmp."""
    linux.mount("none", "/", None, linux.MS_REC | linux.MS_PRIVATE)
    places = installation()
    linux.mount("tmpfs", _TMP, "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, "mode=755,size=1m")
    os.mkdir("/tmp/old")  # noqa: PTH102
    linux.pivot_root("/tmp", "/tmp/old")
    os.chdir("/")
    os.mkdir("/new")  # noqa: PTH102
    linux.mount("tmpfs", "/new", "tmpfs", linux.MS_NOSUID, "mode=755,size=1m")
    for place in [*places, *(Path("/dev", name) for name in _DEVICES)]:
        _show(place)
    if packages:
        _show(Path(packages), Path(_PACKAGES))
    Path("/new/tmp").mkdir()
    os.chdir("/new")
    linux.pivot_root(".", ".")
    linux.unmount(".")
    os.chdir("/")
    linux.make_read_only("/")


def _show(place: Path, at: Path | None = None) -> None:
    """Bind a file, folder or link from /old below /new, at the same place unless told otherwise."""
    old, new = Path("/old") / place.relative_to("/"), Path("/new") / (at or place).relative_to("/")
    new.parent.mkdir(parents=True, exist_ok=True)
    if old.is_symlink():
        new.symlink_to(old.readlink())
        return
    if old.is_dir():
        new.mkdir(exist_ok=True)
    else:
        new.touch()
    linux.mount(str(old), str(new), None, linux.MS_BIND | linux.MS_REC)


WALLS: dict[str, Callable[[str], Walls]] = {
    "namespaces": Namespaces,
    "landlock": Alone,
    "none": Open,
}
"""By the name that the caller gives."""
