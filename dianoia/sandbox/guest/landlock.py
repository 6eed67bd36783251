"""Landlock: the kernel refuses access to all files but those below a few folders. No privilege is needed.

In: folders whose files may be read and run, files that may be written. Out: the rules are in force for this process and its
children, and cannot be undone. Needs Linux 5.13. Sockets are the part of `seccomp`; from Linux 6.7 and 6.12 on, Landlock
refuses TCP and abstract Unix sockets as well.
Source: https://docs.kernel.org/userspace-api/landlock.html
"""

import ctypes
import os
import struct
from collections.abc import Iterable
from pathlib import Path

from dianoia.sandbox.guest import system_calls as linux

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on every architecture
_VERSION, _PATH_BENEATH = 1, 1
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_RIGHTS_BY_VERSION = (0, (1 << 13) - 1, (1 << 14) - 1, (1 << 15) - 1, (1 << 15) - 1, (1 << 16) - 1)
"""All file rights that the kernel handles, by Landlock's version; versions above 5 add none for files.

A right that is not handled is not restricted, so every one that the kernel knows is named."""
_NETWORK_VERSION, _SCOPE_VERSION = 4, 6
_NETWORK = 3
"""TCP: binding and connecting."""
_SCOPES = 3
"""Abstract Unix sockets and signals: both reach only processes under these rules."""


def version() -> int:
    """Return the kernel's version of Landlock, 1 or higher. Raises OSError if it has none."""
    return linux.syscall(
        _CREATE_RULESET, "landlock", None, ctypes.c_size_t(0), ctypes.c_uint(_VERSION)
    )


def apply(readable: Iterable[Path], writable: Iterable[Path]) -> None:
    """Refuse all access to files but reading and running below `readable`, and reading and writing `writable`."""
    kernel_version = version()
    # struct landlock_ruleset_attr: handled_access_fs, then handled_access_net and scoped where the kernel has them
    handled = [_RIGHTS_BY_VERSION[min(kernel_version, len(_RIGHTS_BY_VERSION) - 1)]]
    if kernel_version >= _NETWORK_VERSION:
        handled.append(_NETWORK)
    if kernel_version >= _SCOPE_VERSION:
        handled.append(_SCOPES)
    packed = struct.pack(f"{len(handled)}Q", *handled)
    attributes = ctypes.create_string_buffer(packed, len(packed))
    rules = linux.syscall(
        _CREATE_RULESET, "landlock", attributes, ctypes.c_size_t(len(packed)), ctypes.c_uint(0)
    )
    for path in readable:
        folder = _READ_DIR if path.is_dir() else 0
        _allow(rules, path, _EXECUTE | _READ_FILE | folder)
    for path in writable:
        _allow(rules, path, _READ_FILE | _WRITE_FILE)
    # The kernel accepts this only from a process that has given up gaining privileges (`drop_privileges`).
    linux.syscall(_RESTRICT_SELF, "landlock", ctypes.c_int(rules), ctypes.c_uint(0))
    os.close(rules)


def _allow(rules: int, path: Path, rights: int) -> None:
    """Add a rule that allows `rights` on a file, or on everything below a folder."""
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    # struct landlock_path_beneath_attr, packed: allowed_access, parent_fd
    rule = ctypes.create_string_buffer(struct.pack("=Qi", rights, fd), 12)
    linux.syscall(
        _ADD_RULE,
        "landlock",
        ctypes.c_int(rules),
        ctypes.c_int(_PATH_BENEATH),
        rule,
        ctypes.c_uint(0),
    )
    os.close(fd)
