"""Three ways to confine a program: namespaces, Landlock, and none.

In: nothing but the machine. Out: `Walls`, whose methods the warm process calls at its start (`enter`), around every program
(`before`, `after`), and in the program's own process (`close`).

`Namespaces` is the strongest: an empty network, a file tree of its own that has only the Python installation, read-only, a
process tree of its own for every program, and seccomp. It needs Linux 5.14 and the right to make user namespaces, or root.
`Alone` needs no right: Landlock and seccomp, a single process, no writable folder. `Open` is resource limits only.
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
"""User and group of programs if the caller is root."""
_SYSTEM = ("/usr", "/lib", "/lib64", "/bin", "/etc/ld.so.cache")
_DEVICES = ("null", "zero", "full", "random", "urandom")
_TMP = "/tmp"
_PACKAGES = "/packages"


class Walls(Protocol):
    """Confines programs. One object serves one warm process."""

    more_processes: int | None
    """Processes besides the program's own that the process limit counts; None: the limit is not applied."""

    counts_threads: bool
    """Whether the warm process has to count a program's threads, as the kernel does not limit them."""

    packages_at: str
    """Path of the folder of packages as a program sees it; "" without one."""

    def enter(self, folder_bytes: int) -> None:
        """Prepare the warm process, once. Raises OSError if the machine does not offer these walls."""
        ...

    def before(self) -> str:
        """Prepare the warm process for the next program; return the folder that the program starts in."""
        ...

    def close(self) -> None:
        """Confine the program's process, as the last step before the program: no right can be regained after it."""
        ...

    def after(self, pid: int) -> None:
        """Remove all that an ended program has left."""
        ...


def _kill_group(pid: int) -> None:
    """Kill what is left of a program's process group."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


class Open:
    """No wall: resource limits, a folder and a process group. Only for callers that ask for it by its long name."""

    more_processes: int | None = None
    counts_threads = False
    _folder = ""

    def __init__(self, packages: str = "") -> None:
        self.packages_at = packages

    def enter(self, folder_bytes: int) -> None:
        """Do nothing: the size of the folder stays unbounded."""

    def before(self) -> str:
        """Make a new folder."""
        self._folder = tempfile.mkdtemp(prefix="program-")
        return self._folder

    def close(self) -> None:
        """Close nothing; but on Linux the program ends with the warm process."""
        if sys.platform == "linux":
            linux.die_with_parent()

    def after(self, pid: int) -> None:
        """Kill the process group and remove the folder. A process that made a session of its own survives."""
        _kill_group(pid)
        shutil.rmtree(self._folder, ignore_errors=True)


class Alone:
    """Landlock and seccomp: a single process that may read Python's installation and write no file."""

    more_processes: int | None = None  # it cannot fork
    counts_threads = True  # RLIMIT_NPROC counts all processes of the user, and does not bind root
    _warm_process = 0

    def __init__(self, packages: str = "") -> None:
        self.packages_at = packages

    def enter(self, folder_bytes: int) -> None:
        """Check that the kernel has Landlock, seccomp and /proc, by which threads are counted."""
        os.listdir("/proc/self/task")  # noqa: PTH208 (raises where there is no /proc)
        self._warm_process = os.getpid()
        landlock.version()
        seccomp.filter_program(alone=True)

    def before(self) -> str:
        """Return a folder that exists; Landlock refuses to write to it."""
        return sys.base_prefix

    def close(self) -> None:
        """Give up capabilities, then files, then system calls: each step needs what the next one takes."""
        linux.drop_privileges()
        linux.die_with_parent()  # after the change of rights, which would reset it
        # The warm process may have ended before the line above; then no signal comes.
        if os.getppid() != self._warm_process:
            raise OSError("the warm process ended before its program began")
        devices = [Path("/dev", name) for name in _DEVICES]
        packages = [Path(self.packages_at)] if self.packages_at else []
        landlock.apply([*installation(), *packages], [path for path in devices if path.exists()])
        seccomp.apply(alone=True)

    def after(self, pid: int) -> None:
        """Do nothing: the program was a single process and wrote no file."""


