"""Scalar heads: where the reward is read, one denominator a step, exact continuation, refusals."""

import math
import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import (
    AutoModelForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedModel,
)

from dianoia.base.errors import ModelError, TrainingStopped
from dianoia.learner.reward_learner import (
    Example,
    Rewarder,
    RewardModelLearner,
    forward,
    micro_batches,
)
from dianoia.learner.reward_model_folder import load_reward_model, start_reward_model
from tests.unit.learner.conftest import VOCABULARY, MakeModel, optimizer_settings

PAD = 0
Make = Callable[..., PreTrainedModel]


@pytest.fixture
def scalar(make_model: MakeModel, tmp_path: Path) -> Make:
    """A reward model in float64 on the backbone of a tiny causal model."""

    def make(family: str = "qwen3", seed: int = 0) -> PreTrainedModel:
        folder = tmp_path / family
        if not folder.exists():
            make_model(family).float().save_pretrained(folder)
        model = start_reward_model(folder, seed)
        model.config.pad_token_id = PAD
        return model.double()

    return make


def texts(count: int, seed: int = 1) -> list[tuple[int, ...]]:
    draw = random.Random(seed)
    return [
        tuple(draw.randrange(1, VOCABULARY) for _ in range(draw.randint(1, 9)))
        for _ in range(count)
    ]


def pairs(count: int) -> list[Example]:
    ids = texts(2 * count)
    return [Example((ids[2 * i], ids[2 * i + 1])) for i in range(count)]


def labelled(count: int) -> list[Example]:
    return [Example((ids,), good=bool(i % 3)) for i, ids in enumerate(texts(count))]


def learner(model: PreTrainedModel, **settings: float) -> RewardModelLearner:
    budget = int(settings.pop("tokens_per_micro_batch", 16_384))
    optimizer = optimizer_settings(**settings)
    return RewardModelLearner(model, optimizer, total_steps=10, tokens_per_micro_batch=budget)


def weights(model: PreTrainedModel) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in model.parameters()]


@pytest.mark.parametrize("family", ["qwen3", "qwen2", "llama"])
def test_the_reward_is_read_at_the_last_real_token(family: str, scalar: Make) -> None:
    model = scalar(family)
    candidates = texts(6)
    with torch.no_grad():
        together = forward(model, candidates)
        hidden = [
            model.base_model(torch.tensor([ids])).last_hidden_state[0, -1] for ids in candidates
        ]
    by_hand = torch.stack([model.score(state)[0] for state in hidden])
    assert together.std() > 0
    assert torch.allclose(together, by_hand, atol=1e-12)
    rewards = Rewarder(model, tokens_per_batch=12)(candidates)
    assert rewards == pytest.approx(by_hand.tolist(), abs=1e-6)
    assert Rewarder(model, tokens_per_batch=12)([]) == []


def test_a_head_that_is_zero_costs_log_2(scalar: Make) -> None:
    for examples in (pairs(5), labelled(5)):
        model = scalar()
        torch.nn.init.zeros_(model.score.weight)
        done = learner(model).update(examples)
        assert done.loss == pytest.approx(math.log(2), abs=1e-12)
        assert {reward for rewards in done.rewards for reward in rewards} == {0.0}
        assert done.tokens == sum(len(ids) for e in examples for ids in e.texts)


@pytest.mark.parametrize("make", [pairs, labelled])
@pytest.mark.parametrize("threads", [1, 2])
def test_one_micro_batch_equals_many(
    make: Callable[[int], list[Example]], threads: int, scalar: Make
) -> None:
    examples = make(11)
    whole, split = scalar(), scalar()
    trained = learner(whole, tokens_per_micro_batch=3000).update(examples)
    torch.set_num_threads(threads)
    many = learner(split, tokens_per_micro_batch=20).update(examples)
    assert len(micro_batches(examples, 20)) > 3 and len(micro_batches(examples, 3000)) == 1
    assert many.loss == pytest.approx(trained.loss, abs=1e-6)
    assert many.grad_norm == pytest.approx(trained.grad_norm, abs=1e-6)
    for expected, actual in zip(trained.rewards, many.rewards, strict=True):
        assert actual == pytest.approx(expected, abs=1e-6)
    for expected_, actual_ in zip(weights(whole), weights(split), strict=True):
        assert torch.allclose(expected_, actual_, atol=1e-6)


