"""Rotary tables of the three families, in the form that the native sampler reads."""

from typing import cast

import torch
from transformers import LlamaConfig, PretrainedConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding


class Rotary:
    """Frequencies of a config whose rotary embedding is one of `weights.ROPES`."""

    def __init__(self, config: PretrainedConfig) -> None:
        """Read them; the class of Llama only reads what the configs of the families have in common."""
        self._embedding = LlamaRotaryEmbedding(cast(LlamaConfig, config))

    def tables(self, length: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Cosine and sine `[length, D]`, float32; the sign of "rotate half" is in the sine, so that rotating is a
        roll."""
        cos, sin = self._embedding(torch.empty(1, dtype=torch.float32), torch.arange(length)[None])
        half = cos.shape[-1] // 2
        return cos[0], torch.cat((-sin[0, :, :half], sin[0, :, half:]), -1)
