"""What a model asks of the machine, in operations, and what the machine gives, in operations a second.

An operation is a multiplication or an addition: a product of an m x k and a k x n matrix is 2mkn of them. Forward, a
token costs 2 a parameter of every matrix it meets, and 4 a layer, head dimension and token it attends to; training
costs three times that, once forward and twice backward.
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
"""How long a rate is measured."""
COPIED = 2**28
"""Bytes of the copy: far more than any cache holds."""


@dataclass(frozen=True, slots=True)
class Work:
    """The matrices of a model."""

    shapes: tuple[tuple[int, int], ...]
    """(in, out) of every product of a layer, in its order: queries, keys and values as one, gate and up as one."""
    layers: int
    head: tuple[int, int]
    width: int
    """Query heads times their dimension."""

    @property
    def layer(self) -> int:
        """Parameters of a layer's matrices."""
        return sum(inner * outer for inner, outer in self.shapes)

    def forward(self, tokens: int, scored: int, attended: float) -> float:
        """Operations of so many positions, logits at `scored` of them, and pairs of positions that attend."""
        head = self.head[0] * self.head[1]
        return (
            2.0 * (self.layers * self.layer * tokens + head * scored)
            + 4.0 * self.layers * self.width * attended
        )

    def training(self, tokens: int, scored: int, attended: float) -> float:
        """Forward, and backward through inputs and weights."""
        return 3.0 * self.forward(tokens, scored, attended)


def work_of(chosen: Case) -> Work:
    """Of the case's model (`folders.config_of`)."""
    hidden, heads = chosen.hidden, chosen.hidden // 32
    keys = 2 * (heads // 2) * 32
    shapes = ((hidden, hidden + keys), (hidden, hidden), (hidden, 8 * hidden), (4 * hidden, hidden))
    return Work(shapes, chosen.layers, (hidden, chosen.vocabulary), hidden)


def pairs(prompt: int, response: int) -> float:
    """Pairs (position, one that it attends to) of the tokens of a response, causally."""
    return response * prompt + response * (response + 1) / 2


def machine_rates(case: dict[str, Any], rows: list[int]) -> dict[str, float]:
    """Operations a second of the model's products, by `float32_256` (rows of the input), and `copy` in bytes a second.

    The better of two ways to use the threads: all of them on each product, or each its own part of the rows.
    """
    work = work_of(Case(**case))
    found = {"copy": copy_rate(), "float32_square": _rate([(2048, 2048)], 2048, torch.float32)}
    for kind in (torch.float32, torch.bfloat16):
        name = str(kind).removeprefix("torch.")
        for count in rows:
            shapes = [*work.shapes * work.layers, work.head]
            found[f"{name}_{count}"] = _rate(shapes, count, kind)
    return found


def copy_rate() -> float:
    """Bytes read and written a second by a large copy."""
    source = torch.ones(COPIED // 4)
    target = torch.empty_like(source)
    return 2 * COPIED / _seconds(lambda: target.copy_(source))


def _rate(shapes: list[tuple[int, int]], rows: int, kind: torch.dtype) -> float:
    """Operations a second of these products, one after another."""
    threads = torch.get_num_threads()
    operations = sum(2.0 * rows * inner * outer for inner, outer in shapes)
    together = operations / _seconds(_chain(shapes, rows, kind))
    parts = [_chain(shapes, rows // threads, kind) for _ in range(threads)]
    repeated = [partial(_repeat, part, 10) for part in parts]
    apart = 10 * operations / _seconds(lambda: run_parallel(repeated))
    return max(together, apart)


def _chain(shapes: list[tuple[int, int]], rows: int, kind: torch.dtype) -> Callable[[], Any]:
    """A call that multiplies through all shapes, each with an input of its own."""
    made: dict[tuple[int, int], list[Tensor]] = {}
    for shape in shapes:
        if shape not in made:
            made[shape] = [
                torch.randn(rows, shape[0]).to(kind),
                torch.empty(rows, shape[1]).to(kind),
            ]
    weights = [(torch.randn(shape[1], shape[0]).to(kind).T, *made[shape]) for shape in shapes]

    def run() -> None:
        for weight, given, out in weights:
            torch.mm(given, weight, out=out)

    return run


def _repeat(call: Callable[[], Any], times: int) -> None:
    for _ in range(times):
        call()


@torch.no_grad()
def _seconds(call: Callable[[], Any]) -> float:
    """The least that a call takes, of as many as SECONDS hold."""
    call()
    best, end = float("inf"), time.perf_counter() + SECONDS
    while (start := time.perf_counter()) < end:
        call()
        best = min(best, time.perf_counter() - start)
    return best
