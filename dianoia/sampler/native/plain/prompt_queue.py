"""The queue of requests and the prompt rows of the cache: who is read when, and where.

In: requests. Out: lots of samples whose prompt has been read and whose first token is drawn. A
request is cut into units of at most `members` samples; a unit takes one prompt row and gives it
back when its last sample has ended. Prompts are read lazily, a lot at a time, so memory stays
bounded. Left out: decoding; slots.
"""

import heapq
from collections import deque
from collections.abc import Sequence

import torch

from dianoia.base.records import Request, SamplingParams
from dianoia.sampler.draw import draw, seed_of
from dianoia.sampler.native.forward import MASKED, Forward
from dianoia.sampler.native.live_samples import Live, Unit
from dianoia.sampler.native.plain.torch_cache import Cache

DRAW_ROWS = 512
"""First tokens drawn at a time: bounds the memory of their distributions."""


class Prompts:
    """The units still to be read and the prompt rows in use."""

    def __init__(
        self,
        requests: Sequence[Request],
        units: Sequence[Unit],
        params: SamplingParams,
        model: tuple[Forward, Cache],
        lot_tokens: int,
    ) -> None:
        """`lot_tokens` bounds the prompt tokens (padding included) that are read at a time."""
        self._requests, self._params, self._lot_tokens = requests, params, lot_tokens
        self._forward, self._cache = model
        self._pending = deque(units)
        self._free = list(range(self._cache.sizes.rows))
        self._alive: dict[int, int] = {}
        self._lengths: dict[int, int] = {}
        self._mask: torch.Tensor | None = None

    @property
    def readable(self) -> bool:
        """Whether there is a unit to read and a row to read it into."""
        return bool(self._pending and self._free)

    def read(self) -> list[Live]:
        """Read one lot of prompts, and draw the first token of all its samples."""
        units, rows = self._lot()
        owners = list(dict.fromkeys(unit.request for unit in units))
        prompts = [self._requests[i].prompt_ids for i in owners]
        index = {request: i for i, request in enumerate(owners)}
        owner_of_row = [index[unit.request] for unit in units]
        hidden_NH = self._forward.prefill(prompts, rows, owner_of_row, self._cache)
        samples = [
            self._live(unit, row, place)
            for unit, row in zip(units, rows, strict=True)
            for place in range(unit.samples)
        ]
        for start in range(0, len(samples), DRAW_ROWS):
            self._draw_first(hidden_NH, samples[start : start + DRAW_ROWS], index)
        return samples

    def release(self, row: int) -> None:
        """A sample of this prompt row has ended."""
        self._alive[row] -= 1
        if not self._alive[row]:
            self._give_back(row)

    def _give_back(self, row: int) -> None:
        """The row has no sample left."""
        del self._alive[row], self._lengths[row]
        heapq.heappush(self._free, row)
        self._mask = None

    def mask(self) -> torch.Tensor:
        """Mask of the prompt rows up to the last one in use, `[P * kv heads, 1, longest
        prompt]`."""
        if self._mask is None:
            forward = self._forward
            extent, longest = max(self._lengths) + 1, max(self._lengths.values())
            lengths = [self._lengths.get(row, 0) for row in range(extent)]
            lengths_P = torch.tensor(lengths, device=forward.device)
            beyond = torch.arange(longest, device=forward.device) >= lengths_P[:, None]
            mask = torch.zeros(beyond.shape, dtype=forward.dtype, device=forward.device)
            mask.masked_fill_(beyond, MASKED)
            self._mask = mask.repeat_interleave(forward.shape.kv_heads, 0)[:, None]
        return self._mask

    def pack(self, samples: Sequence[Live]) -> bool:
        """Seat the samples in as few rows as may be, close together; whether any seat has changed.

        `samples` are all that have not ended. Rows of one request hold the same keys, so its
        samples change rows freely; closing a gap between rows moves keys, and is done when it is a
        fifth.
        """
        before = [(sample.row, sample.place) for sample in samples]
        self._merge(samples)
        self._close_gaps(samples)
        return before != [(sample.row, sample.place) for sample in samples]

    def _merge(self, samples: Sequence[Live]) -> None:
        """Let the samples of a request share rows where the ended ones have left places."""
        groups: dict[int, list[Live]] = {}
        for sample in samples:
            groups.setdefault(sample.request, []).append(sample)
        members = self._cache.sizes.members
        for group in groups.values():
            rows = sorted({sample.row for sample in group})
            needed = -(-len(group) // members)
            if needed < len(rows):
                for i, sample in enumerate(group):
                    sample.row, sample.place = rows[i // members], i % members
                for row in rows[:needed]:
                    self._alive[row] = sum(sample.row == row for sample in group)
                for row in rows[needed:]:
                    self._give_back(row)

    def _close_gaps(self, samples: Sequence[Live]) -> None:
        """Move the last rows in use into free ones before them."""
        extent, used = max(self._lengths) + 1, len(self._lengths)
        if extent <= used + used // 4:
            return
        sources = [row for row in sorted(self._lengths) if row >= used]
        targets = [row for row in range(used) if row not in self._lengths]
        longest = max(self._lengths[row] for row in sources)
        device = self._forward.device
        to, source = torch.tensor(targets, device=device), torch.tensor(sources, device=device)
        self._cache.move_prompts(to, source, longest)
        moves = dict(zip(sources, targets, strict=True))
        for table in (self._alive, self._lengths):
            for old, new in moves.items():
                table[new] = table.pop(old)
        for sample in samples:
            sample.row = moves.get(sample.row, sample.row)
        self._free = [row for row in range(self._cache.sizes.rows) if row not in self._alive]
        self._mask = None

    def _lot(self) -> tuple[list[Unit], list[int]]:
        """Take units for one lot, and a row for each; further units of a read prompt cost
        nothing."""
        units: list[Unit] = []
        rows: list[int] = []
        width = len(self._requests[self._pending[0].request].prompt_ids)
        seen: set[int] = set()
        while self.readable:
            seen.add(self._pending[0].request)
            if units and len(seen) * width > self._lot_tokens:
                break
            unit, row = self._pending.popleft(), heapq.heappop(self._free)
            self._alive[row] = unit.samples
            self._lengths[row] = len(self._requests[unit.request].prompt_ids)
            units.append(unit)
            rows.append(row)
        self._mask = None
        return units, rows

    def _live(self, unit: Unit, row: int, place: int) -> Live:
        """The record of one sample of a unit, its first token still to be drawn."""
        request, index = self._requests[unit.request], unit.first + place
        seed = seed_of(request.key, index)
        return Live(unit.request, index, seed, row, len(request.prompt_ids), place=place)

    def _draw_first(
        self, hidden_NH: torch.Tensor, samples: list[Live], owners: dict[int, int]
    ) -> None:
        """Draw the first token of each sample into its record."""
        device = self._forward.device
        owners_B = torch.tensor([owners[s.request] for s in samples], device=device)
        seeds_B = torch.tensor([s.seed for s in samples], device=device)
        logits_BV = self._forward.logits(hidden_NH)[owners_B]
        ids_B, logprobs_B = draw(logits_BV, seeds_B, torch.zeros_like(seeds_B), self._params)
        drawn = zip(samples, ids_B.tolist(), logprobs_B.tolist(), strict=True)
        for sample, token, logprob in drawn:
            sample.token, sample.logprob = token, logprob
