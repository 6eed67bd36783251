"""Functions that PyTorch's compiler fuses on a GPU, and that run uncompiled everywhere else.

The compiler needs a working toolchain, which not every machine has. Whether there is one is tried once, with a
function of one line. Without it the same code runs uncompiled, only slower.
"""

import logging
import os
from collections.abc import Callable
from functools import cache
from typing import ParamSpec, TypeVar

import torch

P = ParamSpec("P")
R = TypeVar("R")

log = logging.getLogger(__name__)

SWITCH = "DIANOIA_COMPILE"
"""Environment variable; 0 turns compilation off."""
VARIANTS = 64
"""Recompilation limit per function: one variant per combination of static shapes and dtypes."""


def compile_for(function: Callable[P, R], device: torch.device) -> Callable[P, R]:
    """Return the function, compiled on CUDA if the toolchain works."""
    if device.type != "cuda" or not _compiles():
        return function
    return _compiled(function)


def mark_dynamic(*tensors: torch.Tensor, at: int = 0) -> None:
    """Mark dimension `at` of the tensors as dynamic, so that one compiled variant serves all sizes."""
    for tensor in tensors:
        if tensor.device.type == "cuda":
            torch._dynamo.maybe_mark_dynamic(tensor, at)


@cache
def _compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Return the compiled form of the function, the same one for all callers."""
    # beyond the limit PyTorch would silently run the function uncompiled
    torch._dynamo.config.recompile_limit = max(VARIANTS, torch._dynamo.config.recompile_limit)
    return torch.compile(function)


@cache
def _compiles() -> bool:
    """Try to compile a small function for the GPU."""
    if os.environ.get(SWITCH, "1") == "0":
        return False
    try:
        probe = torch.compile(_probe)(torch.ones(8, device="cuda"))
        return bool((probe == 3.0).all())
    except Exception as error:  # noqa: BLE001 - a toolchain can be broken in any way
        log.warning("PyTorch cannot compile here, so steps on the GPU are slower: %s", error)
        return False


def _probe(x: torch.Tensor) -> torch.Tensor:
    return (x + 2.0).clamp(max=5.0)
