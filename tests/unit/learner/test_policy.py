"""The learner: one step is one step however it is cut, nothing breaks silently, resume is exact."""

import io
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from dianoia.algo.loss import ALGORITHMS
from dianoia.base.errors import ConfigError, TrainingStopped
from dianoia.base.records import Sample
from dianoia.learner.batching.batch import PreparedSample, collate
from dianoia.learner.logprobs import response_logprobs
from dianoia.learner.reference import CopiedReference
from dianoia.models.loading import load_model
from tests.unit.learner.conftest import policy_learner

MakeModel = Callable[..., PreTrainedModel]
ALL = pytest.mark.parametrize("algorithm", sorted(ALGORITHMS.keys() - {"ppo"}))
"""Without PPO, whose learner has a value model: `test_critic.py`."""


def snapshot(model: nn.Module) -> dict[str, Tensor]:
    return {name: weight.clone() for name, weight in model.state_dict().items()}


def distance(a: dict[str, Tensor], b: dict[str, Tensor]) -> float:
    return max(float((a[name] - b[name]).abs().max()) for name in a)


def on_policy(model: PreTrainedModel, samples: list[Sample]) -> list[Sample]:
    """The samples as if the model itself had drawn them."""
    batch = collate([PreparedSample(s, torch.tensor(s.logprobs)) for s in samples])
    with torch.no_grad():
        logprobs_BT, _ = response_logprobs(model, batch, 1.0)
    return [
        replace(s, logprobs=tuple(logprobs_T[: len(s.logprobs)].tolist()))
        for s, logprobs_T in zip(samples, logprobs_BT, strict=True)
    ]


@ALL
@pytest.mark.parametrize("kl", [0.0, 0.1])
def test_micro_batches_do_not_change_the_step(
    make_model: MakeModel, samples: list[Sample], algorithm: str, kl: float
) -> None:
    outcomes = []
    for budget in (10_000, 17, 1):
        learner = policy_learner(
            make_model(),
            name=algorithm,
            kl_coefficient=kl,
            importance_cap=2.0,
            tokens_per_micro_batch=budget,
        )
        if learner.reference is not None:  # a reference that differs from the policy
            learner.reference.load_state_dict(make_model(seed=1).state_dict())
        before = snapshot(learner.model)
        metrics = learner.update(learner.prepare(samples))
        assert distance(before, snapshot(learner.model)) > 1e-3
        outcomes.append((snapshot(learner.model), metrics))
    for weights, metrics in outcomes[1:]:
        assert distance(weights, outcomes[0][0]) < 1e-6
        assert metrics.loss == pytest.approx(outcomes[0][1].loss, abs=1e-6)
        assert metrics.entropy == pytest.approx(outcomes[0][1].entropy, abs=1e-6)
    assert outcomes[-1][1].padding_share == 0.0 < outcomes[0][1].padding_share


@pytest.mark.parametrize(
    ("algorithm", "tied"), [("grpo", True), ("grpo", False), ("gspo", True), ("cispo", False)]
)
def test_threads_do_not_change_the_step(
    make_model: MakeModel, samples: list[Sample], algorithm: str, tied: bool
) -> None:
    outcomes = []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        learner = policy_learner(
            make_model(tied=tied),
            name=algorithm,
            kl_coefficient=0.1,
            reference_every=1,
            importance_cap=2.0,
            tokens_per_micro_batch=17,
        )
        done = [learner.update(learner.prepare(samples)) for _ in range(2)]
        outcomes.append((snapshot(learner.model), done))
    for weights, done in outcomes[1:]:
        assert distance(weights, outcomes[0][0]) < 1e-9
        for mine, theirs in zip(done, outcomes[0][1], strict=True):
            assert (mine.loss, mine.kl, mine.grad_norm) == pytest.approx(
                (theirs.loss, theirs.kl, theirs.grad_norm), abs=1e-9
            )


@pytest.mark.parametrize(
    ("algorithm", "loss"),
    # two on-policy samples of 4 and 2 tokens with advantages 1 and -3: the ratio is 1, so the loss
    # is -(1 - 3) / 2 = 1; -(4 - 6) / 6 = 1/3; and -(4 - 6) / (2 x 16) = 1/16
    [("grpo", 1.0), ("gspo", 1.0), ("dapo", 1 / 3), ("dr_grpo", 1 / 16)],
)
def test_loss_on_policy(make_model: MakeModel, algorithm: str, loss: float) -> None:
    model = make_model().float()
    samples = [
        Sample((1, 2), (3, 4, 5, 6), (0.0,) * 4, 1.0),
        Sample((1,), (7, 8), (0.0,) * 2, -3.0),
    ]
    learner = policy_learner(model, name=algorithm)
    metrics = learner.update(learner.prepare(on_policy(model, samples)))
    assert metrics.ratio_max == pytest.approx(1.0, abs=1e-5)
    assert metrics.loss == pytest.approx(loss, abs=1e-6)
    assert (metrics.gap_mean, metrics.gap_max) == pytest.approx((0.0, 0.0), abs=1e-5)
    assert (metrics.samples, metrics.tokens) == (2, 6)


