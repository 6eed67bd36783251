"""Decoder layers of dense Llama, Qwen2 and Qwen3 as two functions around attention, compiled where that can be.

In: a model of transformers. Out: the same model, whose layers compute the same with other kernels: everything between two
products is one pass over memory; queries, keys and values are one product, and so are gate and up. Products run in the
dtype of autocast; norms, RoPE and the residual stream stay float32, as under autocast itself. A GPU compiles the functions
below; a CPU with a C compiler has `learner.kernels.layers_cpu` for models without biases. Attention is looked up by name
as before, so shared prompts and packed rows work; so do copies of the model and the recomputation of layers. Left out:
every other architecture, which stays as it is.

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
from dianoia.learner.attention.exchange import has_plain_attention
from dianoia.learner.kernels.layers_cpu import (
    LayerShape,
    output_and_mlp,
    qkv_projection,
    runs_in_c,
)
from dianoia.models.tensor_names import FAMILIES

_CHECKPOINTS_IN_FORWARD = GradientCheckpointingLayer.__call__ is nn.Module.__call__
"""True if this transformers reruns a layer from within the forward function, which is exchanged here."""

WeightAndBias = tuple[Tensor, Tensor | None]


def fuse_layers(model: PreTrainedModel, dtype: torch.dtype) -> bool:
    """Exchange the forward function of every layer; returns True if this model allows it. `dtype`: of the products."""
    config = model.config.get_text_config()
    is_known = config.model_type in FAMILIES and getattr(config, "hidden_act", None) == "silu"
    # An unknown family may scale or cap somewhere, which the functions below would leave out.
    if not is_known or not has_plain_attention(model):
        return False
    for module in model.modules():
        if isinstance(module, GradientCheckpointingLayer):
            module.forward = _FusedForward(module, dtype)
    return True


class _FusedForward:
    """The forward function of one layer. `dtype` is that of products."""

    def __init__(self, layer: nn.Module, dtype: torch.dtype) -> None:
        self.layer, self.dtype = layer, dtype
        self.has_c_functions = dtype in (torch.float32, torch.bfloat16) and not has_biases(layer)

    def __call__(self, *states: Any, **arguments: Any) -> Tensor:
        """Run the layer as transformers does without a cache: `[B, L, H]` in and out."""
        layer = cast(Any, self.layer)
        if layer.gradient_checkpointing and layer.training and _CHECKPOINTS_IN_FORWARD:
            function = partial(self._forward, **arguments)
            return cast(Tensor, layer._gradient_checkpointing_func(function, *states))
        return self._forward(*states, **arguments)

    def _forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        position_embeddings: tuple[Tensor, Tensor] | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Any = None,
        use_cache: bool = False,
        **arguments: Any,
    ) -> Tensor:
        """Run the layer; parameters have transformers' names."""
        assert past_key_values is None, "a learner keeps no cache"
        assert position_embeddings is not None, "these families have RoPE"
        device = hidden_states.device
        with torch.autocast(device.type, enabled=False):  # dtypes are chosen one by one below
            if self.has_c_functions and runs_in_c(hidden_states):
                return self._forward_in_c(
                    hidden_states, position_embeddings, attention_mask, arguments
                )
            # Lengths differ from batch to batch: without the marks each would be compiled again.
            mark_dynamic(hidden_states, *position_embeddings, at=1)
            weights = _input_weights(self.layer)
            project = compile_for(project_qkv, device)
            qkv = project(hidden_states, weights, position_embeddings, self.dtype)
            attention_output = self._attend(qkv, attention_mask, arguments)
            mark_dynamic(hidden_states, attention_output, at=1)
            finish = compile_for(finish_layer, device)
            return finish(hidden_states, attention_output, _output_weights(self.layer), self.dtype)

    def _forward_in_c(
        self,
        x_BLH: Tensor,
        position_embeddings: tuple[Tensor, Tensor],
        mask: Tensor | None,
        arguments: dict[str, Any],
    ) -> Tensor:
        """Run the layer on a CPU: positions of all rows end to end, `N` = B L."""
        queries, keys, values, input_norm, norms, eps = _input_weights(self.layer)
        rows_and_length, head_size = x_BLH.shape[:2], position_embeddings[0].shape[-1]
        # cosine and sine [1 or B, L, D] as one row per position [N, D]
        cos, sin = (
            table.expand(*rows_and_length, -1).reshape(-1, head_size)
            for table in position_embeddings
        )
        shape = LayerShape(
            len(queries[0]) // head_size, len(keys[0]) // head_size, head_size, eps, self.dtype
        )
        weights = (queries[0], keys[0], values[0])
        all_norms = (input_norm, *(norms or (None, None)))
        # The residual stream goes on from the x that comes back (see `qkv_projection`).
        *qkv, x_NH = qkv_projection(x_BLH.flatten(0, 1), weights, all_norms, (cos, sin), shape)
        q, k, v = (part.unflatten(0, rows_and_length) for part in qkv)  # type: ignore[no-untyped-call]
        # [B, L, heads, D] back to one row per position
        attention_output = self._attend((q, k, v), mask, arguments).reshape(len(x_NH), -1)
        *products, mlp_norm, _ = _output_weights(self.layer)
        out, gate, up, down = (weight for weight, _ in products)
        y_NH = output_and_mlp(x_NH, attention_output, (out, gate, up, down), mlp_norm, shape)
        return y_NH.view(x_BLH.shape)

    def _attend(
        self, qkv: tuple[Tensor, Tensor, Tensor], mask: Tensor | None, arguments: dict[str, Any]
    ) -> Tensor:
        """Return the output `[B, L, heads, D]` of the attention function that the model has at present."""
        attention = cast(Any, self.layer).self_attn
        function = ALL_ATTENTION_FUNCTIONS[attention.config._attn_implementation]
        # transformers' attention functions take [B, heads, L, D].
        states = (part.transpose(1, 2) for part in qkv)
        output, _ = function(
            attention, *states, mask, dropout=0.0, scaling=attention.scaling, **arguments
        )
        return cast(Tensor, output)


