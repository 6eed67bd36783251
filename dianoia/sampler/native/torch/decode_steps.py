"""Decoding steps in PyTorch whose state stays on the device, so that the host seldom has to wait.

In: texts to read, and samples that take slots. Out: their tokens, when the host asks. A step draws one token per slot and marks
the slots that have ended. A slot that has ended is still computed, but no longer changes, so the host may start many steps
before it checks. On CUDA each kind of step (slots, length, way of drawing) runs eagerly the first time and is captured as a CUDA
graph the second time; graphs read the page tables, which the host changes between steps. Not here: which sample gets which slot
and which pages (`schedule`).
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dianoia.base.records import SamplingParams
from dianoia.sampler.draw import draw
from dianoia.sampler.native.decode_results import stop_table
from dianoia.sampler.native.torch.decode_attention import Group, Places, Tiles
from dianoia.sampler.native.torch.model import Pass, TorchModel
from dianoia.sampler.native.torch.paged_cache import CacheSize, PagedCache, empty_tables
from dianoia.sampler.native.torch.passes import Chunk, chunk_pass, step_groups
from dianoia.sampler.native.torch.schedule import Sample

log = logging.getLogger(__name__)

DRAW_ROWS = 512
"""First tokens drawn at a time: bounds the memory of their distributions."""


@dataclass(frozen=True, slots=True)
class StepShape:
    """Size of a decoding step."""

    slots: int
    """The step runs slots 0 to `slots` - 1."""
    length: int
    """No slot holds more tokens, the present one included."""


class DecodeSteps:
    """State of every slot, and the steps that change it."""

    def __init__(self, model: TorchModel, size: CacheSize, captures_draws: bool = True) -> None:
        """captures_draws: draws are part of a captured step, unless sets of sampling parameters come and go."""
        device = model.device
        self._model, self.device, self.size = model, device, size
        self.cache = PagedCache(model.shape, size.pages, model.dtype, device)
        # Now, and never again: a captured step reads the RoPE tables at their present address.
        model.reserve(size.tokens)
        slots = self.slots = model.padded(size.slots)
        self._tables = empty_tables(slots, size.tokens, device)
        # Per slot: last token, tokens in the cache, index of the last token in the response, seed, limit, set of stop ids.
        self._state = torch.zeros(6, slots, dtype=torch.int64, device=device)
        self._tokens, self._lengths, self._indices = self._state[:3]
        self._seeds, self._limits, self._stop_sets = self._state[3:]
        self._ended = torch.ones(slots, dtype=torch.bool, device=device)
        self._last_logprobs = torch.zeros(slots, device=device)
        self._ids = torch.zeros(slots, size.response, dtype=torch.int64, device=device)
        self._logprobs = torch.zeros(slots, size.response, device=device)
        self._numbers = torch.arange(slots, device=device)
        self._ones = torch.ones_like(self._numbers)
        # A captured step reads the stop ids of its one set of parameters here; other parameters are constants in it.
        self._stops = torch.zeros(1, model.shape.vocabulary, dtype=torch.bool, device=device)
        self._stop_rows: dict[frozenset[int], int] = {}
        self._params: dict[SamplingParams, Tensor | None] = {}
        """Slots of each set of sampling parameters; None for all."""
        self._graphs: dict[object, torch.cuda.CUDAGraph | None] = {}
        self._graph_logits: dict[object, Tensor] = {}
        self._pool: Any = None
        self.captures = device.type == "cuda"
        self._captures_draws = captures_draws

    def rows(self, slots: int) -> int:
        """Return how many rows a step over so many slots has."""
        return min(self.slots, self._model.padded(slots))

    def begin(self) -> None:
        """Free all slots."""
        self._ended.fill_(True)
        self._state.zero_()
        self._tables.zero_()
        self._stop_rows.clear()
        self._params.clear()

    # Prompts --------------------------------------------------------------------------------------

    def read(self, chunks: Sequence[Chunk]) -> Tensor:
        """Read tokens into their pages; return the final hidden state of the last token of each chunk `[chunks, H]`."""
        batch, last = chunk_pass(self._model, chunks)
        return self._model.forward(batch, self.cache)[last]

    def draw_first(
        self, hidden_NH: Tensor, owners: Sequence[int], seeds: Sequence[int], params: SamplingParams
    ) -> tuple[list[int], list[float]]:
        """Draw the first token of samples that go on behind rows `owners` of the hidden states."""
        count = len(hidden_NH)
        padded = F.pad(hidden_NH, (0, 0, 0, self._model.padded(count) - count))
        # the output head runs once per prompt, not once per sample
        logits_NV = self._model.logits(padded)
        ids: list[int] = []
        logprobs: list[float] = []
        for first in range(0, len(owners), DRAW_ROWS):
            part = slice(first, first + DRAW_ROWS)
            owners_B, seeds_B = torch.tensor([owners[part], seeds[part]]).to(self.device)
            drawn = draw(logits_NV[owners_B], seeds_B, torch.zeros_like(seeds_B), params)
            ids += drawn[0].tolist()
            logprobs += drawn[1].tolist()
        return ids, logprobs

    # Slots ----------------------------------------------------------------------------------------

    def seat(self, samples: Sequence[Sample]) -> None:
        """Fill the slots of samples, which have drawn a token at least."""
        if not samples:
            return
        slots = torch.tensor([sample.slot for sample in samples], device=self.device)
        rows = [
            (
                s.ids[-1],
                s.tokens,
                s.drawn - 1,
                s.seed,
                s.params.max_tokens,
                self._stop_row(s.params),
            )
            for s in samples
        ]
        # One copy to the device for all six numbers of all samples; the order of the rows is that of `_state`.
        self._state[:, slots] = torch.tensor(rows).t().to(self.device)
        self._last_logprobs[slots] = torch.tensor([s.logprobs[-1] for s in samples]).to(self.device)
        self._ended[slots] = False
        for name in ("ids", "logprobs"):
            drawn = [torch.tensor(getattr(sample, name)) for sample in samples]
            target = getattr(self, f"_{name}")
            # Zeros behind a shorter sample's tokens do no harm: each step writes its index before anybody reads up to it.
            padded = torch.nn.utils.rnn.pad_sequence(drawn, batch_first=True)
            target[slots, : padded.shape[1]] = padded.to(self.device)
        pages = [torch.tensor(sample.pages, dtype=torch.int32) for sample in samples]
        table = torch.nn.utils.rnn.pad_sequence(pages, batch_first=True)
        self._tables[slots, : table.shape[1]] = table.to(self.device)

    def _stop_row(self, params: SamplingParams) -> int:
        """Return the row of the stop table for these parameters, which is filled if they are new."""
        row = self._stop_rows.setdefault(params.stop_ids, len(self._stop_rows))
        if row == len(self._stops):
            # not where draws are captured: all samples of a call share one set of parameters then
            self._stops = torch.cat((self._stops, torch.zeros_like(self._stops)))
        self._stops[row] = stop_table(params, self._stops.shape[1], self.device)
        return row

    def extend(self, entries: Sequence[tuple[int, int, int]]) -> None:
        """Write pages into the tables, given as (slot, index, page)."""
        if entries:
            slots, indices, pages = torch.tensor(entries).t().to(self.device)
            self._tables[slots, indices] = pages.to(torch.int32)

    def free(self, slots: Sequence[int]) -> None:
        """Empty slots: they write into the scratch page from now on, and attention over them costs nothing."""
        index = torch.tensor(slots, device=self.device)
        self._lengths[index] = 0
        self._tables[index] = 0
        self._ended[index] = True

    def move(self, targets: list[int], sources: list[int]) -> None:
        """Move samples into free slots. Their pages stay where they are."""
        if not targets:
            return
        to, source = (torch.tensor(i, device=self.device) for i in (targets, sources))
        # Targets are free slots and sources live ones, so that no source is overwritten before it is read.
        self._state[:, to] = self._state[:, source]
        for state in (self._ended, self._last_logprobs, self._ids, self._logprobs, self._tables):
            state[to] = state[source]
        self.free(sources)

    def use(self, params: Mapping[int, SamplingParams]) -> None:
        """Draw each slot under its parameters from now on."""
        # None for all slots, where one kind is left: then a step needs no gather, and its draw can be captured.
        kinds = list(dict.fromkeys(params.values()))
        if len(kinds) == 1:
            self._params = {kinds[0]: None}
            return
        self._params = {
            kind: torch.tensor([slot for slot in params if params[slot] == kind]).to(self.device)
            for kind in kinds
        }

    # Steps ---------------------------------------------------------------------------------------

    def run(
        self, count: int, shape: StepShape, lengths: Sequence[int], pages: list[list[int]]
    ) -> None:
        """Run `count` steps, after which no slot of the step holds more than `shape.length` tokens.

        lengths, pages: of each slot after these steps, for plain attention.
        """
        groups: list[Group] = []
        tiles = None
        if not self._model.kernels:
            groups = step_groups(self._model, lengths, pages)
        else:
            numbers = self._numbers[: shape.slots]
            tiles = Tiles(numbers, numbers, self._ones[: shape.slots], self._lengths[: shape.slots])
        slots = slice(shape.slots)
        places = Places(self._lengths[slots], self._numbers[slots], self._tables)
        batch = Pass(self._tokens[slots], places, groups, tiles, shape.length)
        for _ in range(count):
            self._run_step(shape, batch)

    def _run_step(self, shape: StepShape, batch: Pass) -> None:
        draws_captured = self._draw_is_captured
        key: tuple[object, ...] = (shape,)
        if draws_captured:
            (params,) = self._params
            # Limits and stop ids are not in the key: the step reads them from `_state` and `_stops`, which stay where
            # they are.
            key = (shape, params.temperature, params.top_p, params.top_k)
        if self.captures and key in self._graphs:
            # Present with None: it ran eagerly once, which has compiled its kernels; that must not happen inside of a capture.
            graph = self._graphs[key] or self._capture(key, shape, batch)
            if graph is not None:
                graph.replay()
                if not draws_captured:
                    self._advance(shape.slots, self._graph_logits[key])
                return
        self._graphs.setdefault(key, None)
        self._advance(shape.slots, self._logits(batch))

    def _capture(self, key: object, shape: StepShape, batch: Pass) -> torch.cuda.CUDAGraph | None:
        """Capture the step, without running it. Return None, and never capture again, where that fails."""
        graph = torch.cuda.CUDAGraph()
        try:
            # thread_local: what other threads do on the device, such as a learner's allocations, must not end this capture.
            with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
                logits_BV = self._logits(batch)
                if self._draw_is_captured:
                    self._advance(shape.slots, logits_BV)
        except RuntimeError as error:
            log.warning("Decoding without CUDA graphs, which is slower: %s", error)
            self.captures = False
            return None
        if not self._draw_is_captured:
            self._graph_logits[key] = logits_BV
        # One pool for all graphs: the logits of one are read before another runs, so that they may share their memory.
        self._pool = self._pool or graph.pool()
        self._graphs[key] = graph
        return graph

    @property
    def _draw_is_captured(self) -> bool:
        """True if drawing asks the host nothing. Top-p without top-k checks whether a row needs a full sort."""
        if not self._captures_draws or len(self._params) != 1:
            return False
        (params,) = self._params
        return params.temperature == 0.0 or params.top_k > 0 or params.top_p >= 1.0

    def _logits(self, batch: Pass) -> Tensor:
        """Return the logits after the last token of each slot."""
        return self._model.logits(self._model.forward(batch, self.cache))

    def _draw(self, slots: int, logits_BV: Tensor) -> tuple[Tensor, Tensor]:
        """Return an id and its log-probability for each slot that has parameters."""
        seeds_B, indices_B = self._seeds[:slots], self._indices[:slots]
        if len(self._params) == 1:
            (params,) = self._params
            return draw(logits_BV, seeds_B, indices_B, params)
        ids_B = torch.zeros_like(seeds_B)
        logprobs_B = torch.zeros(slots, device=self.device)
        for params, rows in self._params.items():
            ids, logprobs = draw(logits_BV[rows], seeds_B[rows], indices_B[rows], params)
            ids_B[rows], logprobs_B[rows] = ids, logprobs
        return ids_B, logprobs_B

    def _advance(self, slots: int, logits_BV: Tensor) -> None:
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
        ids_B, logprobs_B = self._draw(slots, logits_BV)
        tokens_B.copy_(torch.where(live_B, ids_B, tokens_B))
        last_logprobs_B.copy_(torch.where(live_B, logprobs_B, last_logprobs_B))
        # a slot that has ended writes its last token over itself
        self._ids[:slots].scatter_(1, indices_B[:, None], tokens_B[:, None])
        self._logprobs[:slots].scatter_(1, indices_B[:, None], last_logprobs_B[:, None])
        stops_B = self._stops[self._stop_sets[:slots], tokens_B]
        ended_B |= stops_B | (indices_B >= self._limits[:slots] - 1)

    # Results -------------------------------------------------------------------------------------

    def ended(self, slots: int) -> list[bool]:
        """Tell which of the first slots have ended. Waits for the device."""
        flags: list[bool] = self._ended[:slots].tolist()
        return flags

    def drawn(
        self, slots: Sequence[int], first: Sequence[int]
    ) -> list[tuple[list[int], list[float]]]:
        """Return the ids and log-probabilities of slots from token `first` on. Waits for the device."""
        if not slots:
            return []
        index = torch.tensor(slots, device=self.device)
        counts = [last + 1 for last in self._indices[index].tolist()]
        # One rectangle over all slots is two copies in all, not two for each slot; what is too much is cut off below.
        part = slice(min(first), max(counts))
        ids = self._ids[index, part].tolist()
        logprobs = self._logprobs[index, part].tolist()
        return [
            (i[begin - part.start : n - part.start], p[begin - part.start : n - part.start])
            for i, p, begin, n in zip(ids, logprobs, first, counts, strict=True)
        ]
