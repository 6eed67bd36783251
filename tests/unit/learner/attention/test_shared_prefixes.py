"""What texts begin with in common, run once, gives what it gives run again for each; where not, nobody shares."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    MambaConfig,
    MambaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
)

from dianoia.learner.attention import shared_prefixes as prefixes
from dianoia.learner.attention.shared_prefixes import Ids, can_share_prefixes, share_prefixes
from dianoia.learner.reward_learner import Example, Rewarder, RewardModelLearner, can_share, forward
from dianoia.learner.reward_model_folder import start_reward_model
from tests.unit.learner.conftest import VOCABULARY, MakeModel, optimizer_settings

PAD = 0
Make = Callable[..., PreTrainedModel]
TREE: list[Ids] = [(1, 2, 3), (1, 2, 4, 5), (6, 2), (1, 2), (1, 2, 4, 5)]
PARTED: list[Ids] = [(7, 2, 9), (4,), (5, 2, 2, 8)]


@pytest.fixture
def scalar(make_model: MakeModel, tmp_path: Path) -> Make:
    """A reward model in float64 on the backbone of a tiny causal model."""

    def make(family: str = "qwen3") -> PreTrainedModel:
        folder = tmp_path / family
        make_model(family).float().save_pretrained(folder)
        model = start_reward_model(folder, 0)
        model.config.pad_token_id = PAD
        return model.double()

    return make


def responses(prompts: int, count: int) -> list[list[Ids]]:
    """By prompt, with uneven lengths."""
    draw = random.Random(4)

    def ids(most: int) -> Ids:
        return tuple(draw.randrange(1, VOCABULARY) for _ in range(draw.randint(1, most)))

    return [[prompt + ids(6) for _ in range(count)] for prompt in (ids(9) for _ in range(prompts))]


def test_a_prefix_is_one_position() -> None:
    laid = share_prefixes(TREE)
    assert laid.ids_1N.tolist() == [[1, 2, 3, 4, 5, 6, 2]]
    assert laid.positions_1N.tolist() == [[0, 1, 2, 2, 3, 0, 1]]
    assert laid.prefixes_BL.tolist() == [
        [0, 1, 2, 2],
        [0, 1, 3, 4],
        [5, 6, 6, 6],
        [0, 1, 1, 1],
        [0, 1, 3, 4],
    ]
    assert laid.first_N.tolist() == [0, 1, 2, 6, 7, 8, 9]
    assert laid.last_B.tolist() == [2, 4, 6, 1, 4]


@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=6).map(tuple), min_size=1))
def test_positions_are_the_distinct_prefixes(texts: list[Ids]) -> None:
    laid = share_prefixes(texts)
    distinct = {text[:end] for text in texts for end in range(1, len(text) + 1)}
    assert laid.ids_1N.numel() == len(distinct)
    for text, row in zip(texts, laid.prefixes_BL, strict=True):
        read = row[: len(text)]
        assert tuple(laid.ids_1N[0, read].tolist()) == text
        assert laid.positions_1N[0, read].tolist() == list(range(len(text)))
    first_N = laid.prefixes_BL.flatten()[laid.first_N]
    assert first_N.tolist() == list(range(len(distinct)))


def passed(model: PreTrainedModel, texts: list[Ids], shared: bool) -> list[Tensor]:
    """Rewards, and the gradient of a sum that weighs every text differently."""
    rewards_N = forward(model, texts, shared)
    model.zero_grad()
    (rewards_N * torch.arange(1.0, len(texts) + 1).cos()).sum().backward()
    return [
        rewards_N.detach(),
        *(p.grad.clone() for p in model.parameters() if p.grad is not None),
    ]


@pytest.mark.parametrize("family", ["qwen3", "qwen2", "llama"])
@pytest.mark.parametrize("texts", [TREE, PARTED], ids=["a tree", "nothing in common"])
def test_rewards_and_gradients(family: str, texts: list[Ids], scalar: Make) -> None:
    model = scalar(family)
    assert can_share(model)
    shared, alone = passed(model, texts, True), passed(model, texts, False)
    assert shared[0].std() > 0 and len(shared) == len(alone) > 10
    for first, other in zip(shared, alone, strict=True):
        # norms are float32 in a float64 model, too
        torch.testing.assert_close(first, other, rtol=0.0, atol=2e-6 * float(other.abs().max()))


def test_a_step_of_pairs(scalar: Make) -> None:
    examples = [Example((first, other)) for first, other in responses(prompts=7, count=2)]
    results = []
    for shared in (True, False):
        model = scalar()
        learner = RewardModelLearner(model, optimizer_settings(), total_steps=5)
        assert learner.rewards.shared
        learner.rewards.shared = shared
        done = learner.update(examples)
        flat = [reward for rewards in done.rewards for reward in rewards]
        results.append([done.loss, done.grad_norm, *flat])
        results[-1] += learner.rewards([ids for example in examples for ids in example.texts])
    assert results[0] == pytest.approx(results[1], abs=1e-6)


def test_the_backbone_sees_a_prompt_once(scalar: Make) -> None:
    model, calls = scalar(), []
    texts = [(1, 2, 3, 4, 5, ending) for ending in range(6, 12)]
    rewarder = Rewarder(model, tokens_per_batch=1000)
    model.get_input_embeddings().register_forward_hook(lambda m, i, o: calls.append(o.shape[1]))
    assert len(set(rewarder(texts))) == 6
    assert calls == [5 + 6]


def test_nan_weights_stay_visible(make_model: MakeModel) -> None:
    model = make_model()
    with torch.no_grad():
        model.get_input_embeddings().weight[12] = float("nan")
    states_BD = prefixes.last_states(model, share_prefixes([(1, 2, 12), (1, 2, 3)]))
    assert states_BD[0].isnan().all()


# Architectures for which it would not be exact ----------------------------------------------------


SMALL: dict[str, Any] = {
    "vocab_size": 13,
    "hidden_size": 8,
    "intermediate_size": 12,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
}


def windowed() -> PreTrainedModel:
    return MistralForCausalLM(MistralConfig(**SMALL, sliding_window=4))


def recurrent() -> PreTrainedModel:
    return MambaForCausalLM(MambaConfig(vocab_size=13, hidden_size=8, num_hidden_layers=2))


def absolute() -> PreTrainedModel:
    config = GPT2Config(vocab_size=13, n_embd=8, n_layer=2, n_head=2, n_positions=64)
    return GPT2LMHeadModel(config)


@pytest.mark.parametrize(
    ("make", "shares"), [(windowed, False), (recurrent, False), (absolute, True)]
)
def test_other_architectures(make: Callable[[], PreTrainedModel], shares: bool) -> None:
    torch.manual_seed(0)
    assert can_share_prefixes(make().double().eval()) is shares


def test_a_difference_is_noticed(make_model: MakeModel, monkeypatch: pytest.MonkeyPatch) -> None:
    exact = prefixes.sdpa
    monkeypatch.setattr(prefixes, "sdpa", lambda *inputs: exact(*inputs) * 1.001)
    assert not can_share_prefixes(make_model())
