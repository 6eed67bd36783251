"""Forward pass of dense Llama, Qwen2 and Qwen3 in PyTorch: packed prompts, and one token per slot of the KV cache.

In: token ids, and slots of a `KVCache`. Out: final hidden states, with the cache filled. A decoding step has fixed
shapes and asks the host nothing, so that it can be captured as a CUDA graph. Its attention reads each slot as far as
it is filled: by the Triton kernels of `decode_attention` where they run, else by PyTorch's flash kernel for cached
keys, else (on a CPU, and for data types that neither supports) by plain fused attention. On CUDA the work between
the matrix products is compiled. No gradients, no sampling.

Shapes: `B` slots, `N` tokens, `K` KV heads, `R` query heads per KV head, `D` head size, `H` hidden size, `V`
vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PretrainedConfig

from dianoia.hardware.compiled import compile_for, mark_dynamic
from dianoia.hardware.flash_attention import (
    SequenceBounds,
    cached_attention,
    causal_attention,
    has_flash_attention,
)
from dianoia.hardware.matmul import matmul_float32
from dianoia.sampler.native.torch.decode_attention import (
    Rotation,
    attend_slots,
    has_decode_kernels,
    multiprocessor_count,
    rope_into_cache,
    split_count,
)
from dianoia.sampler.native.weights import LayerWeights, ModelShape, RopeTables, Weights

CACHE_BLOCK = 64
"""Slots of the KV cache are a multiple of this many tokens long."""

QkvWeights = tuple[Tensor, Tensor, Tensor | None, Tensor | None]
"""Input norm, QKV matrix, its bias, and the norms of queries and keys."""
OutputWeights = tuple[
    tuple[Tensor, Tensor | None, Tensor], tuple[Tensor, Tensor | None, Tensor, Tensor | None]
]
"""(output projection, its bias, post-attention norm), (gate-up matrix, its bias, down matrix, its bias)."""


@dataclass(frozen=True, slots=True)
class StepShape:
    """Size of a decoding step."""

    slots: int
    """The step runs slots 0 to `slots` - 1."""
    length: int
    """No slot holds more tokens, the present one included."""


class KVCache:
    """Keys and values `[layers, slots * capacity, K, D]`: prompt and response of a slot in one piece.

    Attention reads a slot as far as it is filled, so there is no padding; a prompt is copied into the slot of each
    of its samples.
    """

    def __init__(
        self,
        shape: ModelShape,
        slots: int,
        capacity: int,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        """Allocate room for at least `capacity` tokens in each of `slots`."""
        self.slots, self.capacity = slots, -(-capacity // CACHE_BLOCK) * CACHE_BLOCK
        size = (shape.layers, slots * self.capacity, shape.kv_heads, shape.head)
        # zeros, because a masked NaN would still be NaN
        self.keys, self.values = (torch.zeros(size, dtype=dtype, device=device) for _ in range(2))

    @property
    def bytes(self) -> int:
        """Memory of both buffers."""
        return 2 * self.keys.numel() * self.keys.element_size()

    def move(self, targets: list[int], sources: list[int], length: int) -> None:
        """Copy the first `length` tokens of the source slots; no slot may be both target and source."""
        to, source = (torch.tensor(i, device=self.keys.device) for i in (targets, sources))
        for states in (self.keys, self.values):
            layers = states.view(states.shape[0], self.slots, self.capacity, *states.shape[2:])
            for layer in layers:  # layer by layer, which bounds the temporary copy
                layer[to, :length] = layer[source, :length]


class TorchModel:
    """Weights and forward pass. New weights may be loaded at any time between two calls."""

    def __init__(self, config: PretrainedConfig, dtype: torch.dtype, device: torch.device) -> None:
        """Allocate the weights of a config that `weights.refusal` accepts."""
        shape = self.shape = ModelShape.of(config)
        self.dtype, self.device = dtype, device
        self.weights = Weights(shape, dtype, device)
        self._rope = RopeTables(config)
        self._cos = self._sin = torch.empty(0, shape.head, dtype=dtype, device=device)
        self._scale = shape.head**-0.5
        self._heads = (shape.heads, shape.kv_heads)
        self.flash = has_flash_attention(device, dtype, shape.head)
        self.kernels = has_decode_kernels(device, dtype, shape.head, shape.repeats)
        self._project_qkv = compile_for(project_qkv, device)
        self._finish_layer = compile_for(finish_layer, device)
        self._rms_norm = compile_for(rms_norm, device)
        self._qkv_before_rope = compile_for(qkv_before_rope, device)
        self._finish_and_project = compile_for(finish_and_project, device)

    def reserve(self, length: int) -> None:
        """Make the RoPE tables cover `length` positions."""
        if self._cos.shape[0] < length:
            cos, sin = self._rope.build(length)
            self._cos = cos.to(self.device, self.dtype)
            self._sin = sin.to(self.device, self.dtype)

    def logits(self, hidden_BH: Tensor) -> Tensor:
        """Return the float32 logits `[B, V]` of final hidden states."""
        head = self.weights.head
        # float32 logits in either case, see `Weights`
        if self.device.type == "cpu":
            return F.linear(hidden_BH.to(head.dtype), head).float()
        return matmul_float32(hidden_BH, head.t())

    def prefill(
        self,
        prompts: Sequence[tuple[int, ...]],
        owners: Sequence[int],
        slots: Sequence[int],
        cache: KVCache,
    ) -> Tensor:
        """Read prompts, and write the keys and values of prompt `owners[i]` into slot `slots[i]`.

        Returns the final hidden state after each prompt `[prompts, H]`.
        """
        lengths = [len(prompt) for prompt in prompts]
        ends = torch.tensor(lengths).cumsum(0)
        sources, targets = _cache_copies(lengths, owners, slots, cache.capacity)
        sources, targets = sources.to(self.device), targets.to(self.device)
        # the prompts end to end in one row, each with positions from 0
        ids = torch.cat([torch.tensor(prompt) for prompt in prompts]).to(self.device)
        positions = torch.cat([torch.arange(length) for length in lengths]).to(self.device)
        bounds = SequenceBounds.of(lengths, self.device)
        x, rope = self._embed(ids, positions)
        for index, layer in enumerate(self.weights.layers):
            q, k, v = self._qkv(layer, x, rope)
            # a prompt's keys and values are copied into the slot of each of its samples
            cache.keys[index].index_copy_(0, targets, k[sources])
            cache.values[index].index_copy_(0, targets, v[sources])
            attended = self._attend_prompts((q, k, v), bounds, lengths)
            x = self._finish(layer, x, attended)
        return self._final_norm(x[(ends - 1).to(self.device)])

    def decode(
        self, tokens_B: Tensor, lengths_B: Tensor, shape: StepShape, cache: KVCache
    ) -> Tensor:
        """Read one token per slot and return the final hidden states `[B, H]`.

        The token is appended to the `lengths_B` tokens that its slot of the cache holds.
        """
        if self.kernels:
            return self._decode_by_kernels(tokens_B, lengths_B, shape, cache)
        # the position of the token is the number of tokens before it
        x, rope = self._embed(tokens_B, lengths_B)
        starts = torch.arange(shape.slots + 1, device=self.device) * cache.capacity
        # The token goes behind what its slot holds, and attends to itself too.
        columns, filled_B = starts[:-1] + lengths_B, (lengths_B + 1).to(torch.int32)
        bounds = SequenceBounds(starts.to(torch.int32), shape.length)
        for index, layer in enumerate(self.weights.layers):
            q, k, v = self._qkv(layer, x, rope)
            keys = cache.keys[index].index_copy_(0, columns, k)
            values = cache.values[index].index_copy_(0, columns, v)
            attended = self._attend_cache(q, (keys, values), bounds, filled_B, cache.capacity)
            x = self._finish(layer, x, attended)
        return self._final_norm(x)

    def _decode_by_kernels(
        self, tokens_B: Tensor, lengths_B: Tensor, shape: StepShape, cache: KVCache
    ) -> Tensor:
        """Run `decode` with the kernels of `decode_attention`; the work between two attentions is compiled as one."""
        layers, eps = self.weights.layers, self.shape.eps
        x, rope = self._embed(tokens_B, lengths_B)
        filled_B = (lengths_B + 1).to(torch.int32)
        processors = multiprocessor_count(self.device)
        splits = split_count(shape.slots, self.shape.kv_heads, shape.length, processors)
        mark_dynamic(x)
        # The first layer's projection runs alone; each later one is compiled with the end of the layer before.
        qkv = self._qkv_before_rope(x, *layers[0].qkv_weights[:3], eps)
        for index, layer in enumerate(layers):
            cached = cache.keys[index], cache.values[index]
            rotation = Rotation(layer.qk_norm, eps, *rope)
            q = rope_into_cache(qkv, rotation, lengths_B, cached, cache.capacity)
            size = (cache.capacity, splits)
            attended = attend_slots(q, cached, filled_B, self._scale, size).flatten(1)
            mark_dynamic(x, attended)
            if layer is layers[-1]:
                x = self._finish_layer(x, attended, *layer.output_weights, eps)
            else:
                following = layers[index + 1].qkv_weights[:3]
                x, qkv = self._finish_and_project(x, attended, layer.output_weights, following, eps)
        return self._final_norm(x)

    def _embed(self, ids: Tensor, positions: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return embeddings `[N, H]` and the RoPE cosine and sine `[N, D]` of the positions."""
        rope = self._cos[positions], self._sin[positions]
        return F.embedding(ids, self.weights.embedding), rope

    def _qkv(
        self, layer: LayerWeights, x: Tensor, rope: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries and keys after RoPE, and values."""
        mark_dynamic(x, *rope)
        return self._project_qkv(x, layer.qkv_weights, rope, self._heads, self.shape.eps)

    def _finish(self, layer: LayerWeights, x: Tensor, attended: Tensor) -> Tensor:
        """Return the layer's result from its input and the attention output."""
        attended = attended.reshape(x.shape[0], -1)
        mark_dynamic(x, attended)
        return self._finish_layer(x, attended, *layer.output_weights, self.shape.eps)

    def _final_norm(self, x: Tensor) -> Tensor:
        mark_dynamic(x)
        return self._rms_norm(x, self.weights.norm, self.shape.eps)

    def _attend_prompts(
        self, qkv: tuple[Tensor, Tensor, Tensor], bounds: SequenceBounds, lengths: list[int]
    ) -> Tensor:
        """Return the causal self-attention of each prompt `[N, heads, D]`."""
        if self.flash:
            return causal_attention(*qkv, bounds, self._scale)
        # prompt by prompt, which needs neither padding nor a mask
        parts = zip(*(torch.split(part.transpose(0, 1), lengths, 1) for part in qkv), strict=True)
        attended = [
            F.scaled_dot_product_attention(
                q[None], k[None], v[None], is_causal=True, enable_gqa=True
            )
            for q, k, v in parts
        ]
        return torch.cat([prompt[0].transpose(0, 1) for prompt in attended])

    def _attend_cache(
        self,
        q: Tensor,
        cached: tuple[Tensor, Tensor],
        bounds: SequenceBounds,
        filled_B: Tensor,
        capacity: int,
    ) -> Tensor:
        """Return the attention of one token per slot over its slot `[B, heads, D]`."""
        if self.flash:
            return cached_attention(q, *cached, bounds, filled_B, self._scale)
        slots, head = q.shape[0], self.shape.head
        keys, values = (
            part.view(-1, capacity, *part.shape[1:])[:slots, : bounds.longest].transpose(1, 2)
            for part in cached
        )
        # columns beyond what a slot holds are masked: they may hold keys of an earlier sample
        filled_BN = torch.arange(bounds.longest, device=self.device) < filled_B[:, None]
        # The query heads of one KV head become rows of one product, so keys need not be repeated.
        queries = q.reshape(slots, self.shape.kv_heads, self.shape.repeats, head)
        attended = F.scaled_dot_product_attention(
            queries, keys, values, attn_mask=filled_BN[:, None, None], scale=self._scale
        )
        return attended.reshape(slots, self.shape.heads, head)


def _cache_copies(
    lengths: Sequence[int], owners: Sequence[int], slots: Sequence[int], capacity: int
) -> tuple[Tensor, Tensor]:
    """Return the index of each token to copy among the prompts' tokens, and its index in the cache."""
    starts = [sum(lengths[:i]) for i in range(len(lengths))]
    sources = [torch.arange(starts[i], starts[i] + lengths[i]) for i in owners]
    targets = [
        torch.arange(lengths[i]) + slot * capacity for i, slot in zip(owners, slots, strict=True)
    ]
    return torch.cat(sources), torch.cat(targets)


# Parts of a layer: functions of tensors alone, so that they can be compiled ------------------------


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Return the RMS norm over the last dimension."""
    return F.rms_norm(x, x.shape[-1:], weight, eps)


def qkv_before_rope(
    x_BH: Tensor, norm: Tensor, weight: Tensor, bias: Tensor | None, eps: float
) -> Tensor:
    """Return queries, keys and values `[B, (heads + 2 K) D]` before RoPE."""
    return F.linear(rms_norm(x_BH, norm, eps), weight, bias)


def project_qkv(
    x_BH: Tensor,
    weights: QkvWeights,
    rope: tuple[Tensor, Tensor],
    heads: tuple[int, int],
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return queries `[B, heads, D]` and keys `[B, K, D]` after RoPE, and values `[B, K, D]`.

    rope: cosine, and sine with the sign of "rotate half" (`weights.RopeTables`). heads: of queries, and of keys.
    """
    norm, qkv_weight, qkv_bias, qk_norm = weights
    qkv = qkv_before_rope(x_BH, norm, qkv_weight, qkv_bias, eps)
    cos_BD, sin_BD = rope
    rotated_heads, head = sum(heads), cos_BD.shape[-1]
    qkv = qkv.view(-1, rotated_heads + heads[1], head)
    qk, v = qkv[:, :rotated_heads], qkv[:, rotated_heads:]
    # RoPE of queries and keys in one operation: their heads lie next to each other
    if qk_norm is not None:
        qk = F.rms_norm(qk, (head,), None, eps).mul_(qk_norm)
    # In place, since memory traffic bounds a decoding step, and sampling needs no gradient.
    rotated = qk.roll(head // 2, -1).mul_(sin_BD[:, None])
    qk = rotated.addcmul_(qk, cos_BD[:, None])
    return qk[:, : heads[0]], qk[:, heads[0] :], v


def finish_layer(
    x_BH: Tensor,
    attended: Tensor,
    output: tuple[Tensor, Tensor | None, Tensor],
    mlp: tuple[Tensor, Tensor | None, Tensor, Tensor | None],
    eps: float,
) -> Tensor:
    """Return a layer's result: output projection, MLP and both residuals."""
    out, out_bias, norm = output
    gate_up_weight, gate_up_bias, down, down_bias = mlp
    x = _add_product(x_BH, attended, out)
    if out_bias is not None:
        x += out_bias
    gate, up = F.linear(rms_norm(x, norm, eps), gate_up_weight, gate_up_bias).chunk(2, -1)
    x = _add_product(x, F.silu(gate).mul_(up), down)
    return x if down_bias is None else x.add_(down_bias)


def finish_and_project(
    x_BH: Tensor,
    attended: Tensor,
    weights: OutputWeights,
    following: tuple[Tensor, Tensor, Tensor | None],
    eps: float,
) -> tuple[Tensor, Tensor]:
    """Run `finish_layer` of a layer and `qkv_before_rope` of the next one.

    Compiled together, the residual sum and the norm of it are one pass over memory.
    """
    x = finish_layer(x_BH, attended, *weights, eps)
    return x, qkv_before_rope(x, *following, eps)


def _add_product(x: Tensor, y: Tensor, weight: Tensor) -> Tensor:
    """Return x + y @ weight.T."""
    if x.device.type == "cpu":
        return torch.addmm(x, y, weight.t())
    # The sum is left to the compiler, which fuses it with what follows. It is in float32, because the compiler takes
    # a sum in the same dtype for the bias of the product, which would be copied first.
    return (x.float() + F.linear(y, weight).float()).to(x.dtype)
