"""Replicas of all ranks: the results of one process with as many threads, to the last bit."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dianoia.learner.replicas import make_replicas
from tests.rank_processes import run_ranks


def _loss(model: nn.Module, rows_BD: Tensor) -> tuple[Tensor, list[float]]:
    values_B = model(rows_BD).square().sum(1)
    return values_B.sum() / 7, values_B.tolist()


def _squares(model: nn.Module, batches: list[Tensor]) -> list[float]:
    return [float(model(rows_BD).sum()) for rows_BD in batches]


def _results(counts: list[int]) -> list[Any]:
    """Return reports, gradients and their norm of as many micro-batches as each of `counts` says."""
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(5, 400), nn.Tanh(), nn.Linear(400, 300, bias=False))
    model[2].weight.requires_grad_(True)
    model[0].bias.requires_grad_(False)
    replicas, results = make_replicas(model), []
    for count in counts:
        batches = [torch.randn(1 + index % 3, 5) for index in range(count)]
        reports = replicas.accumulate(_loss, batches)
        gradients = [p.grad if p.grad is None else p.grad.clone() for p in model.parameters()]
        norm = replicas.gradient_norm([p for p in model.parameters() if p.requires_grad])
        results.append((reports, gradients, norm, replicas.run(_squares, batches)))
    return results


@pytest.mark.parametrize(("size", "threads"), [(2, 1), (2, 2), (4, 1)])
def test_any_number_of_processes_gives_the_bits_of_one(size: int, threads: int) -> None:
    counts = [7, 1, 3, 0]  # more than there are replicas, one, fewer, none
    run = partial(run_ranks, _results)
    (alone,) = run(1, counts, threads=size * threads)
    for ranked in run(size, counts, threads=threads):
        for (reports, gradients, norm, values), (*first, _, _), whole in zip(
            ranked, alone, alone, strict=True
        ):
            assert reports == first[0] and values == whole[3] and norm == whole[2]
            assert all(map(_same, gradients, first[1]))


def _same(mine: Tensor | None, theirs: Tensor | None) -> bool:
    """No gradient and a gradient of 0 are the same to the optimizer."""
    if mine is None or theirs is None:
        return not any(gradient is not None and gradient.any() for gradient in (mine, theirs))
    return torch.equal(mine, theirs)
