"""The FLOP that a model needs, and the FLOP per second that the machine reaches.

A FLOP is a multiplication or an addition: the product of an m x k and a k x n matrix has 2mkn. In a forward pass, a
token costs 2 FLOP per parameter of each matrix it is multiplied with, and 4 per layer, head dimension and token that
it attends to. Training costs three times that: one forward and two backward.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.table.cases import Case
from dianoia.hardware.threads import run_parallel

SECONDS = 1.0
"""Duration of each measurement of a rate."""
COPY_BYTES = 2**28
"""Bytes of the copy: far more than any cache holds."""


@dataclass(frozen=True, slots=True)
class Work:
    """The matrices of a model."""

    shapes: tuple[tuple[int, int], ...]
    """(in, out) of each product of a layer, in order; QKV is one product, and gate and up are one."""
    layers: int
    head: tuple[int, int]
    width: int
    """Number of query heads times head dimension."""

    @property
    def layer(self) -> int:
        """Number of parameters in the matrices of a layer."""
        return sum(inner * outer for inner, outer in self.shapes)

    def forward(self, tokens: int, scored: int, attended: float) -> float:
        """Return the FLOP of a forward pass over `tokens` positions, with logits at `scored` of them and `attended` pairs."""
        # Logits are computed at scored positions only, attention over pairs in each layer.
        head = self.head[0] * self.head[1]
        return (
            2.0 * (self.layers * self.layer * tokens + head * scored)
            + 4.0 * self.layers * self.width * attended
        )

    def training(self, tokens: int, scored: int, attended: float) -> float:
        """Return the FLOP of a forward pass, and of a backward pass for inputs and weights."""
        return 3.0 * self.forward(tokens, scored, attended)


def work_of(size: Case) -> Work:
    """Return the matrices of the case's model (`folders.config_of`)."""
    hidden, heads = size.hidden, size.hidden // 32
    # Half as many key-value heads as query heads, each of dimension 32; keys and values.
    keys = 2 * (heads // 2) * 32
    shapes = ((hidden, hidden + keys), (hidden, hidden), (hidden, 8 * hidden), (4 * hidden, hidden))
    return Work(shapes, size.layers, (hidden, size.vocabulary), hidden)


def pairs(prompt: int, response: int) -> float:
    """Return the number of pairs (position, position it attends to) of a response, with causal attention."""
    # Position t of the response attends to the prompt and to t positions up to itself.
    return response * prompt + response * (response + 1) / 2


def machine_rates(case: dict[str, Any], rows: list[int]) -> dict[str, float]:
    """Return FLOP per second of the model's products by dtype and input rows (`float32_256`), and `copy` in bytes per second.

    Each rate is the better of two ways to use the threads: all on each product, or each on its own part of the rows.
    """
    work = work_of(Case(**case))
    # Square products are the most that the machine reaches; those of the model are narrower.
    rates = {"copy": copy_rate(), "float32_square": _rate([(2048, 2048)], 2048, torch.float32)}
    for dtype in (torch.float32, torch.bfloat16):
        name = str(dtype).removeprefix("torch.")
        for count in rows:
            # All layers in their order, so that weights come from memory as in a pass and not from a cache.
            shapes = [*work.shapes * work.layers, work.head]
            rates[f"{name}_{count}"] = _rate(shapes, count, dtype)
    return rates


def copy_rate() -> float:
    """Return the bytes per second, read and written, of a large copy."""
    source = torch.ones(COPY_BYTES // 4)
    target = torch.empty_like(source)
    # Each byte is read once and written once.
    return 2 * COPY_BYTES / _seconds(lambda: target.copy_(source))


def _rate(shapes: list[tuple[int, int]], rows: int, dtype: torch.dtype) -> float:
    """Return the FLOP per second of these products, one after another."""
    threads = torch.get_num_threads()
    operations = sum(2.0 * rows * inner * outer for inner, outer in shapes)
    together = operations / _seconds(_chain(shapes, rows, dtype))
    # Threads that work on rows of their own need no wait after each product.
    parts = [_chain(shapes, rows // threads, dtype) for _ in range(threads)]
    # Ten repetitions, so that the start of the threads weighs little.
    repeated = [partial(_repeat, part, 10) for part in parts]
    apart = 10 * operations / _seconds(lambda: run_parallel(repeated))
    return max(together, apart)


def _chain(shapes: list[tuple[int, int]], rows: int, dtype: torch.dtype) -> Callable[[], Any]:
    """Return a function that computes all products, each with an input of its own."""
    buffers: dict[tuple[int, int], list[Tensor]] = {}
    for shape in shapes:
        # One input and output per shape: a model too writes activations of a shape to memory that is warm.
        if shape not in buffers:
            buffers[shape] = [
                torch.randn(rows, shape[0]).to(dtype),
                torch.empty(rows, shape[1]).to(dtype),
            ]
    weights = [(torch.randn(shape[1], shape[0]).to(dtype).T, *buffers[shape]) for shape in shapes]

    def run() -> None:
        for weight, inputs, out in weights:
            torch.mm(inputs, weight, out=out)

    return run


def _repeat(call: Callable[[], Any], times: int) -> None:
    for _ in range(times):
        call()


@torch.no_grad()
def _seconds(call: Callable[[], Any]) -> float:
    """Return the least seconds of a call, over SECONDS of repetitions."""
    # Not measured: the first call allocates and warms up.
    call()
    best, end = float("inf"), time.perf_counter() + SECONDS
    while (start := time.perf_counter()) < end:
        call()
        best = min(best, time.perf_counter() - start)
    return best
