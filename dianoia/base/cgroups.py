"""Limits that a container or a service sets on this process: memory and processor time, of control groups 1 and 2.

In: `/proc/self/cgroup` and the files of its groups. Out: bytes and cores. A limit of a group holds for all below it, so the
least of the group and its parents counts.
"""

import os
from collections.abc import Iterator
from math import inf
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")


def memory_limit() -> float:
    """Return the bytes of memory that the groups of this process allow; infinite without a limit."""
    limits = [
        *(_number(folder / "memory.max") for folder in _groups("")),
        *(_number(folder / "memory.limit_in_bytes") for folder in _groups("memory")),
    ]
    # Version 1 writes a number near 2^63 where there is no limit.
    return min((limit for limit in limits if limit < 2**60), default=inf)


def cpu_limit() -> float:
    """Return the cores whose time the groups of this process allow; infinite without a limit."""
    limits = [_quota(folder) for folder in _groups("")]
    for folder in _groups("cpu"):
        quota, period = (_number(folder / f"cpu.cfs_{name}_us") for name in ("quota", "period"))
        if quota > 0 and 0 < period < inf:  # -1 is no limit
            limits.append(quota / period)
    return min(limits, default=inf)


class _Share:
    """Processes that share the cores with this one, itself included."""

    parts = 1


def share_cores(parts: int) -> None:
    """Let `usable_cores` count this process's even part of the cores, of which there are `parts`; at least one core."""
    _Share.parts = parts


def usable_cores() -> int:
    """Return how many threads of this process can compute at once, at least 1.

    Those of the cores it may run on, and no more than its groups give time for: threads that wait for one another's part of
    a product all wait for the one whose time is spent. A fraction of a core is left to the system. Of several ranks on one
    machine each has its part (`share_cores`).
    """
    pinned = hasattr(os, "sched_getaffinity")
    cores = len(os.sched_getaffinity(0)) if pinned else os.cpu_count() or 1
    return max(1, int(min(cores, cpu_limit()) / _Share.parts))


def _quota(folder: Path) -> float:
    """Return the cores that `cpu.max` allows; its two words are microseconds, or `max` and microseconds."""
    try:
        quota, period = (folder / "cpu.max").read_text(encoding="ascii").split()
        return float(quota) / float(period)
    except (OSError, ValueError, ZeroDivisionError):
        return inf


def _number(file: Path) -> float:
    try:
        return float(file.read_text(encoding="ascii"))
    except (OSError, ValueError):  # no such file, or "max"
        return inf


def _groups(controller: str) -> Iterator[Path]:
    """Yield the folder of the group that this process is in, and those above it. Version 2 has no controller's name."""
    root = _ROOT / controller
    yield root
    try:
        lines = _MEMBERSHIP.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        # hierarchy:controllers:path
        _, _, membership = line.partition(":")
        controllers, _, path = membership.partition(":")
        if controller in controllers.split(","):
            folder = root
            for part in Path(path).parts[1:]:
                folder = folder / part
                yield folder
