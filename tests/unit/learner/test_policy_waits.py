"""A step reads as many numbers from its tensors with many micro-batches as with one.

Each number that Python reads, as `float(x)` does, is a wait for the device: on a GPU every other micro-batch would begin
late. Copies that wait are seen on a GPU only (`tests/gpu`).
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import PreTrainedModel

from dianoia.base.records import Sample
from dianoia.learner.attention.packed_rows import Demonstration
from dianoia.learner.supervised import SupervisedLearner
from tests.unit.learner.conftest import optimizer_settings, policy_learner

MakeModel = Callable[..., PreTrainedModel]
TOKENS = (8, 20, 4096)
"""Tokens per micro-batch: nearly one micro-batch per sample, a few, a single one."""


class NumbersRead(TorchDispatchMode):
    """Counts `float(x)`, `x.item()`, `if x` and the like, by the kind of the number."""

    fractions = integers = 0

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if function is torch.ops.aten._local_scalar_dense.default:
            is_fraction = args[0].is_floating_point()
            self.fractions += is_fraction
            self.integers += not is_fraction
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("algorithm", ["grpo", "gspo", "cispo", "ppo"])
def test_micro_batches_of_rollouts_do_not_wait(
    make_model: MakeModel, samples: list[Sample], algorithm: str
) -> None:
    counts = []
    for tokens in TOKENS:
        learner = policy_learner(
            make_model(),
            name=algorithm,
            kl_coefficient=0.1,
            importance_cap=2.0,
            max_tokens=20,
            total_steps=4,
            tokens_per_micro_batch=tokens,
            **({"value_clip": 0.2} if algorithm == "ppo" else {}),
        )
        rows = learner.prepare(samples)
        with NumbersRead() as numbers:
            learner.update(rows)
        counts.append(numbers.fractions + numbers.integers)
    assert counts[0] == counts[1] == counts[2] > 0


def test_rows_of_demonstrations_do_not_wait(make_model: MakeModel, samples: list[Sample]) -> None:
    """Integers are not counted: rows are packed on the host, which reads the lengths and masks that it has there."""
    ids = [torch.tensor(sample.prompt_ids + sample.response_ids) for sample in samples]
    demonstrations = [
        Demonstration(ids_L.to(torch.int32), torch.arange(len(ids_L)) > 0) for ids_L in ids
    ]
    counts = []
    for tokens in TOKENS:
        learner = SupervisedLearner(
            make_model(), optimizer_settings(), total_steps=4, tokens_per_row=tokens
        )
        with NumbersRead() as numbers:
            learner.update(demonstrations)
        counts.append(numbers.fractions)
    assert counts[0] == counts[1] == counts[2] > 0
