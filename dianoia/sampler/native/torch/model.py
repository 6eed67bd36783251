"""Forward pass of dense Llama, Qwen2 and Qwen3 in PyTorch over a paged KV cache: tokens of prompts, or one per slot.

In: token ids, where they stand, and a `PagedCache`. Out: final hidden states, with the cache filled. A prompt and a decoding step
take the same path, row by row, so that reading drawn tokens again fills the cache as drawing them did. A decoding step has fixed
shapes and asks the host nothing, so that it can be captured as a CUDA graph. Attention is that of the Triton kernels of
`decode_attention` where they run, else the same in plain PyTorch. On CUDA the work between the matrix products is compiled. No
gradients, no sampling.

On a CPU a row is the same bits whatever is computed with it, if passes have a multiple of ROWS rows. On CUDA cuBLAS chooses a
product's kernel by the number of rows, so there a row may differ by rounding between passes of different sizes.

Shapes: `N` rows (one token each), `K` KV heads, `R` query heads per KV head, `D` head size, `H` hidden size, `V` vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PretrainedConfig

from dianoia.hardware.compiled import compile_for, mark_dynamic
from dianoia.hardware.matmul import matmul_float32
from dianoia.sampler.native.torch.decode_attention import (
    Group,
    Places,
    Rotation,
    Tiles,
    attend_groups,
    attend_tiles,
    columns_of,
    has_decode_kernels,
    masks_of,
    rope_into_pages,
)
from dianoia.sampler.native.torch.paged_cache import PagedCache
from dianoia.sampler.native.weights import LayerWeights, ModelShape, RopeTables, Weights

ROWS = 16
"""On a CPU passes have a multiple of so many rows: BLAS takes other kernels for a few rows, which add in another order."""

QkvWeights = tuple[Tensor, Tensor, Tensor | None, Tensor | None]
"""Input norm, QKV matrix, its bias, and the norms of queries and keys."""
OutputWeights = tuple[
    tuple[Tensor, Tensor | None, Tensor], tuple[Tensor, Tensor | None, Tensor, Tensor | None]
]
"""(output projection, its bias, post-attention norm), (gate-up matrix, its bias, down matrix, its bias)."""


@dataclass(frozen=True, slots=True)
class Pass:
    """Tokens of one forward pass."""

    tokens_N: Tensor
    places: Places
    groups: Sequence[Group] = ()
    """For plain attention; they cover the rows in order, but for those that no sample has."""
    tiles: Tiles | None = None
    """For the kernels."""
    longest: int | None = None
    """In a decoding step: no slot holds more tokens, the present one included."""


class TorchModel:
    """Weights and forward pass. New weights may be loaded at any time between two calls."""

    def __init__(self, config: PretrainedConfig, dtype: torch.dtype, device: torch.device) -> None:
        """Allocate the weights of a config that `weights.refusal` accepts."""
        shape = self.shape = ModelShape.of(config)
        self.dtype, self.device = dtype, device
        self.weights = Weights(shape, dtype, device)
        self._rope = RopeTables(config)
        self._cos = self._sin = torch.empty(0, shape.head, dtype=dtype, device=device)
        self._replaced: list[tuple[Tensor, Tensor]] = []
        """Shorter RoPE tables, which captured steps of other decoders still read."""
        self._growing = Lock()
        self._scale = shape.head**-0.5
        self._heads = (shape.heads, shape.kv_heads)
        self.kernels = has_decode_kernels(device, dtype, shape.head, shape.repeats)
        self._project_qkv = compile_for(project_qkv, device)
        self._finish_layer = compile_for(finish_layer, device)
        self._rms_norm = compile_for(rms_norm, device)
        self._qkv_before_rope = compile_for(qkv_before_rope, device)
        self._finish_and_project = compile_for(finish_and_project, device)

    def reserve(self, length: int) -> None:
        """Make the RoPE tables cover `length` positions."""
        with self._growing:
            if self._cos.shape[0] < length:
                cos, sin = self._rope.build(length)
                # Kept alive: a CUDA graph holds the bare address, and freed memory would be given to another tensor.
                self._replaced.append((self._cos, self._sin))
                self._cos = cos.to(self.device, self.dtype)
                self._sin = sin.to(self.device, self.dtype)

    def logits(self, hidden_BH: Tensor) -> Tensor:
        """Return the float32 logits `[B, V]` of final hidden states; on a CPU of a multiple of ROWS."""
        head = self.weights.head
        # float32 logits in either case, see `Weights`
        if self.device.type == "cpu":
            return F.linear(hidden_BH.to(head.dtype), head).float()
        return matmul_float32(hidden_BH, head.t())

    def padded(self, rows: int) -> int:
        """Return how many rows a pass has that needs `rows`."""
        # Rounded up. Not on CUDA, where more rows cost time and would not fix the kernel that cuBLAS chooses.
        return -(-rows // ROWS) * ROWS if self.device.type == "cpu" else rows

    def forward(self, batch: Pass, cache: PagedCache) -> Tensor:
        """Read tokens: write their keys and values into pages, and return their final hidden states `[N, H]`."""
        if self.kernels:
            return self._forward_by_kernels(batch, cache)
        places = batch.places
        x, rope = self._embed(batch.tokens_N, places.positions_N)
        columns = columns_of(places)
        groups = [masks_of(group, places, self.shape.repeats) for group in batch.groups]
        for index, layer in enumerate(self.weights.layers):
            q, k, v = self._qkv(layer, x, rope)
            keys, values = cached = cache.layer(index)
            # Written before attention reads the cache, since a token attends to itself. `flatten` is a view, so the
            # cache changes.
            keys.flatten(0, 1).index_copy_(0, columns, k)
            values.flatten(0, 1).index_copy_(0, columns, v)
            x = self._finish(layer, x, attend_groups(q, cached, groups, self._scale))
        return self._final_norm(x)

    def _forward_by_kernels(self, batch: Pass, cache: PagedCache) -> Tensor:
        """Run `forward` with the kernels of `decode_attention`; the work between two attentions is compiled as one."""
        layers, eps, places = self.weights.layers, self.shape.eps, batch.places
        assert batch.tiles is not None
        x, rope = self._embed(batch.tokens_N, places.positions_N)
        mark_dynamic(x)
        # The first layer's projection runs alone; each later one is compiled with the end of the layer before.
        qkv = self._qkv_before_rope(x, *layers[0].qkv_weights[:3], eps)
        for index, layer in enumerate(layers):
            cached = cache.layer(index)
            q = rope_into_pages(qkv, Rotation(layer.qk_norm, eps, *rope), places, cached)
            attended = attend_tiles(
                q, cached, places.tables_OW, batch.tiles, self._scale, batch.longest
            ).flatten(1)
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
        # The norm of queries and keys comes before RoPE, over each head alone, as Qwen3 was trained.
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
