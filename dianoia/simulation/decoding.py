"""Time of a decoding step and of reading a prompt, on one sampler. No torch.

In: a model's size, the speed of a rank, the sampler's dtype. Out: `Decoder`. As in the plan (`recipe.plan.work_time`), a step
takes as long as its arithmetic, or as reading weights and KV cache once, whichever is more, and on a GPU the launches of its
kernels besides. Steps are a property of what is live: with few responses a GPU is no faster per step, so that the longest
responses of a rollout set its time.
"""

from dataclasses import dataclass

from dianoia.recipe.plan.model_sizes import Size
from dianoia.simulation.rates import Rates


@dataclass(frozen=True, slots=True)
class Decoder:
    """Times of one sampler."""

    token_flops: float
    """Operations per token without attention."""
    attention_flops: float
    """Operations per token and token that it attends to."""
    weight_bytes: float
    cache_bytes: float
    """Bytes of the KV cache per token."""
    rate: float
    """Operations per second."""
    bandwidth: float | None
    """Bytes per second; None where reading is not the bound."""
    overhead: float
    """Seconds per step beside reading and arithmetic."""
    slots: int
    tokens_per_step: float = 1.0
    """Tokens of a response per step, in the mean: more than one with speculative decoding."""

    def step(self, live: float, context: float) -> float:
        """Return the seconds of a step of `live` responses that attend to `context` tokens together."""
        arithmetic = (live * self.token_flops + context * self.attention_flops) / self.rate
        if self.bandwidth is None:
            return arithmetic + self.overhead
        reading = (self.weight_bytes + context * self.cache_bytes) / self.bandwidth
        # Reading and launches follow one another, and arithmetic runs beside both.
        return max(arithmetic, reading + self.overhead)

    def prefill(self, tokens: float) -> float:
        """Return the seconds of reading a prompt."""
        return tokens * (self.token_flops + self.attention_flops * tokens / 2) / self.rate

    def alone(self, tokens: float, prompt: float) -> float:
        """Return the seconds of one response with a sampler to itself: what no number of samplers makes shorter."""
        steps = tokens / self.tokens_per_step
        return self.prefill(prompt) + steps * self.step(1, prompt + tokens / 2)


def decoder_of(size: Size, rates: Rates, slots: int, bfloat16: bool) -> Decoder:
    """Return one of the `rates.workers` samplers of a rank, with its share of the rank's slots and speed."""
    width = 2 if bfloat16 else 4
    return Decoder(
        token_flops=size.layer_flops(0) + 2 * size.embedding,
        attention_flops=size.layer_flops(1) - size.layer_flops(0),
        weight_bytes=float(width * size.parameters),
        cache_bytes=float(width * size.cache_per_token),
        rate=rates.decoding / rates.workers,
        bandwidth=rates.bandwidth,
        overhead=rates.layer_seconds * size.layers,
        slots=max(1, slots // rates.workers),
    )
