"""The value model: credit by hand, one step however it is cut, exact resume, a stop before any change."""

import io
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from dianoia.base.errors import ConfigError, ModelError, TrainingStopped
from dianoia.base.records import Sample
from dianoia.learner.attention.prompt_sharing import can_share_prompts
from dianoia.learner.batching.batch import Layout, PreparedSample, collate
from dianoia.learner.critic import ValueModel
from dianoia.learner.policy import PolicyLearner
from tests.unit.learner.conftest import policy_learner

MakeModel = Callable[..., PreTrainedModel]
HEAD = 0.3
"""Scale of a head that has learnt already, so that the backbone has a gradient from the first step."""


def samples_with_rewards(samples: list[Sample]) -> list[Sample]:
    return [replace(s, advantage=0.0, reward=float(n % 3)) for n, s in enumerate(samples)]


def ppo(model: PreTrainedModel, **settings: Any) -> PolicyLearner:
    learner = policy_learner(model, **{"name": "ppo", "gae_lambda": 0.95, **settings})
    assert learner.critic is not None
    draw = torch.Generator().manual_seed(4)
    with torch.no_grad():
        weight = learner.critic.model.head.weight
        weight.copy_(HEAD * torch.randn(weight.shape, generator=draw))
    return learner


def critic_weights(learner: PolicyLearner) -> dict[str, Tensor]:
    assert learner.critic is not None
    return {name: weight.clone() for name, weight in learner.critic.model.state_dict().items()}


def weights(learner: PolicyLearner) -> dict[str, Tensor]:
    return {name: weight.clone() for name, weight in learner.weights().items()}


def distance(a: dict[str, Tensor], b: dict[str, Tensor]) -> float:
    return max(float((a[name] - b[name]).abs().max()) for name in a)


def both(learner: PolicyLearner) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    return weights(learner), critic_weights(learner)


def apart(
    a: tuple[dict[str, Tensor], dict[str, Tensor]], b: tuple[dict[str, Tensor], dict[str, Tensor]]
) -> float:
    return max(distance(mine, theirs) for mine, theirs in zip(a, b, strict=True))


# The value model ----------------------------------------------------------------------------------


def test_values_begin_at_zero_and_the_backbone_is_the_policys(make_model: MakeModel) -> None:
    policy = make_model()
    built = ValueModel(policy)
    theirs = policy.base_model.state_dict()
    assert all(torch.equal(w, theirs[name]) for name, w in built.backbone.state_dict().items())
    rows = [PreparedSample(Sample((1, 2), (3, 4), (0.0, 0.0), 0.0), torch.zeros(2))]
    assert built(collate(rows)).tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize("layout", list(Layout))
def test_a_value_is_of_the_state_before_its_token(make_model: MakeModel, layout: Layout) -> None:
    policy = make_model()
    assert can_share_prompts(policy)
    built = ValueModel(policy)
    nn.init.normal_(built.head.weight)

    def values(*responses: tuple[int, ...]) -> Tensor:
        rows = [
            PreparedSample(Sample((1, 2), r, (0.0,) * len(r), 0.0), torch.zeros(len(r)))
            for r in responses
        ]
        got: Tensor = built(collate(rows, layout=layout)).detach()
        return got

    first_BT = values((3, 4, 5), (3, 9, 5))
    # V(prompt) and V(prompt, 3) are before the tokens differ; V(prompt, 3, 4) and V(prompt, 3, 9) are not
    assert torch.allclose(first_BT[0, :2], first_BT[1, :2], atol=1e-9)
    assert float((first_BT[0, 2] - first_BT[1, 2]).abs()) > 1e-3
    by_hand = built.head(policy.base_model(torch.tensor([[1, 2, 3, 4, 5]])).last_hidden_state)
    assert first_BT[0].tolist() == pytest.approx(by_hand[0, 1:4, 0].tolist(), abs=1e-6)


def test_a_model_without_a_backbone_is_refused(make_model: MakeModel) -> None:
    with pytest.raises(ModelError, match="algorithm.name = 'ppo'.*no backbone"):
        ValueModel(make_model().base_model)


# Credit -------------------------------------------------------------------------------------------


