"""Twins of a model: the same weights in memory, gradients of their own, a thread each.

A CPU's threads work on different micro-batches (`hardware.threads`), each through its own twin, so that no two
add to one gradient at once; `gather` adds the gradients up afterwards, always in the same order.
"""

from collections.abc import Sequence
from copy import deepcopy
from typing import TypeVar

from torch import nn

M = TypeVar("M", bound=nn.Module)


def twins(model: M, count: int) -> list[M]:
    """`model` itself and `count - 1` twins of it. Weights have to be changed in place from now on."""
    return [model, *(_twin(model) for _ in range(count - 1))]


def _twin(model: M) -> M:
    twin = deepcopy(model)
    mine, theirs = [[*one.parameters(), *one.buffers()] for one in (twin, model)]
    for copy, original in zip(mine, theirs, strict=True):
        copy.data = original.data
    return twin


def gather(models: Sequence[nn.Module]) -> None:
    """Leave the sum of all twins' gradients in the first one's `.grad`, and none in the others."""
    for twin in models[1:]:
        for sum_, part in zip(models[0].parameters(), twin.parameters(), strict=True):
            if sum_.grad is None:
                sum_.grad = part.grad
            elif part.grad is not None:
                sum_.grad += part.grad
            part.grad = None
