"""Choice of the device, copies between host and device, freed memory, and determinism."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Literal

import torch

from dianoia.hardware.machine import has_bfloat16, thread_count

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Parameters of glibc's `mallopt`."""
_LARGE_BLOCK = 128 * 1024
"""Bytes from which a block goes back to the system once it is freed; glibc's own value at start, before it adapts it."""


def pick_device() -> torch.device:
    """Return the CUDA device of this process, by default the first, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def use_device(local_rank: int) -> torch.device:
    """Let this process compute on its own device among those of its machine: GPU `local_rank`, else the CPU."""
    device = pick_device()
    if device.type == "cuda":
        torch.cuda.set_device(local_rank)
    return device


def use_threads(setting: int) -> int:
    """Let PyTorch use `setting` CPU threads (0: see `machine.thread_count`), and return their number."""
    threads = thread_count(setting)
    torch.set_num_threads(threads)
    return threads


def return_freed_memory() -> None:
    """Let this process give the memory of large blocks back to the system as soon as they are freed.

    glibc otherwise keeps blocks of up to 32 MB for later ones of the same size, which hides what was saved by freeing them.
    Other C libraries are left as they are.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        # Setting either of them also ends the adaption of both.
        mallopt(_MMAP_THRESHOLD, _LARGE_BLOCK)
        mallopt(_TRIM_THRESHOLD, _LARGE_BLOCK)


def to_device(tensor: torch.Tensor, device: torch.device | str | None) -> torch.Tensor:
    """Copy a CPU tensor to `device`: on CUDA through pinned memory, and without waiting for the device."""
    if device is None or torch.device(device).type != "cuda" or tensor.is_cuda:
        return tensor.to(device)
    # only a copy from pinned memory can overlap with work on the device
    return tensor.pin_memory().to(device, non_blocking=True)


def to_host_async(tensor: torch.Tensor) -> torch.Tensor:
    """Start the copy of a tensor to the CPU. It may be read after `synchronize`."""
    return tensor.to("cpu", non_blocking=True)


def synchronize(device: torch.device) -> None:
    """Wait for all work on `device`, copies of `to_host_async` included."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def use_deterministic_kernels(device: torch.device) -> None:
    """Make one seed give one result on CUDA: no TF32, and deterministic kernels where there is a choice.

    A CPU with a fixed number of threads is deterministic anyway.
    """
    if device.type != "cuda":
        return
    # cuBLAS reads this when it starts, so it must be set before the first product
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    # warn_only: some operations have no such kernel. `strict_determinism` is for those where it matters.
    torch.use_deterministic_algorithms(True, warn_only=True)
    # All memory is written before it is read here, so filling it would only cost time.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def resolve_autocast(
    setting: Literal["none", "bfloat16", "auto"], device: torch.device
) -> Literal["none", "bfloat16"]:
    """Return what `auto` means on a device: bfloat16 where it has instructions for such products."""
    if setting != "auto":
        return setting
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = has_bfloat16()
    return "bfloat16" if native else "none"


@contextmanager
def allow_tf32(enabled: bool = True) -> Iterator[None]:
    """Run float32 products on a GPU's tensor cores, eight times as fast.

    Factors are rounded to 11 bits, three more than bfloat16 has; sums stay float32. For products with states that are
    bfloat16 anyway.
    """
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = enabled or before
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def strict_determinism() -> AbstractContextManager[None]:
    """Force deterministic kernels if `use_deterministic_kernels` was called.

    For kernels that under its `warn_only` would warn and then add in any order.
    """
    return _deterministic(torch.are_deterministic_algorithms_enabled())


def allow_any_order() -> AbstractContextManager[None]:
    """Allow kernels that write in any order, for code whose writes never meet.

    The deterministic kernels sort the indices first, which is slow.
    """
    return _deterministic(False)


@contextmanager
def _deterministic(enabled: bool) -> Iterator[None]:
    """Set deterministic algorithms without `warn_only`, and restore the setting at the end."""
    before = torch.are_deterministic_algorithms_enabled()
    warns = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(enabled)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warns)