def test_the_credit_of_a_rollout_by_hand(make_model: MakeModel) -> None:
    # values are 0, so with lambda 1 every token of a sample has its reward, whatever its length
    learner = policy_learner(make_model(), name="ppo", whiten_advantages=False)
    samples = [Sample((1,), (2, 3, 4), (-1.0,) * 3, 0.0, 2.0), Sample((1,), (5,), (-1.0,), 0.0)]
    first, second = learner.prepare(samples)
    assert first.credit is not None and second.credit is not None
    assert first.credit.advantages_T.tolist() == first.credit.returns_T.tolist() == [2.0] * 3
    assert first.credit.values_T.tolist() == [0.0] * 3
    assert second.credit.advantages_T.tolist() == [0.0]
    done = learner.update([first, second])
    # three returns of 2 and one of 0: loss (4 + 4 + 4) / 2 / 4; mean 1.5; std sqrt(.75)
    assert done.value is not None
    assert done.value.loss == pytest.approx(1.5)
    assert (done.value.values_mean, done.value.explained_variance) == (0.0, 0.0)
    assert done.value.advantages_mean == pytest.approx(1.5)
    assert done.value.advantages_std == pytest.approx(math.sqrt(0.75))
    assert done.samples == 2 and done.tokens == 4


def test_whitening_is_over_the_counted_tokens_of_the_rollout(
    make_model: MakeModel, samples: list[Sample]
) -> None:
    left_out = [False, True] * 4
    learner = ppo(make_model())
    rows = learner.prepare(samples_with_rewards(samples), left_out)
    remaining = [r.credit.advantages_T for r in rows if r.counted and r.credit is not None]
    advantages_M = torch.cat(remaining)
    assert float(advantages_M.mean()) == pytest.approx(0.0, abs=1e-6)
    assert float(advantages_M.std(correction=0)) == pytest.approx(1.0, abs=1e-6)
    assert not any(r.credit.advantages_T.any() for r in rows if not r.counted and r.credit)


def test_the_divergence_stands_in_the_reward_or_in_the_loss(make_model: MakeModel) -> None:
    sample = Sample((1, 2), (3, 4), (-1.0, -2.0), 0.0, 1.0)
    actual = []
    for kl_in in ("reward", "loss"):
        learner = policy_learner(
            make_model(), name="ppo", whiten_advantages=False, kl_in=kl_in, kl_coefficient=0.5
        )
        assert learner.reference is not None
        learner.reference.load_state_dict(make_model(seed=1).state_dict())
        (row,) = learner.prepare([sample])
        assert row.ref_T is not None and row.credit is not None
        penalty_T = -0.5 * (row.old_T - row.ref_T)
        actual.append((row.credit.returns_T, penalty_T, learner.update([row])))
    (with_penalty_T, penalty_T, first), (without_T, _, second) = actual
    assert without_T.tolist() == [1.0, 1.0]
    expected = [1.0 + float(penalty_T.sum()), 1.0 + float(penalty_T[1])]
    assert with_penalty_T.tolist() == pytest.approx(expected, abs=1e-6)
    assert abs(expected[0] - expected[1]) > 1e-3
    assert first.kl == pytest.approx(second.kl) and (first.kl or 0.0) > 0.0


# One step -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("clip", [None, 0.05])
def test_micro_batches_and_threads_do_not_change_the_step(
    make_model: MakeModel, samples: list[Sample], clip: float | None
) -> None:
    outcomes = []
    for budget, threads in ((10_000, 1), (17, 1), (1, 1), (17, 2)):
        torch.set_num_threads(threads)
        learner = ppo(
            make_model(),
            value_clip=clip,
            kl_in="reward",
            kl_coefficient=0.1,
            tokens_per_micro_batch=budget,
        )
        before = both(learner)
        rows = learner.prepare(samples_with_rewards(samples))
        done = [learner.update(rows), learner.update(rows)][-1]
        assert min(distance(a, b) for a, b in zip(before, both(learner), strict=True)) > 1e-3
        outcomes.append((both(learner), done))
    for trained, done in outcomes[1:]:
        assert apart(trained, outcomes[0][0]) < 1e-6
        assert done.loss == pytest.approx(outcomes[0][1].loss, abs=1e-6)
        assert done.value is not None and outcomes[0][1].value is not None
        assert done.value.loss == pytest.approx(outcomes[0][1].value.loss, abs=1e-6)
        assert done.value.clip_fraction == outcomes[0][1].value.clip_fraction
        assert (done.value.clip_fraction > 0) is (clip is not None)


