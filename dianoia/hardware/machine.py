"""Memory and speed of the device that a run would use on this machine. Does not import torch.

In: what the operating system and, where there is one, `nvidia-smi` report. Out: `Machine`. A run takes the first CUDA
device that is visible, if PyTorch is a CUDA build, else the CPU. Speeds are the makers' figures for a GPU that is known
by name, and a short measurement for the CPU. Not here: several GPUs, since a run uses one; devices of other makers.
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
"""Share of the rate of large matrix products that training and sampling reach on small models."""
_GPU_SHARE = 0.35
"""The same for a GPU's peak rate; a guess."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """Peak rates of a GPU for dense matrices, as its maker states them."""

    bfloat16: float
    """10^12 operations per second."""
    float32: float
    """10^12 operations per second, without TF32."""
    bandwidth: float
    """10^9 bytes per second."""


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
"""Figures of the makers' data sheets by a part of the name; the first entry that matches counts."""


@dataclass(frozen=True, slots=True)
class Machine:
    """The device that a run would use."""

    name: str
    memory: float | None
    """Bytes; None if unknown."""
    workers: int
    """Jobs that run in parallel: one per CPU thread, one on any other device."""
    float32: float
    """Operations per second that training may expect."""
    bfloat16: float
    """The same under autocast."""
    bandwidth: float | None
    """Bytes per second that decoding may expect; None on a CPU, where it is not the bound."""

    @property
    def cpu(self) -> bool:
        """True for the CPU."""
        return self.bandwidth is None


def thread_count(setting: int, jobs: int = 1) -> int:
    """Return the CPU threads of a stage: `setting`, or for 0 one per core, at most MAX_THREADS.

    Where `jobs` stages run in parallel, each has its share of the cores, and at least one.
    """
    return setting or min(max(1, _cores() // jobs), MAX_THREADS)


def job_count(setting: int) -> int:
    """Return how many stages run in parallel: `setting`, or for 0 one per core, at most MAX_JOBS, and one on a GPU."""
    return setting or (min(_cores(), MAX_JOBS) if _first_gpu() is None else 1)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def this_machine(threads: int) -> Machine:
    """Return the device that a run with so many threads (0: see `thread_count`) would use here."""
    gpu = _first_gpu()
    if gpu is None:
        workers = thread_count(threads)
        rate = workers * multiply_rate()
        return Machine("this CPU", main_memory(), workers, rate, rate, None)
    name, memory = gpu
    # an unknown GPU counts as a slow one
    peak = next((peaks for part, peaks in GPUS.items() if part in name), GPUS["A10"])
    return Machine(
        name,
        memory,
        1,
        _GPU_SHARE * peak.float32 * 1e12,
        _GPU_SHARE * peak.bfloat16 * 1e12,
        peak.bandwidth * 1e9,
    )


def _first_gpu() -> tuple[str, float] | None:
    """Return name and bytes of memory of the GPU that PyTorch would take; None if there is none."""
    # empty or -1 hides all GPUs, and a CPU build of PyTorch sees none
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None and visible.split(",")[0].strip() in ("", "-1"):
        return None
    # by the version's name: importing torch would take a second
    if "+cpu" in _version("torch"):
        return None
    first = (visible or "0").split(",")[0].strip()
    query = ["nvidia-smi", "-i", first, "--query-gpu=name,memory.total"]
    try:
        done = subprocess.run(
            [*query, "--format=csv,noheader,nounits"], capture_output=True, text=True, timeout=20
        )
        # the first line is the first GPU; names may hold commas, so split at the last one
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
    """Return the bytes of main memory that this process may use: the machine's, or the container's if that is less."""
    try:
        memory = float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):
        return None
    # a container's limit is in a cgroup, which the system's own figure ignores
    memory = min(memory, address_limit())
    try:
        return min(memory, float(_CGROUP.read_text(encoding="ascii")))
    except (OSError, ValueError):  # no such file, or "max"
        return memory


def address_limit() -> float:
    """Return the bytes of address space that `ulimit -v` allows this process; infinite without a limit."""
    try:
        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    except (OSError, ValueError):
        return inf
    return inf if limit == resource.RLIM_INFINITY else float(limit)


@lru_cache(maxsize=1)
def multiply_rate() -> float:
    """Measure the operations per second that training may expect of one core.

    The measurement counts processor time of this process, so other work on the machine hardly matters.
    """
    a, b = np.ones((1024, 256), np.float32), np.ones((256, 512), np.float32)
    a @ b
    # the best of several runs: the first ones warm caches and clocks up
    best = float("inf")
    for _ in range(25):
        start = time.process_time()
        a @ b
        best = min(best, time.process_time() - start)
    return _CPU_SHARE * 2 * a.shape[0] * a.shape[1] * b.shape[1] / best
