"""Decoding steps on a GPU: what the host need not know stays on the device.

In: samples whose prompt has been read. Out: their tokens, when the host asks. A step draws a token for every
row, writes it down, and marks rows that have ended, which go on being computed and no longer change; so the
host may start many steps before it looks. Each shape of a step (rows, longest row, way of drawing) runs as it
is the first time and is captured as a CUDA graph the second time. Left out: which sample gets which row.
"""

import logging
from dataclasses import dataclass
from typing import Any

import torch

from dianoia.base.records import Completion, SamplingParams
from dianoia.sampler.draw import draw
from dianoia.sampler.native.gpu.gpu_cache import RowCache
from dianoia.sampler.native.gpu.gpu_forward import Extent, RowForward
from dianoia.sampler.native.live_samples import stops_of

log = logging.getLogger(__name__)

DRAW_ROWS = 512
"""First tokens drawn at a time: bounds the memory of their distributions."""


@dataclass(frozen=True, slots=True)
class Seat:
    """A sample that takes a row."""

    row: int
    owner: int
    """Number of its prompt in this lot."""
    seed: int
    prompt: int
    """Tokens of the prompt."""


class RowSteps:
    """State of every row, and the steps that change it."""

    def __init__(self, forward: RowForward, slots: int, row: int, response: int) -> None:
        """Rows of `row` tokens for `slots` samples, of which at most `response` are drawn."""
        device = forward.device
        self._forward, self.device = forward, device
        dtype = forward.base.dtype
        self.cache = RowCache(forward.shape, slots, row, dtype, device)
        # now, and never anew under a captured step, which reads the tables where they are
        forward.base.reserve(self.cache.row)
        self._tokens, self._used, self._columns, self._seeds = torch.zeros(
            4, slots, dtype=torch.int64, device=device
        )
        self._ended = torch.ones(slots, dtype=torch.bool, device=device)
        self._last = torch.zeros(slots, device=device)
        self._ids = torch.zeros(slots, response, dtype=torch.int64, device=device)
        self._logprobs = torch.zeros(slots, response, device=device)
        self._stops = torch.zeros(forward.shape.vocabulary, dtype=torch.bool, device=device)
        self._limit = torch.zeros((), dtype=torch.int64, device=device)
        self._params = SamplingParams(1, frozenset())
        self._graphs: dict[object, torch.cuda.CUDAGraph | None] = {}
        self._logits_of: dict[object, torch.Tensor] = {}
        self._pool: Any = None
        self.captures = device.type == "cuda"

    def holds(self, slots: int, row: int, response: int) -> bool:
        """Whether there is room for so many samples of such sizes."""
        large = self.cache.slots >= slots and self.cache.row >= row
        return large and self._ids.shape[1] >= response

    def begin(self, params: SamplingParams) -> None:
        """How the samples that come now are drawn; all rows are free."""
        self._params = params
        self._limit.fill_(params.max_tokens)
        self._stops.copy_(stops_of(params, len(self._stops), self.device))
        self._ended.fill_(True)
        self._used.zero_()

    def seat(self, prompts: list[tuple[int, ...]], seats: list[Seat]) -> None:
        """Read prompts, give each sample its row, and draw its first token."""
        owners, rows = [seat.owner for seat in seats], [seat.row for seat in seats]
        hidden_NH = self._forward.prefill(prompts, owners, rows, self.cache)
        for start in range(0, len(seats), DRAW_ROWS):
            self._draw_first(hidden_NH, seats[start : start + DRAW_ROWS])

    def _draw_first(self, hidden_NH: torch.Tensor, seats: list[Seat]) -> None:
        numbers = torch.tensor([(s.row, s.owner, s.seed, s.prompt) for s in seats]).t()
        rows_B, owners_B, seeds_B, prompts_B = numbers.to(self.device)
        # the head is applied once a prompt, not once a sample
        logits_BV = self._forward.base.logits(hidden_NH)[owners_B]
        ids_B, logprobs_B = draw(logits_BV, seeds_B, torch.zeros_like(seeds_B), self._params)
        self._tokens[rows_B], self._used[rows_B], self._seeds[rows_B] = ids_B, prompts_B, seeds_B
        self._columns[rows_B], self._last[rows_B] = 0, logprobs_B
        self._ids[rows_B, 0], self._logprobs[rows_B, 0] = ids_B, logprobs_B
        self._ended[rows_B] = self._stops[ids_B] | (self._limit <= 1)

    # Steps ---------------------------------------------------------------------------------------

    def run(self, count: int, extent: Extent) -> None:
        """So many steps over rows that hold at most `extent.length` tokens afterwards."""
        for _ in range(count):
            self._once(extent)

    def _once(self, extent: Extent) -> None:
        params = self._params
        key = (extent, params.temperature, params.top_p, params.top_k)
        if self.captures and key in self._graphs:
            graph = self._graphs[key] or self._capture(key, extent)
            if graph is not None:
                graph.replay()
                if not self._drawn_inside:
                    self._advance(extent.rows, self._logits_of[key])
                return
        self._graphs.setdefault(key, None)
        self._advance(extent.rows, self._score(extent))

    def _capture(self, key: object, extent: Extent) -> torch.cuda.CUDAGraph | None:
        """A graph of the step, which this does not run; None, and never again one, where that fails."""
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
                logits_BV = self._score(extent)
                if self._drawn_inside:
                    self._advance(extent.rows, logits_BV)
        except RuntimeError as error:
            log.warning("Decoding without CUDA graphs, which is slower: %s", error)
            self.captures = False
            return None
        if not self._drawn_inside:
            self._logits_of[key] = logits_BV
        self._pool = self._pool or graph.pool()
        self._graphs[key] = graph
        return graph

    @property
    def _drawn_inside(self) -> bool:
        """Whether drawing asks the host nothing: top-p without top-k looks whether a row needs a sort."""
        params = self._params
        return params.temperature == 0.0 or params.top_k > 0 or params.top_p >= 1.0

    def _score(self, extent: Extent) -> torch.Tensor:
        """Logits after the last token of each row."""
        rows = slice(extent.rows)
        states = self._forward.decode(self._tokens[rows], self._used[rows], extent, self.cache)
        return self._forward.base.logits(states)

    def _advance(self, rows: int, logits_BV: torch.Tensor) -> None:
        """Draw a token for each row that has not ended, and write it down."""
        tokens_B, used_B, columns_B = self._tokens[:rows], self._used[:rows], self._columns[:rows]
        ended_B, last_B = self._ended[:rows], self._last[:rows]
        live_B = ~ended_B
        columns_B += live_B
        used_B += live_B
        ids_B, logprobs_B = draw(logits_BV, self._seeds[:rows], columns_B, self._params)
        tokens_B.copy_(torch.where(live_B, ids_B, tokens_B))
        last_B.copy_(torch.where(live_B, logprobs_B, last_B))
        # a row that has ended writes once more what stands there
        self._ids[:rows].scatter_(1, columns_B[:, None], tokens_B[:, None])
        self._logprobs[:rows].scatter_(1, columns_B[:, None], last_B[:, None])
        ended_B |= self._stops[tokens_B] | (columns_B >= self._limit - 1)

    # Results -------------------------------------------------------------------------------------

    def ended(self, rows: int) -> list[bool]:
        """Which of the first rows have ended; waits for the device."""
        flags: list[bool] = self._ended[:rows].tolist()
        return flags

    def take(self, rows: list[int]) -> list[Completion]:
        """What these rows drew."""
        index = torch.tensor(rows, device=self.device)
        counts = [column + 1 for column in self._columns[index].tolist()]
        longest = max(counts)
        ids = self._ids[index, :longest].tolist()
        logprobs = self._logprobs[index, :longest].tolist()
        return [
            Completion(tuple(i[:n]), tuple(p[:n]), i[n - 1] in self._params.stop_ids)
            for i, p, n in zip(ids, logprobs, counts, strict=True)
        ]

    def free(self, rows: list[int]) -> None:
        """These rows hold nothing that anybody wants; attention over them costs nothing from now on."""
        self._used[torch.tensor(rows, device=self.device)] = 0

    def move(self, targets: list[int], sources: list[int], length: int) -> None:
        """Copy samples, none of which holds more than `length` tokens, into free rows."""
        self.cache.move(targets, sources, length)
        to, source = (torch.tensor(i, device=self.device) for i in (targets, sources))
        rows = (self._tokens, self._used, self._columns, self._seeds, self._ended, self._last)
        for state in (*rows, self._ids, self._logprobs):
            state[to] = state[source]
        self._ended[source] = True
