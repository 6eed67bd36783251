"""The system calls that build walls, through ctypes: namespaces, mounts, capabilities.

In: plain arguments. Out: nothing, or an OSError that names the call. Not here: seccomp and Landlock, which have modules of
their own. Constants are those of the kernel's headers.
"""

import ctypes
import os
import platform

CLONE_THREAD = 0x00010000
CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
CLONE_NEWTIME = 0x00000080

MS_NOSUID, MS_NODEV, MS_BIND, MS_REC, MS_PRIVATE = 0x2, 0x4, 0x1000, 0x4000, 0x40000
MNT_DETACH = 2

_MOUNT_SETATTR = 442  # the same number on every architecture
_AT_RECURSIVE = 0x8000
_ATTR_RDONLY, _ATTR_NOSUID = 0x1, 0x2
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 1, 4, 24, 38
_CAPABILITY_VERSION_3 = 0x20080522
_LAST_CAPABILITY = 63

_libc = ctypes.CDLL(None, use_errno=True)


def check(result: int, call: str) -> int:
    """Return the result of a call. Raises OSError with the call's name if it is negative."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}")
    return result


def syscall(number: int, name: str, *arguments: object) -> int:
    """Make a system call for which the C library has no function, and return its result. Raises OSError."""
    return check(int(_libc.syscall(ctypes.c_long(number), *arguments)), name)


def unshare(flags: int) -> None:
    """Move this process into new namespaces, those that `flags` names."""
    check(_libc.unshare(ctypes.c_int(flags)), "unshare")


def setns(fd: int, namespace: int) -> None:
    """Join the namespace of a file descriptor; `namespace` is its type, as a CLONE_NEW flag."""
    check(_libc.setns(fd, ctypes.c_int(namespace)), "setns")


def mount(source: str, target: str, filesystem: str | None, flags: int, options: str = "") -> None:
    """Mount a file system, as mount(2)."""
    result = _libc.mount(
        source.encode(),
        target.encode(),
        filesystem.encode() if filesystem else None,
        ctypes.c_ulong(flags),
        options.encode() or None,
    )
    check(result, f"mount {source} at {target}")


def unmount(target: str) -> None:
    """Detach a mount with all mounts below it; it is removed when its last user ends."""
    check(_libc.umount2(target.encode(), MNT_DETACH), f"unmount {target}")


def pivot_root(new: str, old: str) -> None:
    """Make `new` the root folder and move the previous root to `old`."""
    number = _PIVOT_ROOT.get(platform.machine())
    if number is None:
        raise OSError(f"pivot_root: no number known for {platform.machine()}")
    syscall(number, "pivot_root", new.encode(), old.encode())


def make_read_only(target: str) -> None:
    """Mark a mount and all below it read-only and without set-user-id programs (Linux 5.12)."""
    # struct mount_attr: attributes to set, to clear, propagation, user namespace.
    attributes = (ctypes.c_uint64 * 4)(_ATTR_RDONLY | _ATTR_NOSUID, 0, 0, 0)
    syscall(
        _MOUNT_SETATTR,
        "mount_setattr",
        ctypes.c_int(-1),
        target.encode(),
        ctypes.c_uint(_AT_RECURSIVE),
        attributes,
        ctypes.c_size_t(ctypes.sizeof(attributes)),
    )


def prctl(option: int, value: int) -> int:
    """Call prctl(2) with one argument and return its result, unchecked."""
    zero = ctypes.c_ulong(0)
    return int(_libc.prctl(option, ctypes.c_ulong(value), zero, zero, zero))


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent ends. Raises OSError: a program must never outlive its sandbox."""
    check(prctl(_PR_SET_PDEATHSIG, 9), "prctl PDEATHSIG")


def own_proc_files() -> None:
    """Let the process write its own /proc files again, which a change of user forbids."""
    check(prctl(_PR_SET_DUMPABLE, 1), "prctl DUMPABLE")


def drop_privileges() -> None:
    """Give up every capability, for this process and for all that it will ever start."""
    # First: no set-user-id program can give back what is dropped below. Seccomp and Landlock need it too.
    check(prctl(_PR_SET_NO_NEW_PRIVS, 1), "prctl NO_NEW_PRIVS")
    for capability in range(_LAST_CAPABILITY + 1):
        if prctl(_PR_CAPBSET_DROP, capability) < 0:
            break  # the kernel knows no more of them, or there is no right to drop and none to lose
    # struct __user_cap_header: version, this process; then empty effective, permitted and inheritable sets
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    check(_libc.capset(header, (ctypes.c_uint32 * 6)()), "capset")


def prctl3(option: int, value: int, pointer: int) -> int:
    """Call prctl(2) with a pointer as its third argument and return its result, unchecked."""
    zero = ctypes.c_ulong(0)
    return int(_libc.prctl(option, ctypes.c_ulong(value), ctypes.c_void_p(pointer), zero, zero))
