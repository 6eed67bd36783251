"""Tiny random models and requests for the sampler's tests."""

import random

import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from dianoia.base.records import Completion, Request

VOCABULARY = 50
POSITIONS = 96
SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": POSITIONS,
}
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
FAMILIES = ("qwen3", "qwen3-tied", "qwen2", "qwen2-tied", "llama", "llama-rope-bias")


def make(family: str, seed: int = 0) -> PreTrainedModel:
    """A model with weights large enough that every part of it shows in the logits."""
    builders = {
        "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**SIZES, head_dim=16)),
        "qwen3-tied": lambda: Qwen3ForCausalLM(
            Qwen3Config(**SIZES, head_dim=8, tie_word_embeddings=True)
        ),
        "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**SIZES)),
        "qwen2-tied": lambda: Qwen2ForCausalLM(Qwen2Config(**SIZES, tie_word_embeddings=True)),
        "llama": lambda: LlamaForCausalLM(LlamaConfig(**SIZES)),
        "llama-rope-bias": lambda: LlamaForCausalLM(
            LlamaConfig(**SIZES, attention_bias=True, mlp_bias=True, rope_parameters=LLAMA3_ROPE)
        ),
        "gpt2": lambda: GPT2LMHeadModel(
            GPT2Config(vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4, n_positions=POSITIONS)
        ),
    }
    torch.manual_seed(seed)
    model: PreTrainedModel = builders[family]().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn_like(parameter) * 0.25
            parameter.copy_(noise if parameter.dim() > 1 else parameter + noise)
    return model


def requests(count: int, samples: int = 3, longest: int = 20) -> list[Request]:
    """Prompts of 1 to `longest` tokens, with 1 to `samples` samples each."""
    rng = random.Random(count)
    return [
        Request(
            tuple(rng.randrange(VOCABULARY) for _ in range(rng.randint(1, longest))),
            rng.randint(1, samples),
            (7, index),
        )
        for index in range(count)
    ]


@torch.no_grad()
def forward_logprobs(
    model: PreTrainedModel, prompt: tuple[int, ...], ids: tuple[int, ...], temperature: float = 1.0
) -> list[float]:
    """Log-probability of each response id by one plain forward of the model."""
    logits_LV = model(torch.tensor([prompt + ids])).logits[0].float()
    logprobs_LV = (logits_LV / (temperature or 1.0)).log_softmax(-1)
    return [logprobs_LV[len(prompt) - 1 + i, token].item() for i, token in enumerate(ids)]


def worst_difference(
    model: PreTrainedModel,
    requested: list[Request],
    answered: list[list[Completion]],
    temperature: float = 1.0,
) -> float:
    """Largest difference between recorded log-probabilities and those of a plain forward."""
    return max(
        abs(ours - theirs)
        for request, group in zip(requested, answered, strict=True)
        for completion in group
        for ours, theirs in zip(
            completion.logprobs,
            forward_logprobs(model, request.prompt_ids, completion.ids, temperature),
            strict=True,
        )
    )
