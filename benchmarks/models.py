"""A random model of the miniature's architecture, for benchmarks that need no trained weights."""

import torch
from transformers import Qwen3Config, Qwen3ForCausalLM


def miniature(vocabulary: int, device: str = "cpu") -> Qwen3ForCausalLM:
    """Return a Qwen3 of under a million parameters in evaluation mode, with the same weights every time."""
    config = Qwen3Config(
        vocab_size=vocabulary,
        hidden_size=128,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        intermediate_size=320,
        max_position_embeddings=512,
        tie_word_embeddings=True,
    )
    torch.manual_seed(0)
    built: Qwen3ForCausalLM = Qwen3ForCausalLM(config)
    built.to(device)  # type: ignore[arg-type]
    built.train(False)
    return built
