"""Qwen3 with random weights at two of its sizes, and random requests and samples. Nothing is downloaded."""

import random
from dataclasses import dataclass

import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from dianoia.base.records import Request, Sample

VOCABULARY = 151_936
SIZES = {
    "0.6B": {"hidden_size": 1024, "intermediate_size": 3072},
    "1.7B": {"hidden_size": 2048, "intermediate_size": 6144},
    "tiny": {"hidden_size": 64, "intermediate_size": 96},
}
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """Sizes of a model from which the work of the machine follows."""

    backbone: int
    """Parameters of the layers."""
    table: int
    """Parameters of the output head, which is the embedding."""
    width: int
    """Heads x head dimension x layers: multiplications of attention per pair of positions."""
    cached: int
    """Numbers in the KV cache per token."""

    def training(self, samples: list[Sample]) -> float:
        """Return the FLOP of a forward and a backward pass: 6 per parameter and position, and per pair and width.

        The output head counts at response tokens, where it is applied. Attention counts half of the square.
        """
        lengths = [len(sample.prompt_ids) + len(sample.response_ids) for sample in samples]
        scored = sum(len(sample.response_ids) for sample in samples)
        pairs = sum(length * length for length in lengths) * self.width
        return 6.0 * (self.backbone * sum(lengths) + self.table * scored + pairs)


def config_of(size: str) -> Qwen3Config:
    """Return the configuration; `tiny` is for trying the benchmark without a GPU."""
    tiny = size == "tiny"
    return Qwen3Config(
        **SIZES[size],
        vocab_size=1_000 if tiny else VOCABULARY,
        num_hidden_layers=2 if tiny else 28,
        num_attention_heads=16,
        num_key_value_heads=8,
        head_dim=8 if tiny else 128,
        max_position_embeddings=40_960,
        tie_word_embeddings=True,
    )


def model_of(size: str) -> Qwen3ForCausalLM:
    """Return the model in float32 and evaluation mode, with the same weights every time."""
    torch.manual_seed(0)
    with DEVICE:
        model: Qwen3ForCausalLM = Qwen3ForCausalLM(config_of(size))
    model.train(False)
    return model


def arithmetic_of(size: str) -> Arithmetic:
    """Count the sizes from the configuration."""
    c = config_of(size)
    queries, keys = c.num_attention_heads * c.head_dim, c.num_key_value_heads * c.head_dim
    layer = c.hidden_size * (2 * queries + 2 * keys + 3 * c.intermediate_size)
    return Arithmetic(
        c.num_hidden_layers * layer,
        c.vocab_size * c.hidden_size,
        queries * c.num_hidden_layers,
        2 * keys * c.num_hidden_layers,
    )


def requests(size: str, prompts: int, samples: int, length: int) -> list[Request]:
    """Return requests with random prompts of one length."""
    rng, vocabulary = random.Random(0), config_of(size).vocab_size
    ids = [tuple(rng.randrange(vocabulary) for _ in range(length)) for _ in range(prompts)]
    return [Request(prompt, samples, (0, i)) for i, prompt in enumerate(ids)]


def samples(size: str, count: int, prompt: int, response: int) -> list[Sample]:
    """Return random samples, with log-probabilities about those of a random model."""
    rng, vocabulary = random.Random(1), config_of(size).vocab_size

    def ids(length: int) -> tuple[int, ...]:
        return tuple(rng.randrange(vocabulary) for _ in range(length))

    logprobs = (-torch.tensor(float(vocabulary)).log().item(),) * response
    return [Sample(ids(prompt), ids(response), logprobs, 1.0 - 2.0 * (i % 2)) for i in range(count)]
