"""The samples that are being decoded: a fixed number of slots, the live ones always in front.

In: samples with their first token. Out: ended samples with all their tokens. A slot that falls free
is given to the next sample at once, or filled by the last live one, so no step pays for an empty
slot. Every few steps samples of like length are brought together, since each span of rows attends
as far as its longest response. Left out: prompts and their order.
"""

import torch

from dianoia.base.records import Completion, SamplingParams
from dianoia.sampler.draw import draw
from dianoia.sampler.native.forward import Batch, Forward
from dianoia.sampler.native.live_samples import Live, stops_of
from dianoia.sampler.native.plain.torch_cache import Cache

ARRANGE_EVERY = 8
"""Decoding steps between two re-orderings by length."""
SPAN_CPU = 64
"""Rows that share one attention call on a CPU; on CUDA all do, as calls cost more than padding."""


class Slots:
    """Device tensors and host records of the live samples; row i of one is entry i of the other."""

    def __init__(self, forward: Forward, cache: Cache, params: SamplingParams) -> None:
        """Empty slots, as many as the cache has."""
        self._forward, self._cache, self._params = forward, cache, params
        sizes, device = cache.sizes, forward.device
        self._span = SPAN_CPU if device.type == "cpu" else sizes.slots
        self._state = torch.zeros(5, sizes.slots, dtype=torch.int64, device=device)
        self._ids = torch.zeros(sizes.slots, sizes.response, dtype=torch.int64, device=device)
        self._logprobs = torch.zeros(sizes.slots, sizes.response, device=device)
        self._stops = stops_of(params, forward.shape.vocabulary, device)
        self._row_step = forward.shape.kv_heads * sizes.members
        self.live: list[Live] = []
        self.step = 0

    @property
    def free(self) -> int:
        """Slots without a sample."""
        return self._cache.sizes.slots - len(self.live)

    def decode(self, prompt_mask: torch.Tensor) -> list[int]:
        """Draw one token for every live sample; the rows that ended, ascending."""
        tokens_B, positions_B, columns_B, members_B, seeds_B = self._state[:, : len(self.live)]
        batch = Batch(tokens_B, positions_B, columns_B, members_B, self._bounds(), prompt_mask)
        logits_BV = self._forward.logits(self._forward.decode(batch, self._cache))
        positions_B += 1
        columns_B += 1
        ids_B, logprobs_B = draw(logits_BV, seeds_B, columns_B, self._params)
        tokens_B.copy_(ids_B)
        self._ids[: len(self.live)].scatter_(1, columns_B[:, None], ids_B[:, None])
        self._logprobs[: len(self.live)].scatter_(1, columns_B[:, None], logprobs_B[:, None])
        self.step += 1
        ended_B = self._stops[ids_B] | (columns_B >= self._params.max_tokens - 1)
        rows: list[int] = ended_B.nonzero()[:, 0].tolist()
        return rows

    def completions(self, rows: list[int]) -> list[Completion]:
        """What these rows drew."""
        counts = [self.step - self.live[row].start + 1 for row in rows]
        longest, index = max(counts), torch.tensor(rows, device=self._forward.device)
        ids = self._ids[index, :longest].tolist()
        logprobs = self._logprobs[index, :longest].tolist()
        return [
            Completion(tuple(i[:n]), tuple(p[:n]), i[n - 1] in self._params.stop_ids)
            for i, p, n in zip(ids, logprobs, counts, strict=True)
        ]

    def replace(self, ended: list[int], samples: list[Live]) -> None:
        """Seat samples, first in the rows that ended, then behind the live ones; close what is
        left."""
        rows = (ended + list(range(len(self.live), self._cache.sizes.slots)))[: len(samples)]
        if samples:
            self._seat(rows, samples)
        self._close(ended[len(samples) :])

    def arrange(self) -> None:
        """Bring samples of like length into the same span of rows, the longest first."""
        order = sorted(range(len(self.live)), key=lambda row: self.live[row].start)
        targets: list[int] = []
        sources: list[int] = []
        for first in range(0, len(order), self._span):
            wanted = order[first : first + self._span]
            present = range(first, first + len(wanted))
            targets += sorted(set(present) - set(wanted))
            sources += [row for row in wanted if row not in present]
        self._move(targets, sources)

    def reseat(self) -> None:
        """The live samples have changed their prompt rows."""
        members = [self._member(sample) for sample in self.live]
        self._state[3, : len(members)] = torch.tensor(members, device=self._forward.device)

    def _bounds(self) -> list[tuple[int, int, int]]:
        """Spans of rows and the longest response in each, the token to be read included."""
        starts = [sample.start for sample in self.live]
        edges = range(0, len(starts), self._span)
        spans = ((first, min(first + self._span, len(starts))) for first in edges)
        return [(i, j, self.step - min(starts[i:j]) + 1) for i, j in spans]

    def _member(self, sample: Live) -> int:
        """Where the sample's queries go among those of all prompt rows."""
        return sample.row * self._row_step + sample.place

    def _seat(self, rows: list[int], samples: list[Live]) -> None:
        """Give rows to samples."""
        state = [(s.token, s.prompt, 0, self._member(s), s.seed) for s in samples]
        index = torch.tensor(rows, device=self._forward.device)
        self._state[:, index] = torch.tensor(state, device=self._forward.device).t()
        self._ids[index, 0] = self._state[0, index]
        logprobs = [sample.logprob for sample in samples]
        self._logprobs[index, 0] = torch.tensor(logprobs, device=self._forward.device)
        self.live += [samples[0]] * (max(rows) + 1 - len(self.live))
        for row, sample in zip(rows, samples, strict=True):
            sample.start = self.step
            self.live[row] = sample

    def _close(self, holes: list[int]) -> None:
        """Move the last live samples into rows that ended and were not given away."""
        kept = len(self.live) - len(holes)
        gone = set(holes)
        sources = [row for row in range(kept, len(self.live)) if row not in gone]
        self._move([row for row in holes if row < kept], sources)
        del self.live[kept:]

    def _move(self, targets: list[int], sources: list[int]) -> None:
        """Put the samples of the source rows into the target rows; the lists may overlap."""
        if not targets:
            return
        moved = [self.live[row] for row in sources]
        longest = max(self.step - sample.start + 1 for sample in moved)
        to, source = (torch.tensor(i, device=self._forward.device) for i in (targets, sources))
        self._cache.move(to, source, min(longest, self._cache.sizes.response))
        self._state[:, to] = self._state[:, source]
        self._ids[to, :longest] = self._ids[source, :longest]
        self._logprobs[to, :longest] = self._logprobs[source, :longest]
        for row, sample in zip(targets, moved, strict=True):
            self.live[row] = sample
