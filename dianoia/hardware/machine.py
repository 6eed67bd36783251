"""What this machine has: memory and speed of the device that a run would use. No torch.

In: what the operating system and, where there is one, NVIDIA's own tool say. Out: `Machine`. A run takes the
first CUDA device that it may see, if PyTorch is a build that can; else the CPU. Speeds are the makers' figures
for a GPU that is known by name, and a short measurement for the CPU. Left out: several GPUs, of which a run
uses one; other makers' devices.
"""

import os
import resource
import subprocess
import time
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from math import inf
from pathlib import Path

import numpy as np

from dianoia.base.limits import MAX_JOBS, MAX_THREADS

_CGROUP = Path("/sys/fs/cgroup/memory.max")
_CPU_SHARE = 0.4
"""Share of the plain matrix rate that training and sampling reach on small models."""
_GPU_SHARE = 0.35
"""Guess for the same of a GPU's peak."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """Peaks of a GPU, dense, as its maker states them."""

    bfloat16: float
    """10^12 operations a second."""
    float32: float
    """10^12 operations a second, without TF32."""
    bandwidth: float
    """10^9 bytes a second."""


GPUS = {
    "B200": Gpu(2250, 80, 8000),
    "H200": Gpu(989, 67, 4800),
    "H100 PCIe": Gpu(756, 51, 2000),
    "H100": Gpu(989, 67, 3350),
    "A100-PCIE-40GB": Gpu(312, 19.5, 1555),
    "A100": Gpu(312, 19.5, 2039),
    "L40S": Gpu(362, 91.6, 864),
    "A10": Gpu(125, 31.2, 600),
    "L4": Gpu(121, 30.3, 300),
    "RTX 5090": Gpu(209, 105, 1792),
    "RTX 4090": Gpu(165, 82.6, 1008),
    "RTX 3090": Gpu(71, 35.6, 936),
}
"""From the makers' data sheets, by a part of the name; the first that fits counts."""


@dataclass(frozen=True, slots=True)
class Machine:
    """The device that a run would use."""

    name: str
    memory: float | None
    """Bytes; None where nothing says so."""
    workers: int
    """Jobs that run in parallel: one per CPU thread, one on any other device."""
    float32: float
    """Operations a second that training may expect."""
    bfloat16: float
    """The same under autocast."""
    bandwidth: float | None
    """Bytes a second that decoding may expect; None: not what bounds it, as on a CPU."""

    @property
    def cpu(self) -> bool:
        """Whether it is the CPU."""
        return self.bandwidth is None


def thread_count(wanted: int, jobs: int = 1) -> int:
    """CPU threads of a stage that asks for `wanted`; 0: one a core, at most MOST_THREADS.

    Where `jobs` stages run side by side, each has its share of the cores, and at least one.
    """
    return wanted or min(max(1, _cores() // jobs), MAX_THREADS)


def job_count(wanted: int) -> int:
    """Stages side by side where `wanted` are asked for; 0: one a core, at most MOST_JOBS, and one alone on a GPU."""
    return wanted or (min(_cores(), MAX_JOBS) if _first_gpu() is None else 1)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def this_machine(threads: int) -> Machine:
    """The device that a run with so many threads (0: as `thread_count`) would use here."""
    found = _first_gpu()
    if found is None:
        workers = thread_count(threads)
        rate = workers * multiply_rate()
        return Machine("this CPU", main_memory(), workers, rate, rate, None)
    name, memory = found
    peak = next((gpu for part, gpu in GPUS.items() if part in name), GPUS["A10"])
    return Machine(
        name,
        memory,
        1,
        _GPU_SHARE * peak.float32 * 1e12,
        _GPU_SHARE * peak.bfloat16 * 1e12,
        peak.bandwidth * 1e9,
    )


def _first_gpu() -> tuple[str, float] | None:
    """Name and bytes of memory of the GPU that PyTorch would take, or None."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None and visible.split(",")[0].strip() in ("", "-1"):
        return None
    if "+cpu" in _version("torch"):
        return None
    first = (visible or "0").split(",")[0].strip()
    query = ["nvidia-smi", "-i", first, "--query-gpu=name,memory.total"]
    try:
        done = subprocess.run(
            [*query, "--format=csv,noheader,nounits"], capture_output=True, text=True, timeout=20
        )
        name, _, mebibytes = done.stdout.strip().partition("\n")[0].rpartition(",")
        return (name.strip(), float(mebibytes) * 2**20) if done.returncode == 0 else None
    except (OSError, subprocess.TimeoutExpired, ValueError):
        return None  # no NVIDIA GPU, or none that says what it is


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "+cpu"


def main_memory() -> float | None:
    """Bytes of main memory that this process may use: the machine's, or a container's if that is less."""
    try:
        memory = float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):
        return None
    memory = min(memory, address_limit())
    try:
        return min(memory, float(_CGROUP.read_text(encoding="ascii")))
    except (OSError, ValueError):  # no such file, or "max"
        return memory


def address_limit() -> float:
    """Bytes of addresses that a limit (ulimit -v) leaves this process; infinite where there is none."""
    try:
        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    except (OSError, ValueError):
        return inf
    return inf if limit == resource.RLIM_INFINITY else float(limit)


@lru_cache(maxsize=1)
def multiply_rate() -> float:
    """Operations a second that training may expect of one core, by a short measurement.

    Of the time that this process was given, so that other work on the machine hardly matters.
    """
    a, b = np.ones((1024, 256), np.float32), np.ones((256, 512), np.float32)
    a @ b
    best = float("inf")
    for _ in range(25):
        start = time.process_time()
        a @ b
        best = min(best, time.process_time() - start)
    return _CPU_SHARE * 2 * a.shape[0] * a.shape[1] * b.shape[1] / best
