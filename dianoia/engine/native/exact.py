"""One decoding step on a CPU by the C functions of `runtime.kernels`: attention reads what is filled and no more.

In: a `Forward` and what its `decode` gets. Out: the same states, up to rounding, and the cache filled in the same
layout. No masks, no padding, no copies of what several samples share; between two products everything is one pass.
With matrices in bfloat16 states and cache are float32 all the same. Left out: biases beside bfloat16, other number
formats, and machines without a C compiler, where `Forward.decode` goes its own way.
"""

import torch
import torch.nn.functional as F

from dianoia.engine.native import half
from dianoia.engine.native.cache import Cache
from dianoia.engine.native.weights import Layer, Shape, Weights
from dianoia.runtime.kernels import call, library

MOST_REPEATS = 8
"""Query heads a key head that the C function has room for."""


def is_exact(shape: Shape, dtype: torch.dtype, device: torch.device) -> bool:
    """Whether steps of such a model run here."""
    biased = shape.qkv_bias or shape.out_bias or shape.mlp_bias
    known = dtype == torch.float32 or (dtype == torch.bfloat16 and not biased)
    fits = known and device.type == "cpu" and shape.repeats <= MOST_REPEATS
    return fits and library() is not None


class Step:
    """One step of `B` samples: where they are, and room for what a layer computes."""

    def __init__(
        self,
        weights: Weights,
        shape: Shape,
        cache: Cache,
        turn: tuple[torch.Tensor, torch.Tensor],
        columns_B: torch.Tensor,
        prompts: tuple[torch.Tensor, torch.Tensor],
    ) -> None:
        """turn: cosine and sine `[B, D]`. columns_B: place in the response. prompts: row and length `_B`."""
        self.weights, self.shape, self.cache, self.turn = weights, shape, cache, turn
        self.columns_B, self.prompts = columns_B, prompts
        rows, room = len(columns_B), cache.response.shape[-2]
        self.inverse = torch.empty(rows)
        self.queries = torch.empty(rows, shape.heads * shape.head)
        self.seen = torch.empty_like(self.queries)
        self.scratch = torch.empty(shape.repeats, cache.prompt.shape[-2] + room)
        self.used_B = columns_B + 1

    def run(self, x: torch.Tensor) -> torch.Tensor:
        """Final hidden states `[B, H]` of the embedded tokens."""
        narrow = self.weights.layers[0].qkv.dtype == torch.bfloat16
        for index, layer in enumerate(self.weights.layers):
            x = self._in_half(index, layer, x) if narrow else self._in_full(index, layer, x)
        return self._norm(x, self.weights.norm)

    def _in_full(self, index: int, layer: Layer, x: torch.Tensor) -> torch.Tensor:
        """A layer with float32 products."""
        self._look(index, layer, F.linear(self._norm(x, layer.norm_1), layer.qkv, layer.qkv_bias))
        x = torch.addmm(x, self.seen, layer.out.t())
        if layer.out_bias is not None:
            x += layer.out_bias
        return self._think(layer, x)

    def _in_half(self, index: int, layer: Layer, x: torch.Tensor) -> torch.Tensor:
        """A layer with bfloat16 products."""
        self._look(index, layer, half.joined(x, layer, self.shape.eps))
        return half.finish(x, self.seen, layer, self.shape.eps)

    def _norm(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        y = torch.empty_like(x)
        call("rms", x, weight, self.shape.eps, y, self.inverse, *x.shape)
        return y

    def _look(self, index: int, layer: Layer, qkv: torch.Tensor) -> None:
        """Write the new keys and values, and fill `seen`."""
        shape, (prompt_rows_B, prompt_lengths_B) = self.shape, self.prompts
        keys, values = self.cache.response[0, index], self.cache.response[1, index]
        room, sizes = keys.shape[2], (shape.kv_heads, shape.repeats, shape.head)
        norms: tuple[torch.Tensor | None, torch.Tensor | None] = (None, None)
        if layer.qk_norm is not None:
            norms = (layer.qk_norm[0], layer.qk_norm[shape.heads])
        turned = (self.queries, keys, values, self.columns_B, room * shape.head)
        counts = (len(qkv), shape.heads, shape.kv_heads, shape.head)
        call("rotate", qkv, *norms, shape.eps, *self.turn, *turned, *counts)
        prompt = self.cache.prompt[:, index]
        where = (prompt_rows_B, prompt_lengths_B, self.used_B, self.scratch, self.seen)
        call(
            "decode",
            self.queries,
            *prompt,
            keys,
            values,
            *where,
            prompt.shape[3],
            room,
            len(qkv),
            *sizes,
        )

    def _think(self, layer: Layer, x: torch.Tensor) -> torch.Tensor:
        """The feed-forward part and its residual."""
        both = F.linear(self._norm(x, layer.norm_2), layer.gate_up, layer.gate_up_bias)
        inner = torch.empty(len(x), self.shape.inner)
        call("gated", both, inner, *inner.shape)
        x = torch.addmm(x, inner, layer.down.t())
        return x if layer.down_bias is None else x.add_(layer.down_bias)
