"""Weights of the native sampler: fused QKV and gate-up matrices, RoPE tables, and which models it can run.

In: a transformers config, then parameters under their Hugging Face names. Out: buffers that `load`
fills in place and never reallocates. Not supported: quantised weights, mixtures of experts, sliding
windows; `refusal` says which of these a config asks for.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import cast

import torch
from transformers import LlamaConfig, PretrainedConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from dianoia.base.errors import ModelError
from dianoia.models.tensor_names import FAMILIES
from dianoia.sampler.interface import shape_of

ROPES = ("default", "linear", "llama3", "yarn")
"""RoPE types whose frequencies do not depend on the length of the text."""


def refusal(config: PretrainedConfig) -> str | None:
    """Return why the native sampler cannot run this model; None if it can."""
    # each check names a feature that the forward pass does not implement
    if config.model_type not in FAMILIES:
        return f"its model_type is {config.model_type!r}, not one of {', '.join(FAMILIES)}"
    if config.hidden_act != "silu":
        return f"its hidden_act is {config.hidden_act!r}, not 'silu'"
    rope = (config.rope_parameters or {}).get("rope_type", "default")
    if rope not in ROPES:
        return f"its rope_type is {rope!r}, not one of {', '.join(ROPES)}"
    if "sliding_attention" in (getattr(config, "layer_types", None) or ()):
        return "some of its layers attend over a sliding window"
    if getattr(config, "quantization_config", None) is not None:
        return "its weights are quantised"
    return None


@dataclass(frozen=True, slots=True)
class ModelShape:
    """Sizes of a model, and which biases and norms it has."""

    hidden: int
    inner: int
    layers: int
    heads: int
    kv_heads: int
    head: int
    vocabulary: int
    eps: float
    tied: bool
    qkv_bias: bool
    out_bias: bool
    mlp_bias: bool
    qk_norm: bool

    @property
    def repeats(self) -> int:
        """Query heads per KV head."""
        return self.heads // self.kv_heads

    @classmethod
    def of(cls, config: PretrainedConfig) -> "ModelShape":
        """Read the sizes from a config of one of `FAMILIES`."""
        bias = bool(getattr(config, "attention_bias", False))
        return cls(
            hidden=config.hidden_size,
            inner=config.intermediate_size,
            layers=config.num_hidden_layers,
            heads=config.num_attention_heads,
            kv_heads=config.num_key_value_heads,
            # Qwen3 states the size of a head, which need not be hidden / heads.
            head=getattr(config, "head_dim", None)
            or config.hidden_size // config.num_attention_heads,
            vocabulary=config.vocab_size,
            eps=config.rms_norm_eps,
            tied=config.tie_word_embeddings,
            # Qwen2 has a bias on queries, keys and values always, and never on the output projection
            qkv_bias=bias or config.model_type == "qwen2",
            out_bias=bias and config.model_type != "qwen2",
            mlp_bias=bool(getattr(config, "mlp_bias", False)),
            qk_norm=config.model_type == "qwen3",
        )


class RopeTables:
    """Cosine and sine tables of a config whose RoPE type is one of `ROPES`."""

    def __init__(self, config: PretrainedConfig) -> None:
        # Llama's class only reads what the configs of all the families have in common
        self._embedding = LlamaRotaryEmbedding(cast(LlamaConfig, config))

    def build(self, length: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return cosine and sine `[length, D]`, float32.

        The sine carries the sign of "rotate half", so that applying RoPE is `x * cos + roll(x, D / 2) * sin`.
        """
        cos, sin = self._embedding(torch.empty(1, dtype=torch.float32), torch.arange(length)[None])
        half = cos.shape[-1] // 2
        return cos[0], torch.cat((-sin[0, :, :half], sin[0, :, half:]), -1)


