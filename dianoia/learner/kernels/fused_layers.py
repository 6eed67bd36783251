"""Decoder layers of dense Llama, Qwen2 and Qwen3 as two functions around attention, compiled where that can be.

In: a model of transformers. Out: the same model, whose layers compute the same with other kernels: everything
between two products is one pass over memory, queries, keys and values are one product, and so are gate and up.
Products run in the number format of autocast; norms, rotations and the residual stream stay float32, as under
autocast itself. A GPU compiles the functions below; a CPU with a C compiler has `learner.kernels.layers_cpu` for models
without biases. Attention is looked up by name as ever, so shared prompts and packed rows work; copies of the
model and the recomputation of layers too. Left out: every other architecture, which stays as it is.

Shapes: `B` rows (one where rows run end to end), `L` positions, `H` hidden, `D` head.
"""

from functools import partial
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from dianoia.hardware.compiled import compile_for, mark_dynamic
from dianoia.learner.attention.prompt_sharing import has_plain_attention
from dianoia.learner.kernels.layers_cpu import Heads, look, runs_in_c, think
from dianoia.learner.kernels.layers_cpu_bfloat16 import look_in_half, think_in_half

FAMILIES = ("llama", "qwen2", "qwen3")

_IN_FORWARD = GradientCheckpointingLayer.__call__ is nn.Module.__call__
"""Whether this transformers runs a layer again from within the function that is exchanged here."""

Weighted = tuple[Tensor, Tensor | None]
"""A weight and its bias."""


def fuse_layers(model: PreTrainedModel, kind: torch.dtype) -> bool:
    """Exchange how every layer computes; whether this model allows it. `kind`: of the products."""
    config = model.config.get_text_config()
    known = config.model_type in FAMILIES and getattr(config, "hidden_act", None) == "silu"
    if not known or not has_plain_attention(model):
        return False
    layers = [one for one in model.modules() if isinstance(one, GradientCheckpointingLayer)]
    for layer in layers:
        layer.forward = _Fused(layer, kind)
    return True


