"""The forward pass of dense Llama, Qwen2 and Qwen3: whole prompts, and one token a sample.

In: token ids and where each sample's keys live (`Batch`). Out: final hidden states, and the cache
filled. Attention over the prompt and over the response are two softmaxes, because the first is
shared by the samples of a prompt (one matrix product for all of them) and the second is cut where
it is filled. The prompt's normaliser enters the second softmax as one more score, whose value is
what the first one saw. Plain batched products beat the fused attention kernel by 2 to 3 on a CPU at
one query a row. Left out: gradients, dropout, sampling.

Shapes: `B` live samples, `N` prompts, `L` prompt tokens, `P` prompt rows, `K` kv heads, `W` members
of a prompt row, `R` query heads a kv head, `T` response tokens, `D` head, `H` hidden, `V`
vocabulary.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from transformers import PretrainedConfig

from dianoia.hardware.matmul import matmul_float32
from dianoia.sampler.native.blocks import finish, norm, project
from dianoia.sampler.native.plain.torch_cache import Cache
from dianoia.sampler.native.rotary import Rotary
from dianoia.sampler.native.weights import Layer, Shape, Weights

MASKED = -1e30
"""Added to scores that do not count; finite, so that a row with nothing to see yields no NaN."""


@dataclass(slots=True)
class Batch:
    """Where the live samples of one decoding step keep their keys."""

    tokens_B: torch.Tensor
    """The last token drawn, not yet seen by the model."""
    positions_B: torch.Tensor
    """Its position in the text."""
    columns_B: torch.Tensor
    """Its position in the response, from 0."""
    members_B: torch.Tensor
    """prompt row * kv heads * W + place within the row."""
    bounds: list[tuple[int, int, int]]
    """Spans of rows (first, last + 1) and the longest response in each, the present token
    included."""
    prompt_mask_PK1L: torch.Tensor
    """0 where a prompt row has a token, MASKED elsewhere."""


class Forward:
    """A model ready to run; the weights may be loaded anew at any time between calls."""

    def __init__(self, config: PretrainedConfig, dtype: torch.dtype, device: torch.device) -> None:
        """Allocate the weights of a config that `weights.refusal` accepts."""
        self.shape = Shape.of(config)
        self.dtype, self.device = dtype, device
        self.weights = Weights(self.shape, dtype, device)
        self._scale = self.shape.head**-0.5
        self._rotary = Rotary(config)
        self._cos = self._sin = torch.empty(0, self.shape.head, dtype=self.dtype, device=device)
        self._heads_K = torch.arange(self.shape.kv_heads, device=device)

    def reserve(self, length: int) -> None:
        """Make the rotary tables cover `length` positions."""
        if self._cos.shape[0] < length:
            cos, sin = self._rotary.tables(length)
            self._cos = cos.to(self.device, self.dtype)
            self._sin = sin.to(self.device, self.dtype)

    def turn(self, positions_B: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The rotary tables at these positions, both `[B, D]`."""
        return self._cos[positions_B], self._sin[positions_B]

    def logits(self, hidden_BH: torch.Tensor) -> torch.Tensor:
        """Scores of the next token `[B, V]`, float32."""
        if self.device.type == "cpu":
            return F.linear(hidden_BH.to(self.weights.head.dtype), self.weights.head).float()
        return matmul_float32(hidden_BH, self.weights.head.t())

    def prefill(
        self, prompts: list[tuple[int, ...]], rows: list[int], owners: list[int], cache: Cache
    ) -> torch.Tensor:
        """Read prompts; prompt row `rows[i]` receives the keys of prompt `owners[i]`.

        Returns the final hidden state after each prompt `[N, H]`.
        """
        lengths = [len(prompt) for prompt in prompts]
        longest = max(lengths)
        # padding sits on the right, where causal attention never looks from a real token
        padded = [prompt + (0,) * (longest - len(prompt)) for prompt in prompts]
        x = F.embedding(torch.tensor(padded, device=self.device), self.weights.embedding).flatten(
            0, 1
        )
        rows_, owners_ = (torch.tensor(i, device=self.device) for i in (rows, owners))
        cos, sin = (table[:longest].repeat(len(prompts), 1) for table in (self._cos, self._sin))
        for index, layer in enumerate(self.weights.layers):
            q, k, v = (
                part.reshape(len(prompts), longest, -1, self.shape.head).transpose(1, 2)
                for part in self._project(layer, x, cos, sin)
            )
            cache.prompt[0, index, :, :, :longest].index_copy_(0, rows_, k[owners_])
            cache.prompt[1, index, :, :, :longest].index_copy_(0, rows_, v[owners_])
            seen = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
            x = self._finish(layer, x, seen.transpose(1, 2).reshape(x.shape[0], -1))
        last = torch.tensor(lengths, device=self.device).sub_(1)
        last += torch.arange(len(prompts), device=self.device) * longest
        return self._norm(x[last], self.weights.norm)

    def decode(self, batch: Batch, cache: Cache) -> torch.Tensor:
        """Read one token a sample; the final hidden states `[B, H]`."""
        rows = batch.tokens_B.shape[0]
        x = F.embedding(batch.tokens_B, self.weights.embedding)
        cos, sin = self._cos[batch.positions_B], self._sin[batch.positions_B]
        slots = torch.arange(rows * self.shape.kv_heads, device=self.device)
        columns = batch.columns_B.repeat_interleave(self.shape.kv_heads)
        written = slots * (cache.sizes.response + 1) + columns + 1
        places = (batch.members_B[:, None] + self._heads_K * cache.sizes.members).flatten()
        masks = self._response_masks(columns, batch.bounds)
        for index, layer in enumerate(self.weights.layers):
            q, k, v = self._project(layer, x, cos, sin)
            keys, values = cache.response[0, index], cache.response[1, index]
            keys.view(-1, self.shape.head).index_copy_(0, written, k.flatten(0, 1))
            values.view(-1, self.shape.head).index_copy_(0, written, v.flatten(0, 1))
            q = q.reshape(-1, self.shape.repeats, self.shape.head)
            prompt = self._attend_prompt(q, places, batch, cache, index)
            seen = self._attend_response(q, prompt, masks, batch.bounds, (keys, values))
            x = self._finish(layer, x, seen.view(rows, -1))
        return self._norm(x, self.weights.norm)

    def _norm(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """RMS norm over the last dimension."""
        return norm(x, weight, self.shape.eps)

    def _project(
        self, layer: Layer, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Rotated queries `[B, heads, D]` and keys, and values `[B, K, D]`."""
        heads = (self.shape.heads, self.shape.kv_heads)
        return project(x, layer.before, (cos, sin), heads, self.shape.eps)

    def _finish(self, layer: Layer, x: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        """What follows attention in a layer: output projection, feed-forward, both residuals."""
        return finish(x, seen, *layer.after, self.shape.eps)

    def _attend_prompt(
        self, q: torch.Tensor, places: torch.Tensor, batch: Batch, cache: Cache, index: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Attention over the prompts, all members of a prompt row in one product.

        Returns what was seen `[B * K, R, D]` and the logarithm of the normaliser `[B * K, R]`.
        """
        rows, _, length = batch.prompt_mask_PK1L.shape
        repeats, head = self.shape.repeats, self.shape.head
        cache.queries.index_copy_(0, places, q.flatten(1))
        queries = cache.queries.view(-1, cache.sizes.members * repeats, head)[:rows]
        keys = cache.prompt[0, index].flatten(0, 1)[:rows, :length]
        values = cache.prompt[1, index].flatten(0, 1)[:rows, :length]
        mask = batch.prompt_mask_PK1L
        scores = torch.baddbmm(mask, queries, keys.transpose(1, 2), alpha=self._scale)
        probs = scores.softmax(-1, dtype=torch.float32)
        # log-sum-exp without a second exp: score minus log-probability of any entry, best the
        # largest
        lse = scores.amax(-1).float() - probs.amax(-1).log()
        seen = torch.bmm(probs.to(self.dtype), values).view(-1, repeats * head)
        seen = seen.index_select(0, places).view(-1, repeats, head)
        return seen, lse.view(-1, repeats).index_select(0, places)

    def _attend_response(
        self,
        q: torch.Tensor,
        prompt: tuple[torch.Tensor, torch.Tensor],
        masks: list[torch.Tensor],
        bounds: list[tuple[int, int, int]],
        cached: tuple[torch.Tensor, torch.Tensor],
    ) -> torch.Tensor:
        """Attention over prompt and responses `[B * K, R, D]`, each span of rows as far as its
        longest."""
        heads = self.shape.kv_heads
        keys, values = (part.flatten(0, 1) for part in cached)
        prompt_seen, prompt_lse = prompt
        seen, shares = [], []
        for (first, last, length), mask in zip(bounds, masks, strict=True):
            span = slice(first * heads, last * heads)
            filled = keys[span, : 1 + length].transpose(1, 2)
            scores = torch.baddbmm(mask, q[span], filled, alpha=self._scale)
            scores[..., 0] = prompt_lse[span]
            probs = scores.softmax(-1, dtype=torch.float32).to(self.dtype)
            seen.append(torch.bmm(probs, values[span, : 1 + length]))
            shares.append(probs[..., :1])
        return torch.cat(seen).addcmul_(torch.cat(shares), prompt_seen)

    def _response_masks(
        self, columns: torch.Tensor, bounds: list[tuple[int, int, int]]
    ) -> list[torch.Tensor]:
        """For each span `[rows * K, 1, 1 + T]`: 0 up to and with the present token, MASKED after
        it."""
        longest = max(length for _, _, length in bounds)
        ahead = torch.arange(-1, longest, device=self.device) > columns[:, None]
        mask = torch.zeros(ahead.shape, dtype=self.dtype, device=self.device)
        mask = mask.masked_fill_(ahead, MASKED)[:, None]
        heads = self.shape.kv_heads
        return [
            mask[first * heads : last * heads, :, : 1 + length] for first, last, length in bounds
        ]
