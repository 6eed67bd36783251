"""Weights, KV cache and scratch memory of a model as the C functions of a CPU read them.

In: a config, then parameters under their Hugging Face names. Out: the structures `Model` and `Memory` of
`hardware/c_functions/step.c`. Matrices, the output head included, are float32 or bfloat16 and lie in panels. All that
stands between two products is float32, logits too: logits of low precision make sampler and learner disagree
(MiniMax-M1, arXiv 2506.13585, section 3.2).
"""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import astuple, dataclass
from threading import Lock

import torch
from torch import Tensor
from transformers import PretrainedConfig

from dianoia.base.limits import CORE_CACHE, CORE_ROWS
from dianoia.hardware.c_functions import c_struct, library, pack_panels, round_to_vectors
from dianoia.hardware.c_functions import typed_calls as functions
from dianoia.sampler.native.weights import ModelShape, RopeTables, Weights

MATRICES = {
    "qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "out": ("self_attn.o_proj",),
    "gate_up": ("mlp.gate_proj", "mlp.up_proj"),
    "down": ("mlp.down_proj",),
}
"""Parameters that form one matrix of the C structure `Layer`."""
NORMS = {
    "norm_1": "input_layernorm.weight",
    "norm_2": "post_attention_layernorm.weight",
    "norm_q": "self_attn.q_norm.weight",
    "norm_k": "self_attn.k_norm.weight",
}
_LAYER_FIELDS = [*MATRICES, *(f"{name}_bias" for name in MATRICES), *NORMS]


def runs_in_c(shape: ModelShape, dtype: torch.dtype, device: torch.device) -> bool:
    """Return True if the C functions can decode such a model here."""
    if device.type != "cpu" or library() is None:
        return False
    # bfloat16 numbers are multiplied in pairs
    even = not any(inner % 2 for inner in (shape.hidden, shape.inner, shape.heads * shape.head))
    return dtype == torch.float32 or (dtype == torch.bfloat16 and even)


class PackedModel:
    """Weights and RoPE tables in the layout of the C functions."""

    def __init__(self, config: PretrainedConfig, dtype: torch.dtype) -> None:
        """Allocate nothing yet; `load` takes the weights. dtype: of the matrices."""
        self.shape, self.dtype = ModelShape.of(config), dtype
        self._expected = Weights(self.shape, dtype, torch.device("meta"))
        self._rope = RopeTables(config)
        self._tensors: dict[str, Tensor] = {}
        self._layers: list[dict[str, Tensor]] = []
        self._tables = self._rope.build(0)
        self._growing = Lock()
        """Held while tables are replaced: of two threads the one with fewer positions must not come last."""

    def check(self, weights: Mapping[str, Tensor]) -> None:
        """Raise ModelError for a missing or misshapen parameter."""
        self._expected.check(weights)

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Copy every parameter; names that the model does not use are ignored.

        Raises ModelError, before anything is copied, for a missing or misshapen parameter.
        """
        self.check(weights)
        table = weights["model.embed_tokens.weight"]
        head = table if self.shape.tied else weights["lm_head.weight"]
        # copies, all of them: the learner goes on to change its own tensors in place
        self._tensors = {
            "unembedding": pack_panels(head, self.dtype),
            "norm": weights["model.norm.weight"].float().clone(),
        }
        # tied float32 weights need no table: C reads a token's row from the packed output head
        if not self.shape.tied or self.dtype != torch.float32:
            self._tensors["embedding"] = table.float().clone()
        self._layers = [
            dict(_layer(weights, f"model.layers.{index}.", self.dtype))
            for index in range(self.shape.layers)
        ]

    @property
    def bytes(self) -> int:
        """Memory of the weights that every token reads whole: all but the embedding table."""
        read = {name: tensor for name, tensor in self._tensors.items() if name != "embedding"}
        return sum(tensor.nbytes for part in (read, *self._layers) for tensor in part.values())

    def reserve(self, length: int) -> None:
        """Make the RoPE tables cover `length` positions, and all that were reserved before."""
        with self._growing:
            if len(self._tables[0]) < length:
                self._tables = self._rope.build(length)

    def structure(self) -> tuple[Tensor, object]:
        """Return the C structure `Model`, and an owner of all memory that it points to.

        While the caller holds the owner, a later `load` or `reserve` does not free that memory.
        """
        # biases and norms that the model does not have are NULL
        absent = dict.fromkeys(_LAYER_FIELDS)
        # read once, since another thread may `reserve` meanwhile
        cosine, sine = self._tables
        layers = torch.cat([c_struct("Layer", absent | layer) for layer in self._layers])
        shape = self.shape
        sizes = {
            "layers": shape.layers, "hidden": shape.hidden, "inner": shape.inner, "heads": shape.heads,
            "kv": shape.kv_heads, "head": shape.head, "vocabulary": shape.vocabulary,
            "bf16": int(self.dtype == torch.bfloat16),
        }  # fmt: skip
        tables = {"embedding": None, "cosine": cosine, "sine": sine}
        fields = {**tables, **self._tensors, **sizes, "layer": layers}
        return c_struct("Model", fields), (fields, self._layers)


def _layer(
    weights: Mapping[str, Tensor], prefix: str, dtype: torch.dtype
) -> Iterator[tuple[str, Tensor]]:
    """Yield the fields of the C structure `Layer` that the model has."""
    for field, names in MATRICES.items():
        # one matrix per product: QKV in this order, then gate and up
        matrix = torch.cat([weights[f"{prefix}{name}.weight"] for name in names])
        yield field, pack_panels(matrix, dtype)
        if f"{prefix}{names[0]}.bias" in weights:
            bias = torch.cat([weights[f"{prefix}{name}.bias"] for name in names])
            yield f"{field}_bias", bias.float()
    for field, name in NORMS.items():
        if prefix + name in weights:
            yield field, weights[prefix + name].float().clone()


# Memory of one core --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MemorySizes:
    """Size of a core's memory."""

    slots: int
    """Responses decoded at a time."""
    prompt_rows: int
    """Prompts in the cache at a time."""
    prompt_capacity: int
    """Tokens of the longest prompt, in whole vectors."""
    response_capacity: int
    """Tokens of the longest response, in whole vectors."""
    rows: int
    """Tokens that go through the model at a time."""

    def covers(self, other: "MemorySizes") -> bool:
        """Return True if memory of this size serves where `other` is needed."""
        return all(have >= need for have, need in zip(astuple(self), astuple(other), strict=True))