class _Fused:
    """The forward function of one layer."""

    def __init__(self, layer: nn.Module, kind: torch.dtype) -> None:
        self.layer, self.kind = layer, kind
        self.plain = kind in (torch.float32, torch.bfloat16) and not has_biases(layer)

    def __call__(self, *states: Any, **more: Any) -> Tensor:
        """As a layer of transformers without a cache: `[B, L, H]` in and out."""
        layer = cast(Any, self.layer)
        if layer.gradient_checkpointing and layer.training and _IN_FORWARD:
            function = partial(self._forward, **more)
            return cast(Tensor, layer._gradient_checkpointing_func(function, *states))
        return self._forward(*states, **more)

    def _forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        position_embeddings: tuple[Tensor, Tensor] | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Any = None,
        use_cache: bool = False,
        **more: Any,
    ) -> Tensor:
        assert past_key_values is None, "a learner keeps no cache"
        assert position_embeddings is not None, "these families rotate queries and keys"
        device = hidden_states.device
        with torch.autocast(device.type, enabled=False):
            if self.plain and runs_in_c(hidden_states):
                return self._in_c(hidden_states, position_embeddings, attention_mask, more)
            mark_dynamic(hidden_states, *position_embeddings, at=1)
            own = _before(self.layer)
            qkv = compile_for(before, device)(hidden_states, own, position_embeddings, self.kind)
            seen = self._attend(qkv, attention_mask, more)
            mark_dynamic(hidden_states, seen, at=1)
            return compile_for(after, device)(hidden_states, seen, _after(self.layer), self.kind)

    def _in_c(
        self,
        x_BLH: Tensor,
        tables: tuple[Tensor, Tensor],
        mask: Tensor | None,
        more: dict[str, Any],
    ) -> Tensor:
        """The same on a CPU."""
        half = self.kind == torch.bfloat16
        queries, keys, values, entry, norms, eps = _before(self.layer)
        shape, size = x_BLH.shape[:2], tables[0].shape[-1]
        turn = tuple(table.expand(*shape, -1).reshape(-1, size) for table in tables)
        heads = Heads(len(queries[0]) // size, len(keys[0]) // size, size, eps)
        products = (queries[0], keys[0], values[0])
        all_norms = (entry, *(norms or (None, None)))
        *qkv, x_NH = (look_in_half if half else look)(
            x_BLH.flatten(0, 1), products, all_norms, (turn[0], turn[1]), heads
        )
        q, k, v = (part.unflatten(0, shape) for part in qkv)  # type: ignore[no-untyped-call]
        seen = self._attend((q, k, v), mask, more).reshape(len(x_NH), -1)
        *ends, middle, eps = _after(self.layer)
        out, gate, up, down = (weight for weight, _ in ends)
        rest = think_in_half if half else think
        return rest(x_NH, seen, (out, gate, up, down), middle, eps).view(x_BLH.shape)

    def _attend(
        self, qkv: tuple[Tensor, Tensor, Tensor], mask: Tensor | None, more: dict[str, Any]
    ) -> Tensor:
        """What the model's present attention function makes of it `[B, L, heads, D]`."""
        attention = cast(Any, self.layer).self_attn
        function = ALL_ATTENTION_FUNCTIONS[attention.config._attn_implementation]
        states = (part.transpose(1, 2) for part in qkv)
        seen, _ = function(attention, *states, mask, dropout=0.0, scaling=attention.scaling, **more)
        return cast(Tensor, seen)


Before = tuple[Weighted, Weighted, Weighted, Tensor, tuple[Tensor, Tensor] | None, float]
After = tuple[Weighted, Weighted, Weighted, Weighted, Tensor, float]


def _before(layer: Any) -> Before:
    """What `before` needs of a layer: products of queries, keys, values; norms; epsilon."""
    own, entry = layer.self_attn, layer.input_layernorm
    products = (_weighted(own.q_proj), _weighted(own.k_proj), _weighted(own.v_proj))
    norms = (own.q_norm.weight, own.k_norm.weight) if hasattr(own, "q_norm") else None
    return *products, entry.weight, norms, entry.variance_epsilon


def _after(layer: Any) -> After:
    """What `after` needs of a layer."""
    inner, middle = layer.mlp, layer.post_attention_layernorm
    products = (layer.self_attn.o_proj, inner.gate_proj, inner.up_proj, inner.down_proj)
    out, gate, up, down = map(_weighted, products)
    return out, gate, up, down, middle.weight, middle.variance_epsilon


def has_biases(part: nn.Module) -> bool:
    """Whether a product of the layer, or of the model, adds a bias."""
    return any(one.bias is not None for one in part.modules() if isinstance(one, nn.Linear))


def _weighted(linear: nn.Linear) -> Weighted:
    return linear.weight, linear.bias


# The functions ------------------------------------------------------------------------------------


def before(
    x_BLH: Tensor, parts: Before, tables: tuple[Tensor, Tensor], kind: torch.dtype
) -> tuple[Tensor, Tensor, Tensor]:
    """Rotated queries `[B, L, heads, D]`, rotated keys and values `[B, L, kv heads, D]`, of `kind`."""
    queries, keys, values, entry, norms, epsilon = parts
    cos, sin = (table[:, :, None].to(_full(x_BLH)) for table in tables)
    joined = _join((queries, keys, values), kind)
    both = F.linear(_rms(x_BLH, entry, epsilon).to(kind), *joined)
    sizes = [weight.shape[0] for weight, _ in (queries, keys, values)]
    shape = (*x_BLH.shape[:2], -1, cos.shape[-1])
    q, k, v = (part.reshape(shape) for part in torch.split(both, sizes, dim=2))
    if norms is not None:
        q, k = _rms(q, norms[0], epsilon), _rms(k, norms[1], epsilon)
    return _turn(q, cos, sin).to(kind), _turn(k, cos, sin).to(kind), v


def after(x_BLH: Tensor, seen: Tensor, parts: After, kind: torch.dtype) -> Tensor:
    """The residual stream after a layer `[B, L, H]`, from what attention saw."""
    out, gate, up, down, middle, epsilon = parts
    x_BLH = x_BLH + _product(seen.flatten(2).to(kind), out, kind)
    both = F.linear(_rms(x_BLH, middle, epsilon).to(kind), *_join((gate, up), kind))
    opened, passed = both.chunk(2, dim=2)
    inner = F.silu(opened.to(_full(x_BLH))) * passed
    return x_BLH + _product(inner.to(kind), down, kind)


def _full(x: Tensor) -> torch.dtype:
    """The number format of what is not a product: float32 at least."""
    return torch.promote_types(x.dtype, torch.float32)


def _rms(x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    full = x.to(_full(x))
    return full * torch.rsqrt(full.square().mean(-1, keepdim=True) + epsilon) * weight


def _turn(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    left, right = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-right, left), dim=-1) * sin


def _join(products: tuple[Weighted, ...], kind: torch.dtype) -> Weighted:
    """Several products of the same input as one."""
    weight = torch.cat([weight.to(kind) for weight, _ in products])
    biases = [bias.to(kind) for _, bias in products if bias is not None]
    return weight, torch.cat(biases) if biases else None


def _product(x: Tensor, weighted: Weighted, kind: torch.dtype) -> Tensor:
    weight, bias = weighted
    return F.linear(x, weight.to(kind), None if bias is None else bias.to(kind))