def test_gap_is_reported_on_the_first_update_of_a_rollout(
    make_model: MakeModel, samples: list[Sample]
) -> None:
    learner = policy_learner(make_model())
    exact = on_policy(learner.model, samples)
    # off by 0.25 at every token
    drawn = [replace(s, logprobs=tuple(value - 0.25 for value in s.logprobs)) for s in exact]
    rows = learner.prepare(drawn)
    first, second = learner.update(rows[:4]), learner.update(rows[4:])
    assert first.gap_mean == pytest.approx(0.25, abs=1e-6)
    assert first.gap_max == pytest.approx(0.25, abs=1e-6)
    assert second.gap_mean is None
    assert learner.update(learner.prepare(drawn)).gap_mean is not None


def test_old_logprobs_are_not_computed_unless_asked_for(
    make_model: MakeModel, samples: list[Sample]
) -> None:
    calls: list[nn.Module] = []
    for cap in (None, 2.0):
        learner = policy_learner(make_model(), importance_cap=cap)
        learner.model.base_model.register_forward_hook(lambda module, *_: calls.append(module))
        rows = learner.prepare(samples)
        assert bool(calls) is (cap is not None)
        if cap is None:
            assert rows[0].old_T.tolist() == pytest.approx(samples[0].logprobs)
            assert rows[0].weights_T is None


def test_truncated_importance_sampling(make_model: MakeModel) -> None:
    # the sampler's log-probability is ln 4 too low and ln 2 too high: weights min(4, 3) and 1/2
    model = make_model()
    (exact,) = on_policy(model, [Sample((1,), (2, 3), (0.0, 0.0), 1.0)])
    off = (exact.logprobs[0] - math.log(4), exact.logprobs[1] + math.log(2))
    learner = policy_learner(model, importance_cap=3.0)
    (row,) = learner.prepare([replace(exact, logprobs=off)])
    assert row.weights_T is not None
    assert row.weights_T.tolist() == pytest.approx([3.0, 0.5], abs=1e-5)
    assert row.old_T.tolist() == pytest.approx(exact.logprobs)
    metrics = learner.update([row])
    assert metrics.loss == pytest.approx(-(3.0 + 0.5) / 2, abs=1e-5)
    assert metrics.ratio_max == pytest.approx(1.0)


def test_samples_left_out_leave_numerator_and_denominator(
    make_model: MakeModel, samples: list[Sample]
) -> None:
    kept = policy_learner(make_model(), name="dapo", kl_coefficient=0.1)
    masked = policy_learner(make_model(), name="dapo", kl_coefficient=0.1)
    first = kept.update(kept.prepare(samples[:5]))
    second = masked.update(masked.prepare(samples, left_out=[False] * 5 + [True] * 3))
    assert (second.samples, second.tokens, second.loss) == (5, first.tokens, first.loss)
    assert distance(snapshot(kept.model), snapshot(masked.model)) == 0.0


def test_samples_without_advantage_are_skipped_but_counted(
    make_model: MakeModel, samples: list[Sample]
) -> None:
    dull = [replace(sample, advantage=0.0) for sample in samples[4:]]
    alone = policy_learner(make_model(), name="grpo", max_grad_norm=math.inf)
    diluted = policy_learner(make_model(), name="grpo", max_grad_norm=math.inf)
    first = alone.update(alone.prepare(samples[:4]))
    second = diluted.update(diluted.prepare([*samples[:4], *dull]))
    assert (second.samples, second.samples_skipped) == (8, 4)
    assert second.grad_norm == pytest.approx(first.grad_norm / 2)
    assert second.entropy == pytest.approx(first.entropy)


@ALL
def test_uniform_groups_change_nothing(
    make_model: MakeModel, samples: list[Sample], algorithm: str
) -> None:
    learner = policy_learner(make_model(), name=algorithm)
    before = snapshot(learner.model)
    metrics = learner.update(learner.prepare([replace(s, advantage=0.0) for s in samples]))
    assert (metrics.grad_norm, metrics.loss, metrics.entropy) == (0.0, 0.0, None)
    assert (metrics.step, metrics.samples_skipped) == (1, 8)
    assert distance(before, snapshot(learner.model)) == 0.0


def test_everything_left_out_is_a_step_without_change(
    make_model: MakeModel, samples: list[Sample]
) -> None:
    learner = policy_learner(make_model())
    metrics = learner.update(learner.prepare(samples, left_out=[True] * 8))
    assert (metrics.step, metrics.samples, metrics.grad_norm) == (1, 0, 0.0)


def test_kl_alone_pulls_towards_the_reference(make_model: MakeModel, samples: list[Sample]) -> None:
    learner = policy_learner(make_model(), kl_coefficient=1.0)
    assert learner.reference is not None
    learner.reference.load_state_dict(make_model(seed=1).state_dict())
    rows = learner.prepare([replace(s, advantage=0.0) for s in samples])
    distances = [learner.update(rows).kl for _ in range(6)]
    assert distances[0] is not None
    assert distances[-1] is not None
    assert 0 < distances[-1] < distances[0]


