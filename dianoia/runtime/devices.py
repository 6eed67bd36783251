"""Which device, and how many threads."""

import os

import torch

MOST_THREADS = 8
"""More threads than this slow a small model down."""


def pick_device() -> torch.device:
    """The first CUDA device, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def use_threads(wanted: int) -> int:
    """Let PyTorch use `wanted` CPU threads (0: one a core, at most MOST_THREADS); returns the number.

    Idle threads are told to sleep: with another process on the cores, OpenMP's spinning barriers cost up
    to a hundred times the work.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    threads = wanted or min(cores, MOST_THREADS)
    torch.set_num_threads(threads)
    return threads


def exact_arithmetic() -> None:
    """Ask for one result a seed: no TF32, no nondeterministic kernels where there is a choice."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.use_deterministic_algorithms(True, warn_only=True)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
