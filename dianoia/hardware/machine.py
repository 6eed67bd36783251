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
from functools import cache, lru_cache
from importlib import metadata
from math import inf
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from dianoia.base.cgroups import memory_limit, usable_cores
from dianoia.base.limits import MAX_JOBS, MAX_THREADS
from dianoia.hardware.gpus import UNKNOWN, Gpu, gpu_named, gpu_reported

CPU_NAME = "this CPU"
_CPU_SHARE = 0.9
"""Share of the rate of large matrix products that training and sampling reach on wide models on a CPU."""
_CPU_BFLOAT16 = 1.6
"""Rate of bfloat16 products on a core with instructions for them, as a multiple of the float32 rate; measured with
avx512_bf16. Without such instructions they are no faster."""
_BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}
_CPU_INFO = Path("/proc/cpuinfo")
_GPU_SHARE = 0.35
"""The same for a GPU's peak rate: updates of Qwen3-0.6B and 1.7B reached 0.31 and 0.42 of an H100's
(log/2026-11-26-one-gpu-to-itself.md)."""
_BANDWIDTH_SHARE = 0.72
"""Share of a GPU's peak bandwidth that decoding reaches beside what a step costs in any case; measured with it."""


@dataclass(frozen=True, slots=True)
class Machine:
    """The device that a run would use."""

    name: str
    memory: float | None
    """Bytes; None if unknown."""
    workers: int
    """Jobs that run in parallel: one per CPU thread, one on any other device."""
    float32: float
    """Operations per second that training of a wide model may expect."""
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
    return setting or min(max(1, usable_cores() // jobs), MAX_THREADS)


def threads_per_rank(setting: int, jobs: int = 1, ranks: int = 1, per_machine: int = 1) -> int:
    """Return the CPU threads of each rank of a stage, at least 1: an even part of the stage's.

    `setting` counts the threads of all `ranks`; 0 means those of each machine, which its `per_machine` ranks share.
    """
    parts = ranks if setting else per_machine
    return max(1, thread_count(setting, jobs) // parts)


def job_count(setting: int, ranks: int = 1) -> int:
    """Return how many stages run in parallel: `setting`, or for 0 one per core, at most MAX_JOBS, and one on a GPU.

    Stages of several ranks take a core for each.
    """
    if setting:
        return setting
    return max(1, min(usable_cores(), MAX_JOBS) // ranks) if _first_gpu() is None else 1


def this_machine(threads: int) -> Machine:
    """Return the device that a run with so many threads (0: see `thread_count`) would use here."""
    gpu = _first_gpu()
    if gpu is None:
        workers = thread_count(threads)
        rate = workers * multiply_rate()
        bfloat16 = rate * (_CPU_BFLOAT16 if has_bfloat16() else 1.0)
        return Machine(CPU_NAME, main_memory(), workers, rate, bfloat16, None)
    name, memory = gpu
    # an unknown GPU counts as a slow one
    return _with_gpu(name, memory, gpu_reported(name, memory) or UNKNOWN)


def other_machine(name: str) -> Machine:
    """Return a machine with one GPU of a name as people type it; of several ranks it is the device of each.

    Raises:
        ConfigError: no GPU of that name is known.
    """
    gpu = gpu_named(name)
    return _with_gpu(f"one {gpu.name}", gpu.memory * 1e9, gpu)


def _with_gpu(name: str, memory: float, gpu: Gpu) -> Machine:
    float32, bfloat16 = (_GPU_SHARE * rate * 1e12 for rate in (gpu.float32, gpu.bfloat16))
    return Machine(name, memory, 1, float32, bfloat16, _BANDWIDTH_SHARE * gpu.bandwidth * 1e9)


def gpu_count() -> int:
    """Return the number of GPUs that PyTorch would see."""
    return len(_gpus())


def _first_gpu() -> tuple[str, float] | None:
    """Return name and bytes of memory of the GPU that PyTorch would take; None if there is none."""
    return next(iter(_gpus()), None)


def _gpus() -> list[tuple[str, float]]:
    """Return name and bytes of memory of each GPU that PyTorch would see, in its order."""
    # empty or -1 hides all GPUs, and a CPU build of PyTorch sees none
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None and visible.split(",")[0].strip() in ("", "-1"):
        return []
    # by the version's name: importing torch would take a second
    if "+cpu" in _version("torch"):
        return []
    # names or numbers, up to the first that is not valid
    chosen = [] if visible is None else ["-i", ",".join(w.strip() for w in visible.split(","))]
    query = ["nvidia-smi", *chosen, "--query-gpu=name,memory.total"]
    try:
        done = subprocess.run(
            [*query, "--format=csv,noheader,nounits"], capture_output=True, text=True, timeout=20
        )
        # names may hold commas, so split at the last one
        rows = [line.rpartition(",") for line in done.stdout.strip().splitlines()]
        gpus = [(name.strip(), float(mebibytes) * 2**20) for name, _, mebibytes in rows]
        return gpus if done.returncode == 0 else []
    except (OSError, subprocess.TimeoutExpired, ValueError):
        return []  # no NVIDIA GPU, or none that says what it is


@cache
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
    # a container's limit is in a control group, which the system's own figure ignores
    return min(memory, address_limit(), memory_limit())


def address_limit() -> float:
    """Return the bytes of address space that `ulimit -v` allows this process; infinite without a limit."""
    try:
        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    except (OSError, ValueError):
        return inf
    return inf if limit == resource.RLIM_INFINITY else float(limit)


def has_bfloat16() -> bool:
    """Return True if the CPU's flags name instructions for bfloat16 products; False if the system lists no flags."""
    try:
        words = _CPU_INFO.read_text(encoding="utf-8", errors="replace").split()
    except OSError:
        return False
    return not _BFLOAT16_FLAGS.isdisjoint(words)


@lru_cache(maxsize=1)
def multiply_rate() -> float:
    """Measure the operations per second that training of a wide model may expect of one core.

    The measurement counts processor time of this thread, so other work on the machine hardly matters.
    """
    a, b = np.ones((1024, 256), np.float32), np.ones((256, 512), np.float32)
    best = float("inf")
    # NumPy may have been imported with several threads, which would share the product
    with threadpool_limits(1, user_api="blas"):
        a @ b
        # the best of several runs: the first ones warm caches and clocks up
        for _ in range(25):
            start = time.thread_time()
            a @ b
            best = min(best, time.thread_time() - start)
    return _CPU_SHARE * 2 * a.shape[0] * a.shape[1] * b.shape[1] / best