class Namespaces:
    """Namespaces of network, files, processes and users, and seccomp."""

    more_processes: int | None = 2  # the warm process and its parent (`_continue_as_first_process`)
    counts_threads = False
    _pid_space = -1
    _tmp_options = ""

    def __init__(self, packages: str = "") -> None:
        self._packages, self.packages_at = packages, _PACKAGES if packages else ""

    def enter(self, folder_bytes: int) -> None:
        """Build the file tree and leave every namespace; returns in a child of the caller."""
        # /proc of the host is opened now, since it is not in the new tree.
        proc = os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        user, group = os.geteuid(), os.getegid()
        if user == 0:
            # The tree is built as root, who may read Python's folders; a user namespace of nobody could not.
            linux.unshare(linux.CLONE_NEWNS)
            _build_tree(self._packages)
            user = group = NOBODY
            _become(user, group)
            _leave_all(proc, user, group)
        else:
            _leave_all(proc, user, group)
            _build_tree(self._packages)
        _continue_as_first_process()
        # To come back to after each program, whose process namespace dies with it.
        self._pid_space = os.open("self/ns/pid", os.O_RDONLY | os.O_CLOEXEC, dir_fd=proc)
        os.close(proc)
        self._tmp_options = f"mode=700,size={folder_bytes},nr_inodes=4096,uid={user},gid={group}"
        self._mount_tmp()

    def _mount_tmp(self) -> None:
        linux.mount("tmpfs", _TMP, "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, self._tmp_options)

    def before(self) -> str:
        """Put the next child into a process namespace of its own, of which it is the first process."""
        linux.unshare(linux.CLONE_NEWPID)
        return _TMP

    def close(self) -> None:
        """Give up capabilities, then system calls."""
        linux.drop_privileges()
        seccomp.apply(alone=False)

    def after(self, pid: int) -> None:
        """Return to the warm process's namespace, and replace a folder that was written to.

        The kernel has killed all processes of the program together with its first one.
        """
        linux.setns(self._pid_space, linux.CLONE_NEWPID)
        if os.listdir(_TMP):  # noqa: PTH208 (names are enough, and this is done for every program)
            linux.unmount(_TMP)
            self._mount_tmp()


def _become(user: int, group: int) -> None:
    """Change user and group for good: the groups first, as the new user may not change them."""
    os.setgroups([])
    os.setresgid(group, group, group)
    os.setresuid(user, user, user)
    linux.own_proc_files()


def _leave_all(proc: int, user: int, group: int) -> None:
    """Move into new namespaces of every type, in which the present user is the only one."""
    linux.unshare(
        linux.CLONE_NEWUSER
        | linux.CLONE_NEWNS
        | linux.CLONE_NEWPID
        | linux.CLONE_NEWNET
        | linux.CLONE_NEWIPC
        | linux.CLONE_NEWUTS
    )
    # The kernel requires this before a process without privilege maps its group.
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
    """Fork into the new process namespace and return in the child; the parent only waits for it, or kills it on SIGTERM."""
    pid = os.fork()
    if pid == 0:
        linux.die_with_parent()
        return
    os.closerange(3, 256)  # the caller's socket too, so that only the child holds it
    signal.signal(signal.SIGTERM, lambda _number, _frame: os.kill(pid, signal.SIGKILL))
    os.waitpid(pid, 0)
    os._exit(0)


def installation() -> list[Path]:
    """Return the files and folders that a Python program needs: system libraries and Python's own installation.

    Raises:
        OSError: Python is installed in the root folder.
    """
    prefix = Path(sys.base_prefix)
    if prefix == Path("/"):
        raise OSError("Python is installed in /, so that it cannot be shown without everything")
    system = [Path(path) for path in _SYSTEM if Path(path).exists()]
    return system if Path("/usr") in (prefix, *prefix.parents) else [*system, prefix]


def _build_tree(packages: str) -> None:
    """Make a root folder with `installation()` and packages, read-only, five devices and an empty /tmp."""
    # Private: mounts made here must not appear on the host.
    linux.mount("none", "/", None, linux.MS_REC | linux.MS_PRIVATE)
    paths = installation()
    # First pivot into an empty file system, with the host's tree at /old; then build the new tree from /old at /new.
    linux.mount("tmpfs", _TMP, "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, "mode=755,size=1m")
    os.mkdir("/tmp/old")  # noqa: PTH102
    linux.pivot_root("/tmp", "/tmp/old")
    os.chdir("/")
    os.mkdir("/new")  # noqa: PTH102
    linux.mount("tmpfs", "/new", "tmpfs", linux.MS_NOSUID, "mode=755,size=1m")
    for path in [*paths, *(Path("/dev", name) for name in _DEVICES)]:
        _bind(path)
    if packages:
        _bind(Path(packages), Path(_PACKAGES))
    Path("/new/tmp").mkdir()
    # Pivot into /new and detach what was the root, and with it /old: nothing of the host is reachable any more.
    os.chdir("/new")
    linux.pivot_root(".", ".")
    linux.unmount(".")
    os.chdir("/")
    linux.make_read_only("/")


def _bind(path: Path, target: Path | None = None) -> None:
    """Bind a file, folder or link of the host's tree at /old into the new tree at /new, at `target` or the same path."""
    old = Path("/old") / path.relative_to("/")
    new = Path("/new") / (target or path).relative_to("/")
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
"""Walls by the name that the caller gives."""
