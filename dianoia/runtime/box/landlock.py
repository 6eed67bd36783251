"""Landlock: the kernel refuses every file but those below a few folders. No privilege is needed.

In: folders that may be read and run, files that may be written. Out: the rules are in force for
this process and its children. Linux 5.13 for files; sockets are seccomp's part.
Source: https://docs.kernel.org/userspace-api/landlock.html
"""

import ctypes
import os
import struct
from collections.abc import Iterable
from pathlib import Path

from dianoia.runtime.box import linux

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on every architecture
_VERSION, _PATH_BENEATH = 1, 1
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_RIGHTS_BY_VERSION = (0, (1 << 13) - 1, (1 << 14) - 1, (1 << 15) - 1, (1 << 15) - 1, (1 << 16) - 1)
"""All file rights the kernel handles; versions above 5 add none for files."""


def version() -> int:
    """The kernel's version of Landlock, 1 or higher. Raises OSError where there is none."""
    return linux.syscall(
        _CREATE_RULESET, "landlock", None, ctypes.c_size_t(0), ctypes.c_uint(_VERSION)
    )


def apply(readable: Iterable[Path], writable: Iterable[Path]) -> None:
    """Refuse every file access but reading and running below `readable`, and writing `writable`."""
    rights = _RIGHTS_BY_VERSION[min(version(), len(_RIGHTS_BY_VERSION) - 1)]
    attributes = ctypes.create_string_buffer(struct.pack("Q", rights), 8)
    rules = linux.syscall(
        _CREATE_RULESET, "landlock", attributes, ctypes.c_size_t(8), ctypes.c_uint(0)
    )
    for path in readable:
        folder = _READ_DIR if path.is_dir() else 0
        _allow(rules, path, _EXECUTE | _READ_FILE | folder)
    for path in writable:
        _allow(rules, path, _READ_FILE | _WRITE_FILE)
    linux.syscall(_RESTRICT_SELF, "landlock", ctypes.c_int(rules), ctypes.c_uint(0))
    os.close(rules)


def _allow(rules: int, path: Path, rights: int) -> None:
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
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
