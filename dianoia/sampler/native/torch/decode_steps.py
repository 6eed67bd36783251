"""Decoding steps in PyTorch whose state stays on the device, so that the host seldom has to wait.

In: samples whose prompt is to be read. Out: their tokens, when the host asks. A step draws one token per slot and marks
the slots that have ended. A slot that has ended is still computed, but no longer changes, so the host may start many steps
before it checks. On CUDA each kind of step (slots, length, way of drawing) runs eagerly the first time and is captured
as a CUDA graph the second time. Not here: which sample gets which slot (`torch_decoder`).
"""

import logging
from dataclasses import dataclass
from typing import Any

import torch

from dianoia.base.records import Completion, SamplingParams
from dianoia.sampler.draw import draw
from dianoia.sampler.native.decode_results import stop_table
from dianoia.sampler.native.torch.model import KVCache, StepShape, TorchModel

log = logging.getLogger(__name__)

DRAW_ROWS = 512
"""First tokens drawn at a time: bounds the memory of their distributions."""


@dataclass(frozen=True, slots=True)
class SlotStart:
    """A sample that takes a slot."""

    slot: int
    owner: int
    """Index of its prompt among the prompts that are read with it."""
    seed: int
    prompt_tokens: int


class DecodeSteps:
    """State of every slot, and the steps that change it."""

    def __init__(self, model: TorchModel, slots: int, capacity: int, response: int) -> None:
        """capacity: tokens per slot. response: most response tokens among these."""
        device = model.device
        self._model, self.device = model, device
        self.cache = KVCache(model.shape, slots, capacity, model.dtype, device)
        # Now, and never again: a captured step reads the RoPE tables at their present address.
        model.reserve(self.cache.capacity)
        # Per slot: last token, tokens in the cache, index of the last token in the response, seed.
        self._tokens, self._lengths, self._indices, self._seeds = torch.zeros(
            4, slots, dtype=torch.int64, device=device
        )
        self._ended = torch.ones(slots, dtype=torch.bool, device=device)
        self._last_logprobs = torch.zeros(slots, device=device)
        self._ids = torch.zeros(slots, response, dtype=torch.int64, device=device)
        self._logprobs = torch.zeros(slots, response, device=device)
        # Limit and stop ids are tensors, which a captured step reads; other parameters are constants in it.
        self._stops = torch.zeros(model.shape.vocabulary, dtype=torch.bool, device=device)
        self._limit = torch.zeros((), dtype=torch.int64, device=device)
        self._params = SamplingParams(1, frozenset())
        self._graphs: dict[object, torch.cuda.CUDAGraph | None] = {}
        self._graph_logits: dict[object, torch.Tensor] = {}
        self._pool: Any = None
        self.captures = device.type == "cuda"

    def covers(self, slots: int, capacity: int, response: int) -> bool:
        """Return True if there is room for so many samples of these sizes."""
        enough = self.cache.slots >= slots and self.cache.capacity >= capacity
        return enough and self._ids.shape[1] >= response

    def begin(self, params: SamplingParams) -> None:
        """Free all slots; samples from now on are drawn under `params`."""
        self._params = params
        self._limit.fill_(params.max_tokens)
        self._stops.copy_(stop_table(params, len(self._stops), self.device))
        self._ended.fill_(True)
        self._lengths.zero_()

    def start(self, prompts: list[tuple[int, ...]], starts: list[SlotStart]) -> None:
        """Read prompts, fill the slot of each sample, and draw its first token."""
        owners, slots = [start.owner for start in starts], [start.slot for start in starts]
        hidden_NH = self._model.prefill(prompts, owners, slots, self.cache)
        for first in range(0, len(starts), DRAW_ROWS):
            self._draw_first(hidden_NH, starts[first : first + DRAW_ROWS])

    def _draw_first(self, hidden_NH: torch.Tensor, starts: list[SlotStart]) -> None:
        numbers = [(s.slot, s.owner, s.seed, s.prompt_tokens) for s in starts]
        slots_B, owners_B, seeds_B, lengths_B = torch.tensor(numbers).t().to(self.device)
        # the output head runs once per prompt, not once per sample
        logits_BV = self._model.logits(hidden_NH)[owners_B]
        ids_B, logprobs_B = draw(logits_BV, seeds_B, torch.zeros_like(seeds_B), self._params)
        self._tokens[slots_B], self._lengths[slots_B] = ids_B, lengths_B
        self._indices[slots_B], self._seeds[slots_B] = 0, seeds_B
        self._last_logprobs[slots_B] = logprobs_B
        self._ids[slots_B, 0], self._logprobs[slots_B, 0] = ids_B, logprobs_B
        self._ended[slots_B] = self._stops[ids_B] | (self._limit <= 1)

    # Steps ---------------------------------------------------------------------------------------

    def run(self, count: int, shape: StepShape) -> None:
        """Run `count` steps, after which no slot of the step holds more than `shape.length` tokens."""
        for _ in range(count):
            self._run_step(shape)

    def _run_step(self, shape: StepShape) -> None:
        params = self._params
        key = (shape, params.temperature, params.top_p, params.top_k)
        if self.captures and key in self._graphs:
            graph = self._graphs[key] or self._capture(key, shape)
            if graph is not None:
                graph.replay()
                if not self._draw_is_captured:
                    self._advance(shape.slots, self._graph_logits[key])
                return
        self._graphs.setdefault(key, None)
        self._advance(shape.slots, self._logits(shape))

    def _capture(self, key: object, shape: StepShape) -> torch.cuda.CUDAGraph | None:
        """Capture the step, without running it. Return None, and never capture again, where that fails."""
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
                logits_BV = self._logits(shape)
                if self._draw_is_captured:
                    self._advance(shape.slots, logits_BV)
        except RuntimeError as error:
            log.warning("Decoding without CUDA graphs, which is slower: %s", error)
            self.captures = False
            return None
        if not self._draw_is_captured:
            self._graph_logits[key] = logits_BV
        self._pool = self._pool or graph.pool()
        self._graphs[key] = graph
        return graph

    @property
    def _draw_is_captured(self) -> bool:
        """True if drawing asks the host nothing. Top-p without top-k checks whether a row needs a full sort."""
        params = self._params
        return params.temperature == 0.0 or params.top_k > 0 or params.top_p >= 1.0

    def _logits(self, shape: StepShape) -> torch.Tensor:
        """Return the logits after the last token of each slot."""
        slots = slice(shape.slots)
        hidden = self._model.decode(self._tokens[slots], self._lengths[slots], shape, self.cache)
        return self._model.logits(hidden)

    def _advance(self, slots: int, logits_BV: torch.Tensor) -> None:
        """Draw and store a token for each slot that has not ended.

        Everything is done in place and without a branch on values, so that it can be captured.
        """
        tokens_B, lengths_B = self._tokens[:slots], self._lengths[:slots]
        indices_B, ended_B = self._indices[:slots], self._ended[:slots]
        last_logprobs_B = self._last_logprobs[:slots]
        live_B = ~ended_B
        # first count the new token: the draw depends on its index in the response
        indices_B += live_B
        lengths_B += live_B
        ids_B, logprobs_B = draw(logits_BV, self._seeds[:slots], indices_B, self._params)
        tokens_B.copy_(torch.where(live_B, ids_B, tokens_B))
        last_logprobs_B.copy_(torch.where(live_B, logprobs_B, last_logprobs_B))
        # a slot that has ended writes its last token over itself
        self._ids[:slots].scatter_(1, indices_B[:, None], tokens_B[:, None])
        self._logprobs[:slots].scatter_(1, indices_B[:, None], last_logprobs_B[:, None])
        ended_B |= self._stops[tokens_B] | (indices_B >= self._limit - 1)

    # Results -------------------------------------------------------------------------------------

    def ended(self, slots: int) -> list[bool]:
        """Tell which of the first slots have ended. Waits for the device."""
        flags: list[bool] = self._ended[:slots].tolist()
        return flags

    def completions(self, slots: list[int], weights_version: int) -> list[Completion]:
        """Return the completions of slots that have ended."""
        index = torch.tensor(slots, device=self.device)
        counts = [last + 1 for last in self._indices[index].tolist()]
        longest = max(counts)
        ids = self._ids[index, :longest].tolist()
        logprobs = self._logprobs[index, :longest].tolist()
        return [
            Completion(
                tuple(i[:n]), tuple(p[:n]), i[n - 1] in self._params.stop_ids, weights_version
            )
            for i, p, n in zip(ids, logprobs, counts, strict=True)
        ]

    def free(self, slots: list[int]) -> None:
        """Empty slots, so that attention over them costs nothing from now on."""
        self._lengths[torch.tensor(slots, device=self.device)] = 0

    def move(self, targets: list[int], sources: list[int], length: int) -> None:
        """Move samples of at most `length` tokens into free slots."""
        self.cache.move(targets, sources, length)
        to, source = (torch.tensor(i, device=self.device) for i in (targets, sources))
        per_slot = (self._tokens, self._lengths, self._indices, self._seeds, self._ended)
        for state in (*per_slot, self._last_logprobs, self._ids, self._logprobs):
            state[to] = state[source]
        self._ended[source] = True
