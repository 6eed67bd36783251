"""Time of the updates of a rollout: arithmetic shared out among ranks, and what the ranks send one another. No torch.

In: lengths of responses, a model's size, the speed of a rank, the layout of the ranks. Out: seconds. Each minibatch is dealt to
the ranks, the longest response first, each to the rank with least work so far; the rank with most sets the time, so that a
minibatch of fewer responses than ranks leaves ranks idle. Gradients of replicas are summed once per step by a ring. Ranks that
share a copy gather each layer for its forward and for its backward pass of every micro-batch, beside the arithmetic of the layer
before, and scatter the sums of its gradients: on a GPU after every micro-batch, on a CPU once per step.
"""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from math import log2

import numpy as np
from numpy.typing import NDArray

from dianoia.recipe.plan.layout import Layout
from dianoia.recipe.plan.model_sizes import Size
from dianoia.simulation.rates import Rates

_FLOAT32 = 4
_ADAMW_BYTES = 28
"""Bytes per trained parameter that a step of AdamW moves: reads weight, gradient and both averages, writes all but the gradient."""
_PASSES_OF_LAYER = 2
"""Times that a sharded layer is gathered per micro-batch: for its forward and for its backward pass."""
_MEMORY_BANDWIDTH = 1e10
"""Bytes per second of a CPU's memory, where the device has no figure."""


@dataclass(frozen=True, slots=True)
class Learning:
    """What a stage does with a rollout."""

    size: Size
    trained: int
    """Parameters that are trained."""
    passes: float
    """Passes per token, a backward pass counting as two: of the policy, and of reference and value model."""
    minibatches: int
    tokens_per_micro_batch: int
    prompt: float
    """Tokens of a prompt."""
    shared_prompts: bool
    """Whether the responses to a problem share one pass over its prompt, as on a CPU."""

    def flops(self, tokens: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the operations of each response `[..., G]`, its part of its prompt included.

        A token attends to all before it: the sum over a text of p + n tokens is that of its mean context. The head runs on
        responses alone.
        """
        size, prompt = self.size, self.prompt
        # The pass over a shared prompt is divided among the responses, so that any split of them adds up to the whole.
        copies = 1 / tokens.shape[-1] if self.shared_prompts else 1.0
        head = 2 * size.embedding
        responses = tokens * (size.layer_flops(0) + head)
        # `layer_flops` is linear in the context, so this is its slope: operations per token and token of context.
        per_context = size.layer_flops(1) - size.layer_flops(0)
        # The n tokens of a response see p + 1, ..., p + n tokens: p + n / 2 in the mean.
        attention = per_context * tokens * (prompt + tokens / 2)
        prompts = copies * prompt * size.layer_flops(prompt / 2)
        result: NDArray[np.float64] = self.passes * (responses + attention + prompts)
        return result


@dataclass(frozen=True, slots=True)
class UpdateTimes:
    """Seconds of the updates of a rollout."""

    arithmetic: float
    """Of the rank that has most, over all steps."""
    communication: float
    """For which the arithmetic waits."""
    balance: float
    """Mean work of a rank over that of the rank that has most, 0 to 1."""

    @property
    def seconds(self) -> float:
        """Seconds of all steps."""
        return self.arithmetic + self.communication


def update_times(
    learning: Learning, tokens: NDArray[np.int64], rates: Rates, layout: Layout
) -> UpdateTimes:
    """Return the times of the updates that learn from responses of `tokens` `[P, G]`."""
    flops, tokens = learning.flops(tokens).reshape(-1), tokens.reshape(-1)
    parts = layout.ranks * rates.workers
    rate = rates.training / rates.workers
    most = mean = communication = 0.0
    # Neighbours stay together, so that a problem's responses are in one minibatch where the groups come out even.
    for rows in np.array_split(np.arange(tokens.size), learning.minibatches):
        load = largest_load(flops[rows].tolist(), parts)
        # A step ends with its slowest rank, so that maxima are summed per step and not over the rollout.
        most, mean = most + load, mean + flops[rows].sum() / parts
        texts = float((tokens[rows] + learning.prompt).sum())
        micro_batches = max(1.0, texts / layout.ranks / learning.tokens_per_micro_batch)
        communication += step_communication(learning, layout, rates, load / rate, micro_batches)
    adamw = _ADAMW_BYTES * learning.trained / layout.group / (rates.bandwidth or _MEMORY_BANDWIDTH)
    return UpdateTimes(
        most / rate + learning.minibatches * adamw, communication, mean / most if most else 1.0
    )


def largest_load(loads: Sequence[float], parts: int) -> float:
    """Return the largest sum when each load, the largest first, goes to the part with the smallest sum so far."""
    sums = [0.0] * parts
    for load in sorted(loads, reverse=True):
        # The heap's first is the smallest sum; only sums are kept, since nobody asks which load went where.
        heapq.heapreplace(sums, sums[0] + load)
    return max(sums)


def step_communication(
    learning: Learning, layout: Layout, rates: Rates, arithmetic: float, micro_batches: float
) -> float:
    """Return the seconds of a step for which the arithmetic, of so many seconds, waits for other ranks."""
    if layout.ranks == 1:
        return 0.0
    gradients = _FLOAT32 * learning.trained
    # Replicas wait for the whole sum: it begins once the last micro-batch is done.
    if not layout.sharded:
        return all_reduce(gradients, layout.ranks, layout, rates)
    group = layout.group
    layers = learning.size.layers
    weights = _FLOAT32 * learning.size.parameters
    gathered = gather(weights, group, layout, rates) + layers * _latency(group, rates)
    # a layer is on its way while the one before is at work: only what takes longer is waited for, and the last layer
    scattered = gather(gradients, group, layout, rates) + layers * _latency(group, rates)
    summed = scattered + all_reduce(gradients / group, layout.ranks // group, layout, rates)
    if rates.bandwidth is None:  # a CPU sums gradients once per step
        return max(0.0, micro_batches * _PASSES_OF_LAYER * gathered - arithmetic) + summed
    exchanged = micro_batches * (_PASSES_OF_LAYER * gathered + summed)
    return max(summed / max(1, layers), exchanged - arithmetic)


def all_reduce(size: float, ranks: int, layout: Layout, rates: Rates) -> float:
    """Return the seconds in which `ranks` ranks sum `size` bytes each by a ring: 2 (N - 1) / N of them pass every link."""
    return 2 * gather(size, ranks, layout, rates) + _latency(ranks, rates)


def gather(size: float, ranks: int, layout: Layout, rates: Rates) -> float:
    """Return the seconds in which `ranks` ranks collect `size` bytes of which each has its part, or scatter their sums."""
    if ranks < 2:
        return 0.0
    return size * (ranks - 1) / ranks / ring_bandwidth(ranks, layout, rates)


def ring_bandwidth(ranks: int, layout: Layout, rates: Rates) -> float:
    """Return the bytes per second at which a ring of so many ranks passes data on.

    Between nodes every rank has an adapter of its own, and rings are laid through all of them at the same time.
    """
    if ranks <= layout.node_ranks:
        return rates.link
    return min(rates.link, rates.network * layout.node_ranks)


def _latency(ranks: int, rates: Rates) -> float:
    return rates.latency * log2(ranks) if ranks > 1 else 0.0
