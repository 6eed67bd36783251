"""Learning-rate factors worked out by hand, weight decay, and the state's folder."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import PreTrainedModel

from dianoia.base.errors import ConfigError
from dianoia.learner.trainer import Learner, Trainer, adamw, rate_factor
from tests.unit.learner.conftest import optimizer_settings

MakeModel = Callable[..., PreTrainedModel]


@pytest.mark.parametrize(
    ("step", "factor"),
    # warm-up (s + 1) / 4, then 0.1 + 0.9 (1 + cos(pi (s - 4) / 8)) / 2
    [(0, 0.25), (3, 1.0), (4, 1.0), (6, 0.8681981), (8, 0.55), (12, 0.1), (99, 0.1)],
)
def test_cosine(step: int, factor: float) -> None:
    settings = optimizer_settings(schedule="cosine", warmup_steps=4, floor=0.1)
    assert rate_factor(step, settings, 12) == pytest.approx(factor)


@pytest.mark.parametrize(("step", "factor"), [(0, 0.5), (1, 1.0), (2, 1.0), (99, 1.0)])
def test_constant(step: int, factor: float) -> None:
    assert rate_factor(step, optimizer_settings(warmup_steps=2, floor=0.1), 9) == factor


def test_without_warm_up_the_first_step_is_full() -> None:
    assert rate_factor(0, optimizer_settings(schedule="cosine"), 5) == 1.0


def test_only_matrices_decay(make_model: MakeModel) -> None:
    model = make_model("qwen2")  # has norms and biases
    matrices, vectors = adamw(model, optimizer_settings(weight_decay=0.1)).param_groups
    assert (matrices["weight_decay"], vectors["weight_decay"]) == (0.1, 0.0)
    assert {p.ndim for p in matrices["params"]} == {2}
    assert {p.ndim for p in vectors["params"]} == {1}
    assert len(matrices["params"]) + len(vectors["params"]) == len(list(model.parameters()))


@pytest.mark.parametrize(
    ("count", "expected"), [(1, [[1, 10, 100]]), (2, [[1, 100], [10]]), (4, [[1], [10], [100]])]
)
def test_a_losss_gradient_is_the_sum_over_micro_batches_of_all_replicas(
    count: int, expected: list[list[int]]
) -> None:
    model = nn.Linear(2, 1, bias=False)
    trainer = Trainer(model, optimizer_settings(), 1, prepare=False, replicas=count)
    inputs = [torch.tensor([1.0, 2.0]), torch.tensor([10.0, 20.0]), torch.tensor([100.0, 200.0])]
    reports = trainer.replicas.accumulate(lambda linear, x: (linear(x).sum(), int(x[0])), inputs)
    assert reports == expected, "micro-batches go round-robin to the replicas"
    assert model.weight.grad is not None
    assert model.weight.grad.tolist() == [[111.0, 222.0]]


def test_a_state_is_read_back_with_the_callers_progress(
    make_model: MakeModel, tmp_path: Path
) -> None:
    first, second = (
        Learner(Trainer(make_model(seed=seed), optimizer_settings(), 1)) for seed in (0, 1)
    )
    assert first.load_state(tmp_path / "state") is None
    first.save_state(tmp_path / "state", {"tokens": 7})
    assert second.load_state(tmp_path / "state") == {"tokens": 7}
    pairs = zip(first.model.parameters(), second.model.parameters(), strict=True)
    assert all(torch.equal(pair, other) for pair, other in pairs)


def test_a_state_of_another_version_is_refused(
    make_model: MakeModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learner = Learner(Trainer(make_model(), optimizer_settings(), 1))
    with monkeypatch.context() as patch:
        patch.setattr("dianoia.storage.state.FORMAT", 1)
        learner.save_state(tmp_path / "state", {})
    with pytest.raises(ConfigError, match=r"format 1, .* reads format 2; .*rm -r"):
        learner.load_state(tmp_path / "state")
