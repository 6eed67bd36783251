"""The forward pass on a GPU: prompts end to end, and one token a row of the cache.

In: token ids, and rows of a `RowCache`. Out: final hidden states, and the cache filled. Attention of a step reads
each row in parts, as far as it is filled (`sampler.native.gpu.decode_attention`); without Triton it is PyTorch's flash kernel for cached
keys, and number formats that neither knows, and a CPU, use plain fused attention. What stands between the
products is compiled. A decoding step has fixed shapes and asks the host nothing, so it can be captured.

Shapes: `B` rows, `N` prompt tokens, `K` kv heads, `R` query heads a kv head, `D` head, `H` hidden.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from dianoia.hardware.compiled import compile_for, mark_dynamic
from dianoia.hardware.flash_attention import (
    SequenceBounds,
    cached_attention,
    causal_attention,
    has_flash_attention,
)
from dianoia.sampler.native.blocks import finish, finish_and_join, joined, norm, project
from dianoia.sampler.native.forward import Forward
from dianoia.sampler.native.gpu.decode_attention import (
    Rotation,
    attend_rows,
    has_row_kernels,
    processors_of,
    splits_of,
    turn_into_cache,
)
from dianoia.sampler.native.gpu.gpu_cache import RowCache
from dianoia.sampler.native.weights import Layer


@dataclass(frozen=True, slots=True)
class Extent:
    """How much of the cache a step looks at."""

    rows: int
    length: int
    """No row holds more tokens, the present one included."""


class RowForward:
    """The model of a `Forward`, run over rows of a cache."""

    def __init__(self, forward: Forward) -> None:
        """Shares the weights."""
        self.base, self.shape, self.device = forward, forward.shape, forward.device
        self.flash = has_flash_attention(forward.device, forward.dtype, forward.shape.head)
        repeats, head = forward.shape.repeats, forward.shape.head
        self.kernels = has_row_kernels(forward.device, forward.dtype, head, repeats)
        self._scale = forward.shape.head**-0.5
        self._heads = (forward.shape.heads, forward.shape.kv_heads)
        self._project = compile_for(project, forward.device)
        self._finish = compile_for(finish, forward.device)
        self._norm = compile_for(norm, forward.device)
        self._joined = compile_for(joined, forward.device)
        self._finish_and_join = compile_for(finish_and_join, forward.device)

    def prefill(
        self,
        prompts: Sequence[tuple[int, ...]],
        owners: Sequence[int],
        rows: Sequence[int],
        cache: RowCache,
    ) -> torch.Tensor:
        """Read prompts; row `rows[i]` of the cache receives the keys of prompt `owners[i]`.

        Returns the final hidden state after each prompt `[prompts, H]`.
        """
        lengths = [len(prompt) for prompt in prompts]
        ends = torch.tensor(lengths).cumsum(0)
        sources, targets = _copies(lengths, owners, rows, cache.row)
        sources, targets = sources.to(self.device), targets.to(self.device)
        ids = torch.cat([torch.tensor(prompt) for prompt in prompts]).to(self.device)
        places = torch.cat([torch.arange(length) for length in lengths]).to(self.device)
        spans = SequenceBounds.of(lengths, self.device)
        x, turn = self._enter(ids, places)
        for index, layer in enumerate(self.base.weights.layers):
            q, k, v = self._before(layer, x, turn)
            cache.keys[index].index_copy_(0, targets, k[sources])
            cache.values[index].index_copy_(0, targets, v[sources])
            seen = self._attend_prompts((q, k, v), spans, lengths)
            x = self._after(layer, x, seen)
        return self._leave(x[(ends - 1).to(self.device)])

    def decode(
        self, tokens_B: torch.Tensor, used_B: torch.Tensor, extent: Extent, cache: RowCache
    ) -> torch.Tensor:
        """Read one token a row, whose keys go behind the `used_B` that are there; hidden states `[B, H]`."""
        if self.kernels:
            return self._decode_by_kernels(tokens_B, used_B, extent, cache)
        rows = extent.rows
        x, turn = self._enter(tokens_B, used_B)
        starts = torch.arange(rows + 1, device=self.device) * cache.row
        places, filled_B = starts[:-1] + used_B, (used_B + 1).to(torch.int32)
        spans = SequenceBounds(starts.to(torch.int32), extent.length)
        for index, layer in enumerate(self.base.weights.layers):
            q, k, v = self._before(layer, x, turn)
            keys = cache.keys[index].index_copy_(0, places, k)
            values = cache.values[index].index_copy_(0, places, v)
            seen = self._attend_rows(q, (keys, values), spans, filled_B, cache.row)
            x = self._after(layer, x, seen)
        return self._leave(x)

    def _decode_by_kernels(
        self, tokens_B: torch.Tensor, used_B: torch.Tensor, extent: Extent, cache: RowCache
    ) -> torch.Tensor:
        """`decode` with `sampler.native.gpu.decode_attention`; what lies between two attentions is compiled as one."""
        layers, eps = self.base.weights.layers, self.shape.eps
        x, turn = self._enter(tokens_B, used_B)
        filled_B = (used_B + 1).to(torch.int32)
        processors = processors_of(self.device)
        parts = splits_of(extent.rows, self.shape.kv_heads, extent.length, processors)
        mark_dynamic(x)
        qkv = self._joined(x, *layers[0].before[:3], eps)
        for index, layer in enumerate(layers):
            cached = cache.keys[index], cache.values[index]
            rotation = Rotation(layer.qk_norm, eps, *turn)
            q = turn_into_cache(qkv, rotation, used_B, cached, cache.row)
            seen = attend_rows(q, cached, filled_B, self._scale, (cache.row, parts)).flatten(1)
            mark_dynamic(x, seen)
            if layer is layers[-1]:
                x = self._finish(x, seen, *layer.after, eps)
            else:
                following = layers[index + 1].before[:3]
                x, qkv = self._finish_and_join(x, seen, layer.after, following, eps)
        return self._leave(x)

    def _enter(
        self, ids: torch.Tensor, places: torch.Tensor
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
        """Embeddings, and the rotary tables at these places; the number of rows varies from call to call."""
        return F.embedding(ids, self.base.weights.embedding), self.base.turn(places)

    def _before(
        self, layer: Layer, x: torch.Tensor, turn: tuple[torch.Tensor, torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Queries, keys and values."""
        mark_dynamic(x, *turn)
        return self._project(x, layer.before, turn, self._heads, self.shape.eps)

    def _after(self, layer: Layer, x: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        """The layer's result from what attention saw."""
        seen = seen.reshape(x.shape[0], -1)
        mark_dynamic(x, seen)
        return self._finish(x, seen, *layer.after, self.shape.eps)

    def _leave(self, x: torch.Tensor) -> torch.Tensor:
        mark_dynamic(x)
        return self._norm(x, self.base.weights.norm, self.shape.eps)

    def _attend_prompts(
        self,
        qkv: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
        spans: SequenceBounds,
        lengths: list[int],
    ) -> torch.Tensor:
        """Causal attention of each prompt to itself `[N, heads, D]`."""
        if self.flash:
            return causal_attention(*qkv, spans, self._scale)
        parts = zip(*(torch.split(part.transpose(0, 1), lengths, 1) for part in qkv), strict=True)
        seen = [
            F.scaled_dot_product_attention(
                q[None], k[None], v[None], is_causal=True, enable_gqa=True
            )
            for q, k, v in parts
        ]
        return torch.cat([prompt[0].transpose(0, 1) for prompt in seen])

    def _attend_rows(
        self,
        q: torch.Tensor,
        cached: tuple[torch.Tensor, torch.Tensor],
        spans: SequenceBounds,
        filled_B: torch.Tensor,
        row: int,
    ) -> torch.Tensor:
        """Attention of one token a row over what its row holds `[B, heads, D]`."""
        if self.flash:
            return cached_attention(q, *cached, spans, filled_B, self._scale)
        rows, head = q.shape[0], self.shape.head
        keys, values = (
            part.view(-1, row, *part.shape[1:])[:rows, : spans.longest].transpose(1, 2)
            for part in cached
        )
        there = torch.arange(spans.longest, device=self.device) < filled_B[:, None]
        queries = q.reshape(rows, self.shape.kv_heads, self.shape.repeats, head)
        seen = F.scaled_dot_product_attention(
            queries, keys, values, attn_mask=there[:, None, None], scale=self._scale
        )
        return seen.reshape(rows, self.shape.heads, head)


def _copies(
    lengths: Sequence[int], owners: Sequence[int], rows: Sequence[int], row: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Where each cached token stands among the prompts' tokens, and where it goes in the cache."""
    starts = [sum(lengths[:i]) for i in range(len(lengths))]
    sources = [torch.arange(starts[i], starts[i] + lengths[i]) for i in owners]
    targets = [torch.arange(lengths[i]) + at * row for i, at in zip(owners, rows, strict=True)]
    return torch.cat(sources), torch.cat(targets)
