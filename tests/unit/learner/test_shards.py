"""Weights that are sent, gathered or summed when they are read."""

import torch
from torch import Tensor

from dianoia.learner.shards import LazyWeights


class Unreadable(LazyWeights):
    def __getitem__(self, name: str) -> Tensor:
        raise AssertionError(f"{name} is read")


def test_names_and_shapes_are_known_without_reading() -> None:
    weights = Unreadable({"head": torch.zeros(2, 3), "norm": torch.zeros(3)})
    assert "head" in weights and "embedding" not in weights
    assert list(weights) == ["head", "norm"] and len(weights) == 2
    assert weights.shape("head") == (2, 3)