@pytest.mark.parametrize("shared", [False, True])
def test_a_micro_batch_keeps_within_its_budget(shared: bool) -> None:
    examples = pairs(20)
    batches = micro_batches(examples, 40, shared=shared)
    assert sorted(index for batch in batches for index in batch) == list(range(20))
    for batch in batches:
        assert len(batch) * 2 * max(examples[index].longest for index in batch) <= 40
    thirds = micro_batches(examples, 10_000, replicas=3, shared=shared)
    assert [len(batch) for batch in thirds] == [7, 7, 6]
    assert micro_batches([], 40, replicas=3, shared=shared) == []
    single = micro_batches(examples, 1, shared=shared)
    assert single == [[i] for batch in single for i in batch]


def test_examples_of_a_prompt_stay_together_where_it_runs_once() -> None:
    examples = [Example(((1,) * n, (2,))) for n in (3, 9, 3, 3, 9)]
    # Padded: 2 texts of 9, then 4 of 3 = 12, then 2 of 9; by length the two of 9 come first.
    assert micro_batches(examples, 18, shared=True) == [[0], [1], [2, 3], [4]]
    assert micro_batches(examples, 36) == [[1, 4], [0, 2, 3]]


def test_going_on_from_a_state(scalar: Make) -> None:
    batches = [pairs(4), pairs(6), pairs(5)]
    straight, first, second = (learner(scalar()) for _ in range(3))
    for batch in batches:
        last = straight.update(batch)
    first.update(batches[0])
    second.load_state_dict(first.state_dict())
    for batch in batches[1:]:
        again = second.update(batch)
    assert again == last and again.step == 3
    assert all(map(torch.equal, weights(straight.model), weights(second.model)))


def test_the_gradient_is_clipped(scalar: Make) -> None:
    model = scalar()
    trained = learner(model, max_grad_norm=1e-3)
    done = trained.update(pairs(4))
    clipped = math.sqrt(sum(float((p.grad**2).sum()) for p in model.parameters()))
    assert done.grad_norm > 1e-3 and clipped == pytest.approx(1e-3, rel=1e-3)


@pytest.mark.parametrize("broken", [math.nan, math.inf, 1e6])
def test_a_broken_step_changes_nothing(broken: float, scalar: Make) -> None:
    model = scalar()
    with torch.no_grad():
        model.score.weight.fill_(broken)
    before = weights(model)
    with pytest.raises(TrainingStopped, match="No weight was changed") as caught:
        learner(model, stop_grad_norm=10.0).update(pairs(4))
    assert "optimizer.learning_rate (now 0.01)" in str(caught.value)
    for expected, actual in zip(before, weights(model), strict=True):
        assert torch.equal(expected.nan_to_num(), actual.nan_to_num())


def test_the_seed_draws_the_head_and_nothing_else(scalar: Make) -> None:
    first, same, other = scalar(seed=1), scalar(seed=1), scalar(seed=2)
    assert torch.equal(first.score.weight, same.score.weight)
    assert not torch.equal(first.score.weight, other.score.weight)
    backbones = [weights(model.base_model) for model in (first, other)]
    assert all(map(torch.equal, *backbones))


def test_other_architectures(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=VOCABULARY, n_embd=8, n_layer=1, n_head=2, n_positions=16)
    GPT2LMHeadModel(config).save_pretrained(tmp_path / "gpt2")
    model = start_reward_model(tmp_path / "gpt2", seed=0)
    model.config.pad_token_id = PAD
    done = learner(model).update(pairs(3))
    assert math.isfinite(done.loss)


def test_what_is_no_reward_model_is_refused(
    make_model: MakeModel, scalar: Make, tmp_path: Path
) -> None:
    make_model().save_pretrained(tmp_path / "causal")
    with pytest.raises(ModelError, match=r"no scalar head \(score.weight"):
        load_reward_model(tmp_path / "causal")
    with pytest.raises(ModelError, match="nowhere"):
        load_reward_model(tmp_path / "nowhere")
    model = scalar()
    model.save_pretrained(tmp_path / "scalar")
    again = load_reward_model(tmp_path / "scalar")
    assert torch.equal(again.score.weight, model.score.weight.float())
    two = AutoModelForSequenceClassification.from_pretrained(tmp_path / "causal", num_labels=2)
    two.save_pretrained(tmp_path / "two")
    for load in (load_reward_model, lambda folder: start_reward_model(folder, 1)):
        with pytest.raises(ModelError, match="exactly one label"):
            load(tmp_path / "two")
