"""Which device, how many threads, and how exact."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch

from dianoia.hardware.machine import thread_count


def pick_device() -> torch.device:
    """The first CUDA device, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def use_threads(wanted: int) -> int:
    """Let PyTorch use `wanted` CPU threads (0: one a core, at most MOST_THREADS); returns the number."""
    threads = thread_count(wanted)
    torch.set_num_threads(threads)
    return threads


def to_device(tensor: torch.Tensor, device: torch.device | str | None) -> torch.Tensor:
    """A tensor of the CPU on `device`. CUDA copies it in its turn, and nobody waits for what it does before."""
    if device is None or torch.device(device).type != "cuda" or tensor.is_cuda:
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def to_host_async(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor on its way to the CPU, to be read after `synchronize`; nobody waits for it before."""
    return tensor.to("cpu", non_blocking=True)


def synchronize(device: torch.device) -> None:
    """Wait for everything that was `to_host_async` from `device`."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def use_deterministic_kernels(device: torch.device) -> None:
    """One result a seed. A CPU with a fixed number of threads gives that by itself; CUDA has to be asked:
    no TF32, and deterministic kernels where there is a choice."""
    if device.type != "cuda":
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.use_deterministic_algorithms(True, warn_only=True)
    # Filling new memory costs time and guards nothing here.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


@contextmanager
def allow_tf32(enabled: bool = True) -> Iterator[None]:
    """Float32 products on a GPU's tensor cores, eight times as fast: factors are rounded to 11 bits, three more
    than bfloat16 has, and sums stay float32. For what is multiplied with states that are bfloat16 anyway."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = enabled or before
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def strict_determinism() -> AbstractContextManager[None]:
    """Where `use_deterministic_kernels` asks for it, for kernels that under `warn_only` warn and take any order."""
    return _deterministic(torch.are_deterministic_algorithms_enabled())


def allow_any_order() -> AbstractContextManager[None]:
    """Kernels of any order, for code whose writes never meet: the deterministic ones sort indices first."""
    return _deterministic(False)


@contextmanager
def _deterministic(wanted: bool) -> Iterator[None]:
    """Without `warn_only`, and at the end as it was."""
    before = torch.are_deterministic_algorithms_enabled()
    warns = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(wanted)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warns)
