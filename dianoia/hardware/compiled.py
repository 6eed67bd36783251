"""Functions that PyTorch's compiler fuses on a GPU, and that run as they are everywhere else.

A compiler needs a working toolchain, which not every machine has: whether there is one is tried once, on a
function of one line. Without it everything is computed by the same code, only slower.
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
"""Most versions of one function, one a set of shapes that do not vary and number formats."""


def compile_for(function: Callable[P, R], device: torch.device) -> Callable[P, R]:
    """The function, compiled where that pays and works: on CUDA with a toolchain."""
    if device.type != "cuda" or not _compiles():
        return function
    return _compiled(function)


def mark_dynamic(*tensors: torch.Tensor, at: int = 0) -> None:
    """This dimension of theirs differs from call to call: one compiled form serves all sizes."""
    for tensor in tensors:
        if tensor.device.type == "cuda":
            torch._dynamo.maybe_mark_dynamic(tensor, at)


@cache
def _compiled(function: Callable[P, R]) -> Callable[P, R]:
    """One compiled form a function, whoever asks."""
    torch._dynamo.config.recompile_limit = max(VARIANTS, torch._dynamo.config.recompile_limit)
    return torch.compile(function)


@cache
def _compiles() -> bool:
    """Whether a small function can be compiled for the GPU here."""
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
