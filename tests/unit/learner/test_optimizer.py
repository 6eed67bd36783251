"""Learning-rate factors worked out by hand, and who is decayed."""

from collections.abc import Callable

import pytest
from transformers import PreTrainedModel

from dianoia.learner.optimizer import adamw, rate_factor


@pytest.mark.parametrize(
    ("step", "factor"),
    # warm-up (s + 1) / 4, then 0.1 + 0.9 (1 + cos(pi (s - 4) / 8)) / 2
    [(0, 0.25), (3, 1.0), (4, 1.0), (6, 0.8681981), (8, 0.55), (12, 0.1), (99, 0.1)],
)
def test_cosine(step: int, factor: float) -> None:
    got = rate_factor(step, schedule="cosine", warmup_steps=4, total_steps=12, floor=0.1)
    assert got == pytest.approx(factor)


@pytest.mark.parametrize(("step", "factor"), [(0, 0.5), (1, 1.0), (2, 1.0), (99, 1.0)])
def test_constant(step: int, factor: float) -> None:
    got = rate_factor(step, schedule="constant", warmup_steps=2, total_steps=9, floor=0.1)
    assert got == factor


def test_without_warm_up_the_first_step_is_full() -> None:
    assert rate_factor(0, schedule="cosine", warmup_steps=0, total_steps=5, floor=0.0) == 1.0


def test_only_matrices_decay(make_model: Callable[..., PreTrainedModel]) -> None:
    model = make_model("qwen2")  # has norms and biases
    decayed, kept = adamw(model, 1e-3, (0.9, 0.95), 1e-8, 0.1).param_groups
    assert (decayed["weight_decay"], kept["weight_decay"]) == (0.1, 0.0)
    assert {p.ndim for p in decayed["params"]} == {2}
    assert {p.ndim for p in kept["params"]} == {1}
    assert len(decayed["params"]) + len(kept["params"]) == len(list(model.parameters()))