def test_gradient_is_clipped_before_the_step(make_model: MakeModel, samples: list[Sample]) -> None:
    learner = policy_learner(make_model(), max_grad_norm=0.01)
    metrics = learner.update(learner.prepare(samples))
    assert metrics.grad_norm > 0.01
    parameters = [p.grad for p in learner.model.parameters() if p.grad is not None]
    assert float(torch.nn.utils.get_total_norm(parameters)) == pytest.approx(0.01, rel=1e-4)


@pytest.mark.parametrize(
    ("logprob", "stop", "words"),
    [
        (math.nan, math.inf, "the loss is nan"),
        (-math.inf, math.inf, "the loss is inf"),
        (-2.0, 1e-6, "above stop_grad_norm=1e-06"),
    ],
)
def test_stops_before_any_weight_changes(
    make_model: MakeModel, samples: list[Sample], logprob: float, stop: float, words: str
) -> None:
    learner = policy_learner(make_model(), stop_grad_norm=math.inf, clip_high=10.0)
    learner.update(learner.prepare(samples))
    trainer = learner.trainer
    trainer.settings = trainer.settings.model_copy(update={"stop_grad_norm": stop})
    before, state = snapshot(learner.model), str(trainer.optimizer.state_dict())
    broken = Sample((1, 2), (3,), (logprob,), -1.0)
    with pytest.raises(TrainingStopped, match=rf"step 2.*{words}.*lower optimizer.learning_rate"):
        learner.update(learner.prepare([*samples, broken]))
    assert distance(before, snapshot(learner.model)) == 0.0
    assert str(trainer.optimizer.state_dict()) == state
    assert learner.step == 1


def test_reference_is_refreshed_every_so_many_steps(
    make_model: MakeModel, samples: list[Sample]
) -> None:
    learner = policy_learner(make_model(), kl_coefficient=0.1, reference_every=2)
    assert isinstance(learner.reference, CopiedReference)
    same = []
    for _ in range(4):
        learner.update(learner.prepare(samples))
        same.append(distance(snapshot(learner.model), snapshot(learner.reference.model)) == 0.0)
    assert same == [False, True, False, True]
    assert not any(weight.requires_grad for weight in learner.reference.model.parameters())


@pytest.mark.parametrize("tied", [True, False])
def test_resume_is_bit_identical(make_model: MakeModel, samples: list[Sample], tied: bool) -> None:
    settings: dict[str, Any] = {
        "kl_coefficient": 0.1,
        "reference_every": 3,
        "schedule": "cosine",
        "warmup_steps": 2,
        "weight_decay": 0.1,
    }
    whole = policy_learner(make_model(tied=tied), **settings)
    file = io.BytesIO()
    for step in range(5):
        if step == 2:
            torch.save(whole.state_dict(), file)
        last = whole.update(whole.prepare(samples))
    resumed = policy_learner(make_model(tied=tied, seed=9), **settings)
    file.seek(0)
    resumed.load_state_dict(torch.load(file))
    for _ in range(3):
        again = resumed.update(resumed.prepare(samples))
    assert again == last
    assert isinstance(resumed.reference, CopiedReference)
    assert isinstance(whole.reference, CopiedReference)
    assert distance(snapshot(whole.model), snapshot(resumed.model)) == 0.0
    assert distance(snapshot(whole.reference.model), snapshot(resumed.reference.model)) == 0.0


def test_resuming_without_the_reference_is_refused(make_model: MakeModel) -> None:
    state = policy_learner(make_model(), kl_coefficient=0.1).state_dict()
    with pytest.raises(ConfigError, match="with a reference model, and kl_coefficient is now 0"):
        policy_learner(make_model()).load_state_dict(state)


def test_learning_rate_follows_the_schedule(make_model: MakeModel, samples: list[Sample]) -> None:
    learner = policy_learner(make_model(), learning_rate=0.4, warmup_steps=4)
    rates = [learner.update(learner.prepare(samples[:2])).learning_rate for _ in range(5)]
    assert rates == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4])


def test_bfloat16_autocast_trains_float32_weights(
    make_model: MakeModel, samples: list[Sample]
) -> None:
    learner = policy_learner(make_model().float(), autocast="bfloat16")
    metrics = learner.update(learner.prepare(samples))
    assert math.isfinite(metrics.loss)
    assert {weight.dtype for weight in learner.weights().values()} == {torch.float32}


def test_saved_folder_is_an_ordinary_model(
    make_model: MakeModel, samples: list[Sample], tmp_path: Path
) -> None:
    learner = policy_learner(make_model())
    learner.update(learner.prepare(samples))
    learner.model.save_pretrained(tmp_path)
    loaded = load_model(tmp_path, dtype=torch.float64)
    assert distance(dict(learner.weights()), loaded.state_dict()) == 0.0
