"""Models of a few hundred parameters, and samples for them."""

import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from dianoia.base.records import Sample
from dianoia.config import AlgorithmSettings, OptimizerSettings
from dianoia.learner.policy import PolicyLearner

VOCABULARY = 13
SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 8,
    "intermediate_size": 12,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 64,
    "initializer_range": 0.5,
}
KINDS = {
    "qwen3": (Qwen3Config, Qwen3ForCausalLM, {"head_dim": 4}),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM, {}),
    "llama": (LlamaConfig, LlamaForCausalLM, {}),
}

MakeModel = Callable[..., PreTrainedModel]


def optimizer_settings(**settings: Any) -> OptimizerSettings:
    """An optimizer's table with defaults for tests; limits that a recipe refuses are allowed."""
    defaults = {"learning_rate": 1e-2, "floor": 0.0, "stop_grad_norm": float("inf")}
    return OptimizerSettings.model_construct(**{**defaults, **settings})


def policy_learner(model: PreTrainedModel, **settings: Any) -> PolicyLearner:
    """A learner from the keys of both tables and of `PolicyLearner`, in one row."""
    algorithm = {"clip_low": 0.2, "clip_high": 0.2, "kl_coefficient": 0.0}
    options: dict[str, Any] = {"max_tokens": 16, "total_steps": 10}
    optimizer = {}
    for key, value in settings.items():
        if key in OptimizerSettings.model_fields:
            optimizer[key] = value
        elif key in AlgorithmSettings.model_fields:
            algorithm[key] = value
        else:
            options[key] = value
    return PolicyLearner(
        model, AlgorithmSettings(**algorithm), optimizer_settings(**optimizer), **options
    )


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Models this small only lose time to several threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def make_model() -> MakeModel:
    """A tiny model in float64, whose weights depend on the seed alone."""

    def make(family: str = "qwen3", tied: bool = True, seed: int = 0) -> PreTrainedModel:
        config, model, extra = KINDS[family]
        torch.manual_seed(seed)
        return model(config(**SIZES, **extra, tie_word_embeddings=tied)).double().eval()

    return make


@pytest.fixture
def samples() -> list[Sample]:
    """Eight samples of uneven lengths with advantages of both signs and off-policy log-probs."""
    draw = random.Random(5)
    lengths = [(3, 4), (1, 1), (6, 9), (2, 3), (3, 12), (4, 2), (1, 7), (5, 5)]
    return [
        Sample(
            tuple(draw.randrange(VOCABULARY) for _ in range(prompt)),
            tuple(draw.randrange(VOCABULARY) for _ in range(response)),
            tuple(-draw.uniform(1.0, 4.0) for _ in range(response)),
            draw.choice([-1.5, -0.5, 0.5, 1.0]),
        )
        for prompt, response in lengths
    ]