InputWeights = tuple[
    WeightAndBias, WeightAndBias, WeightAndBias, Tensor, tuple[Tensor, Tensor] | None, float
]
"""Products of queries, keys, values; norm of the input; norms of queries and keys; epsilon."""
OutputWeights = tuple[WeightAndBias, WeightAndBias, WeightAndBias, WeightAndBias, Tensor, float]
"""Products of the output, gate, up, down; norm before the MLP; epsilon."""


def _input_weights(layer: Any) -> InputWeights:
    """Return what `project_qkv` needs of a layer."""
    attention, norm = layer.self_attn, layer.input_layernorm
    q, k, v = map(_weight_and_bias, (attention.q_proj, attention.k_proj, attention.v_proj))
    norms = None  # Llama and Qwen2 have no norms of queries and keys
    if hasattr(attention, "q_norm"):
        norms = (attention.q_norm.weight, attention.k_norm.weight)
    return q, k, v, norm.weight, norms, norm.variance_epsilon


def _output_weights(layer: Any) -> OutputWeights:
    """Return what `finish_layer` needs of a layer."""
    mlp, norm = layer.mlp, layer.post_attention_layernorm
    products = (layer.self_attn.o_proj, mlp.gate_proj, mlp.up_proj, mlp.down_proj)
    out, gate, up, down = map(_weight_and_bias, products)
    return out, gate, up, down, norm.weight, norm.variance_epsilon


def has_biases(module: nn.Module) -> bool:
    """Return True if a product of the layer, or of the model, adds a bias."""
    linears = (part for part in module.modules() if isinstance(part, nn.Linear))
    return any(linear.bias is not None for linear in linears)


def _weight_and_bias(linear: nn.Linear) -> WeightAndBias:
    return linear.weight, linear.bias


# The functions that a GPU compiles ----------------------------------------------------------------


def project_qkv(
    x_BLH: Tensor, weights: InputWeights, rope: tuple[Tensor, Tensor], dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor]:
    """Return queries `[B, L, heads, D]` and keys `[B, L, kv heads, D]` after RoPE, and values, all of `dtype`."""
    queries, keys, values, input_norm, norms, eps = weights
    cos, sin = (table[:, :, None].to(_at_least_float32(x_BLH)) for table in rope)
    # Norm, one product for all three, then norms of the heads (Qwen3) and RoPE.
    product = _concatenate((queries, keys, values), dtype)
    qkv = F.linear(_rms_norm(x_BLH, input_norm, eps).to(dtype), *product)
    sizes = [weight.shape[0] for weight, _ in (queries, keys, values)]
    shape = (*x_BLH.shape[:2], -1, cos.shape[-1])
    q, k, v = (part.reshape(shape) for part in torch.split(qkv, sizes, dim=2))
    if norms is not None:
        q, k = _rms_norm(q, norms[0], eps), _rms_norm(k, norms[1], eps)
    return _apply_rope(q, cos, sin).to(dtype), _apply_rope(k, cos, sin).to(dtype), v


def finish_layer(
    x_BLH: Tensor, attention_output: Tensor, weights: OutputWeights, dtype: torch.dtype
) -> Tensor:
    """Return the residual stream `[B, L, H]` after output projection and MLP."""
    out, gate, up, down, mlp_norm, eps = weights
    x_BLH = x_BLH + _product(attention_output.flatten(2).to(dtype), out, dtype)
    # MLP: gate and up as one product, SiLU in float32.
    gate_up = F.linear(_rms_norm(x_BLH, mlp_norm, eps).to(dtype), *_concatenate((gate, up), dtype))
    gate_states, up_states = gate_up.chunk(2, dim=2)
    inner = F.silu(gate_states.to(_at_least_float32(x_BLH))) * up_states
    return x_BLH + _product(inner.to(dtype), down, dtype)


def _at_least_float32(x: Tensor) -> torch.dtype:
    """Return the dtype of everything that is not a product."""
    return torch.promote_types(x.dtype, torch.float32)


def _rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    # The mean of squares in float32: bfloat16 has too few digits for a sum over all features.
    full = x.to(_at_least_float32(x))
    return full * torch.rsqrt(full.square().mean(-1, keepdim=True) + eps) * weight


def _apply_rope(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    # "Rotate half", as in transformers: feature i is paired with feature i + D / 2.
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-second, first), dim=-1) * sin


def _concatenate(products: tuple[WeightAndBias, ...], dtype: torch.dtype) -> WeightAndBias:
    """Return several products of the same input as one."""
    # In every pass, since an optimizer step changes the parts, and gradients have to reach each of them.
    weight = torch.cat([weight.to(dtype) for weight, _ in products])
    biases = [bias.to(dtype) for _, bias in products if bias is not None]
    return weight, torch.cat(biases) if biases else None


def _product(x: Tensor, product: WeightAndBias, dtype: torch.dtype) -> Tensor:
    weight, bias = product
    return F.linear(x, weight.to(dtype), None if bias is None else bias.to(dtype))