def slots_in_core_cache(model: PackedModel, length: int) -> int:
    """Return how many responses a core decodes at a time where each attends to `length` tokens.

    More of them would push keys and values out of the core's cache and be slower per token. There is no limit for a
    model whose weights do not fit into the cache anyway.
    """
    if model.bytes > 2 * CORE_CACHE:
        return sys.maxsize
    shape = model.shape
    key_bytes = shape.head * torch.float32.itemsize
    value_bytes = round_to_vectors(shape.head) * model.dtype.itemsize
    response_bytes = shape.layers * shape.kv_heads * length * (key_bytes + value_bytes)
    return max(CORE_ROWS, CORE_CACHE // response_bytes)


class CpuMemory:
    """KV cache and scratch memory of one core.

    Rows are as long as the longest prompt or response asked for. Nothing is touched before it is filled, so a system
    that hands out memory on first touch only gives what is used.
    """

    def __init__(self, model: PackedModel, sizes: MemorySizes) -> None:
        """Allocate; the contents are undefined."""
        self.sizes = sizes
        shape, head = model.shape, model.shape.head
        prompts = (shape.layers, sizes.prompt_rows, shape.kv_heads, sizes.prompt_capacity)
        responses = (shape.layers, sizes.slots, shape.kv_heads, sizes.response_capacity)
        # keys lie across, in blocks of tokens, and need no padding of the head; values lie along and do
        padded = round_to_vectors(head)
        self._buffers = {
            "prompt_keys": torch.empty(*prompts, head),
            "prompt_values": torch.empty(*prompts, padded, dtype=model.dtype),
            "keys": torch.empty(*responses, head),
            "values": torch.empty(*responses, padded, dtype=model.dtype),
        }
        structure, _owner = model.structure()
        # C says how much scratch memory a step takes, given the sizes
        size = functions.scratch_size(structure, self._structure(None))
        self._buffers["scratch"] = torch.empty(size)
        self.structure = self._structure(self._buffers["scratch"])
        """The C structure `Memory`."""

    def _structure(self, scratch: Tensor | None) -> Tensor:
        sizes = self.sizes
        numbers = {
            "prompt_rows": sizes.prompt_rows, "prompt_capacity": sizes.prompt_capacity,
            "slots": sizes.slots, "response_capacity": sizes.response_capacity, "rows": sizes.rows,
        }  # fmt: skip
        return c_struct("Memory", {**self._buffers, **numbers, "scratch": scratch})
