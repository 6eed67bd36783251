"""Environment variables of thread pools, set before the libraries that read them once, at their import."""

import os


def let_idle_threads_sleep() -> None:
    """Have idle OpenMP threads sleep: with another process on the cores, their spinning costs up to 100 times the work.

    For processes that import torch later; a reward function of a recipe may do that.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