def test_values_learn_the_returns(make_model: MakeModel, samples: list[Sample]) -> None:
    learner = ppo(
        make_model(), gae_lambda=1.0, value_learning_rate=3e-2, learning_rate=1e-9, total_steps=60
    )
    rewarded = samples_with_rewards(samples)
    variances = []
    for _ in range(60):
        done = learner.update(learner.prepare(rewarded)).value
        assert done is not None and done.explained_variance is not None
        variances.append(done.explained_variance)
    assert variances[0] < 0.3 < 0.9 < variances[-1]


def test_samples_left_out_teach_no_value(make_model: MakeModel, samples: list[Sample]) -> None:
    rewarded = samples_with_rewards(samples)
    remaining, masked = ppo(make_model()), ppo(make_model())
    first = remaining.update(remaining.prepare(rewarded[:5]))
    second = masked.update(masked.prepare(rewarded, left_out=[False] * 5 + [True] * 3))
    assert first.value is not None and second.value is not None
    assert second.value.loss == pytest.approx(first.value.loss, abs=1e-6)
    assert apart(both(remaining), both(masked)) < 1e-6


def test_everything_left_out_is_a_step_without_change(
    make_model: MakeModel, samples: list[Sample]
) -> None:
    learner = ppo(make_model())
    before = both(learner)
    done = learner.update(learner.prepare(samples, left_out=[True] * len(samples)))
    assert done.value is not None
    assert (done.step, done.samples, done.value.loss, done.value.values_mean) == (1, 0, 0.0, None)
    assert apart(before, both(learner)) == 0.0


# Stopping and going on ----------------------------------------------------------------------------


@pytest.mark.parametrize(("reward", "words"), [(math.nan, "nan"), (1e30, "inf|above")])
def test_a_broken_value_stops_before_any_weight_changes(
    make_model: MakeModel, samples: list[Sample], reward: float, words: str
) -> None:
    learner = ppo(make_model(), gae_lambda=1.0, stop_grad_norm=1e6)
    learner.update(learner.prepare(samples_with_rewards(samples)))
    before, (broken, *remainder) = both(learner), samples_with_rewards(samples)
    with pytest.raises(TrainingStopped, match=rf"value model's .*({words}).*value_learning_rate"):
        learner.update(learner.prepare([replace(broken, reward=reward), *remainder]))
    assert apart(before, both(learner)) == 0.0
    assert learner.step == 1


def test_resume_is_bit_identical(make_model: MakeModel, samples: list[Sample]) -> None:
    settings: dict[str, Any] = {
        "value_learning_rate": 2e-2,
        "value_clip": 0.5,
        "kl_in": "reward",
        "kl_coefficient": 0.1,
        "schedule": "cosine",
        "warmup_steps": 2,
        "weight_decay": 0.1,
    }
    rewarded, file = samples_with_rewards(samples), io.BytesIO()
    whole = ppo(make_model(), **settings)
    for step in range(5):
        if step == 2:
            torch.save(whole.state_dict(), file)
        last = whole.update(whole.prepare(rewarded))
    resumed = ppo(make_model(seed=9), **settings)
    file.seek(0)
    resumed.load_state_dict(torch.load(file))
    for _ in range(3):
        again = resumed.update(resumed.prepare(rewarded))
    assert again == last
    assert apart(both(whole), both(resumed)) == 0.0


def test_resuming_without_the_value_model_is_refused(make_model: MakeModel) -> None:
    plain = policy_learner(make_model())
    with pytest.raises(ConfigError, match="written with a value model"):
        plain.load_state_dict(ppo(make_model()).state_dict())
    with pytest.raises(ConfigError, match="written without a value model"):
        ppo(make_model()).load_state_dict(plain.state_dict())