class LayerWeights:
    """Buffers of one transformer layer. An absent bias or norm is None."""

    def __init__(self, shape: ModelShape, dtype: torch.dtype, device: torch.device) -> None:
        """Allocate; the contents are undefined until loaded."""

        def new(*size: int) -> torch.Tensor:
            return torch.empty(size, dtype=dtype, device=device)

        queries, keys = shape.heads * shape.head, shape.kv_heads * shape.head
        # fused where the products share their input: one QKV matrix, one matrix of gate and up
        self.norm_1, self.norm_2 = new(2, shape.hidden)
        self.qkv = new(queries + 2 * keys, shape.hidden)
        self.qkv_bias = new(queries + 2 * keys) if shape.qkv_bias else None
        self.qk_norm = new(shape.heads + shape.kv_heads, shape.head) if shape.qk_norm else None
        self.out = new(shape.hidden, queries)
        self.out_bias = new(shape.hidden) if shape.out_bias else None
        self.gate_up = new(2 * shape.inner, shape.hidden)
        self.gate_up_bias = new(2 * shape.inner) if shape.mlp_bias else None
        self.down = new(shape.hidden, shape.inner)
        self.down_bias = new(shape.hidden) if shape.mlp_bias else None
        self._sizes = (queries, keys, keys)
        self._heads = (shape.heads, shape.kv_heads)

    @property
    def qkv_weights(
        self,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
        """Parameters of `torch.model.project_qkv`."""
        return self.norm_1, self.qkv, self.qkv_bias, self.qk_norm

    @property
    def output_weights(
        self,
    ) -> tuple[
        tuple[torch.Tensor, torch.Tensor | None, torch.Tensor],
        tuple[torch.Tensor, torch.Tensor | None, torch.Tensor, torch.Tensor | None],
    ]:
        """Parameters of `torch.model.finish_layer`."""
        inner = (self.gate_up, self.gate_up_bias, self.down, self.down_bias)
        return (self.out, self.out_bias, self.norm_2), inner

    def views(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Yield each parameter's name inside the layer, and the part of a buffer that holds it."""
        yield "input_layernorm.weight", self.norm_1
        yield "post_attention_layernorm.weight", self.norm_2
        yield "self_attn.o_proj.weight", self.out
        yield "mlp.down_proj.weight", self.down
        for suffix, qkv in (("weight", self.qkv), ("bias", self.qkv_bias)):
            if qkv is not None:
                for name, part in zip("qkv", torch.split_with_sizes(qkv, self._sizes), strict=True):
                    yield f"self_attn.{name}_proj.{suffix}", part
        for suffix, gate_up in (("weight", self.gate_up), ("bias", self.gate_up_bias)):
            if gate_up is not None:
                for name, part in zip(("gate", "up"), gate_up.chunk(2), strict=True):
                    yield f"mlp.{name}_proj.{suffix}", part
        if self.qk_norm is not None:
            # one row per head, all rows alike: the views broadcast on copy
            for name, part in zip(
                "qk", torch.split_with_sizes(self.qk_norm, self._heads), strict=True
            ):
                yield f"self_attn.{name}_norm.weight", part
        if self.out_bias is not None:
            yield "self_attn.o_proj.bias", self.out_bias
        if self.down_bias is not None:
            yield "mlp.down_proj.bias", self.down_bias


class Weights:
    """All buffers of a model."""

    def __init__(self, shape: ModelShape, dtype: torch.dtype, device: torch.device) -> None:
        """Allocate; the contents are undefined until `load`."""
        table = (shape.vocabulary, shape.hidden)
        self.embedding = torch.empty(table, dtype=dtype, device=device)
        # Logits of low precision make sampler and learner disagree (MiniMax-M1, arXiv 2506.13585, section 3.2). A
        # GPU computes float32 logits from bfloat16 factors, in the learner too; a CPU needs float32 factors for that.
        on_cpu = device.type == "cpu"
        head_dtype = torch.promote_types(dtype, torch.float32) if on_cpu else dtype
        shared = shape.tied and head_dtype == dtype
        self.head = (
            self.embedding if shared else torch.empty(table, dtype=head_dtype, device=device)
        )
        self._head_name = "model.embed_tokens.weight" if shape.tied else "lm_head.weight"
        self.norm = torch.empty(shape.hidden, dtype=dtype, device=device)
        self.layers = [LayerWeights(shape, dtype, device) for _ in range(shape.layers)]
        # Views of the buffers, made once: every load copies into them.
        self._views = list(self._named())

    def _named(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Yield the full Hugging Face name and the destination of every parameter."""
        yield "model.embed_tokens.weight", self.embedding
        yield "model.norm.weight", self.norm
        if self.head is not self.embedding:
            yield self._head_name, self.head
        for index, layer in enumerate(self.layers):
            for name, view in layer.views():
                yield f"model.layers.{index}.{name}", view

    def load(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Copy every parameter into its place; names that the model does not use are ignored.

        Raises ModelError, before anything is copied, for a missing or misshapen parameter.
        """
        self.check(weights)
        # in place: captured CUDA graphs hold the addresses of the buffers
        for name, view in self._views:
            view.copy_(weights[name])

    def check(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Raise ModelError for a missing or misshapen parameter."""
        for name, view in self._views:
            _check(name, view, weights)


def _check(name: str, view: torch.Tensor, weights: Mapping[str, torch.Tensor]) -> None:
    """Raise ModelError for a parameter that is missing or has another shape than the config says."""
    if name not in weights:
        raise ModelError(
            f"The weights have no parameter {name!r}, which the model's config asks for. "
            "Pass the state_dict of a model with the same config, under Hugging Face names."
        )
    # the norms of queries and keys are stored once and broadcast over the heads
    shared = name.endswith(("q_norm.weight", "k_norm.weight"))
    expected = view.shape[-1:] if shared else view.shape
    shape = shape_of(weights, name)
    if shape != expected:
        raise ModelError(
            f"Parameter {name!r} has shape {tuple(shape)}, but the model's config "
            f"makes it {tuple(expected)}. Pass weights of a model with the same config."
        )
