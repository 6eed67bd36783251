"""A model's weights as the C functions of a CPU read them: matrices in panels, one address after another.

In: a config, then parameters under their Hugging Face names. Out: the structure `Model` of `hardware/c_functions/step.c`.
Matrices are float32 or bfloat16, the output head too; what stands between two products is float32 always, and so are
logits: such of few bits are what parts sampler and learner (MiniMax-M1, arXiv 2506.13585, 3.2). Left out: everything
off a CPU.
"""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor
from transformers import PretrainedConfig

from dianoia.hardware.c_functions import c_struct, library, pack_panels
from dianoia.sampler.native.rotary import Rotary
from dianoia.sampler.native.weights import Shape, Weights

MATRICES = {
    "qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "out": ("self_attn.o_proj",),
    "gate_up": ("mlp.gate_proj", "mlp.up_proj"),
    "down": ("mlp.down_proj",),
}
"""Parameters that are one matrix of the C structure `Layer`."""
NORMS = {
    "norm_1": "input_layernorm.weight",
    "norm_2": "post_attention_layernorm.weight",
    "norm_q": "self_attn.q_norm.weight",
    "norm_k": "self_attn.k_norm.weight",
}


def runs_in_c(shape: Shape, dtype: torch.dtype, device: torch.device) -> bool:
    """Whether the C functions decode such a model here."""
    if device.type != "cpu" or library() is None:
        return False
    # bfloat16 numbers are multiplied in pairs
    even = not any(inner % 2 for inner in (shape.hidden, shape.inner, shape.heads * shape.head))
    return dtype == torch.float32 or (dtype == torch.bfloat16 and even)


class PackedModel:
    """Weights, rotary tables, and the structure that points at them."""

    def __init__(self, config: PretrainedConfig, dtype: torch.dtype) -> None:
        """dtype: of the matrices. `load` must fill them."""
        self.shape, self.dtype = Shape.of(config), dtype
        self._known = Weights(self.shape, dtype, torch.device("meta"))
        self._rotary = Rotary(config)
        self._held: dict[str, Tensor] = {}
        self._layers: list[dict[str, Tensor]] = []
        self._tables = self._rotary.tables(0)

    def check(self, weights: Mapping[str, Tensor]) -> None:
        """Raise ModelError for a missing or misshapen parameter."""
        self._known.check(weights)

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Take every parameter; names that the model does not use are ignored.

        Raises ModelError, before anything is taken, for a missing or misshapen parameter.
        """
        self._known.check(weights)
        table = weights["model.embed_tokens.weight"]
        head = table if self.shape.tied else weights["lm_head.weight"]
        self._held = {
            "unembedding": pack_panels(head, self.dtype),
            "norm": weights["model.norm.weight"].float().clone(),
        }
        if not self.shape.tied or self.dtype != torch.float32:
            self._held["embedding"] = table.float().clone()
        self._layers = [
            dict(_layer(weights, f"model.layers.{index}.", self.dtype))
            for index in range(self.shape.layers)
        ]

    @property
    def bytes(self) -> int:
        """Of everything that is read whole for a token: not of a table that gives it a row."""
        head = {name: one for name, one in self._held.items() if name != "embedding"}
        return sum(one.nbytes for part in (head, *self._layers) for one in part.values())

    def reserve(self, length: int) -> None:
        """Make the rotary tables cover `length` positions."""
        if len(self._tables[0]) < length:
            self._tables = self._rotary.tables(length)

    def words(self) -> tuple[Tensor, Tensor]:
        """The structure, and that of its layers, which must live as long."""
        absent = dict.fromkeys(_FIELDS)
        layers = torch.cat([c_struct("Layer", absent | layer) for layer in self._layers])
        shape = self.shape
        sizes = {
            "layers": shape.layers, "hidden": shape.hidden, "inner": shape.inner, "heads": shape.heads,
            "kv": shape.kv_heads, "head": shape.head, "vocabulary": shape.vocabulary,
            "half": int(self.dtype == torch.bfloat16),
        }  # fmt: skip
        tables = {"embedding": None, "cosine": self._tables[0], "sine": self._tables[1]}
        return c_struct("Model", {**tables, **self._held, **sizes, "layer": layers}), layers


_FIELDS = [*MATRICES, *(f"{name}_bias" for name in MATRICES), *NORMS]


def _layer(
    weights: Mapping[str, Tensor], prefix: str, dtype: torch.dtype
) -> Iterator[tuple[str, Tensor]]:
    """The fields of a layer that the model has."""
    for field, names in MATRICES.items():
        yield (
            field,
            pack_panels(torch.cat([weights[f"{prefix}{name}.weight"] for name in names]), dtype),
        )
        if f"{prefix}{names[0]}.bias" in weights:
            yield (
                f"{field}_bias",
                torch.cat([weights[f"{prefix}{name}.bias"] for name in names]).float(),
            )
    for field, name in NORMS.items():
        if prefix + name in weights:
            yield field, weights[prefix + name].float().clone()
