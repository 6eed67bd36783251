"""The lane of the native sampler on a GPU: continuous batching that seldom asks the device.

In: requests. Out: their completions, and a clock (`Run`), as of `lane.Lane`, and the same tokens up to rounding.
The host looks every CHECK_EVERY steps which samples have ended, and fills their rows when enough of them are
free, since reading prompts costs as many calls for one as for a hundred. Once nothing waits any more, samples
move together and steps have fewer rows. Left out: steps, attention, drawing.
"""

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from dianoia.base.records import Request, SamplingParams
from dianoia.hardware.devices import allow_any_order
from dianoia.sampler.draw import seed_of
from dianoia.sampler.native.decode_results import Finished, Run
from dianoia.sampler.native.forward import Forward
from dianoia.sampler.native.gpu.decode_steps import RowSteps, Seat
from dianoia.sampler.native.gpu.gpu_forward import Extent, RowForward
from dianoia.sampler.native.live_samples import Live
from dianoia.sampler.native.plain.torch_decoder import LOT_TOKENS

CHECK_EVERY = 8
"""Steps between two looks at what has ended."""
REFILL = 16
"""One part in so many of the rows has to be free before prompts are read again."""
FEWEST_ROWS, SHORTEST = 8, 256
"""Of a step; larger ones double, so that there are few shapes to capture."""


@dataclass(slots=True)
class Seated:
    """A sample in a row, as far as the host knows."""

    sample: Live
    steps: int = 0
    """Since it took the row."""


class RowLane:
    """Rows of a cache, and the loop that keeps them full."""

    def __init__(self, forward: Forward, slots: int) -> None:
        """slots: samples decoded at a time."""
        self._forward, self._slots = RowForward(forward), slots
        self._steps: RowSteps | None = None

    @property
    def bytes(self) -> int:
        """What the lane keeps between two calls."""
        return 0 if self._steps is None else self._steps.cache.bytes

    @torch.inference_mode()
    def generate(
        self, requests: Sequence[Request], params: SamplingParams, finished: Finished | None
    ) -> Run:
        """Decode every sample of `requests`; the rotary tables must reach far enough already."""
        run = Run(requests, self._slots, finished)
        if any(request.samples for request in requests):
            with allow_any_order():
                _Decoding(run, self._reserve(requests, params), params).all()
        return run

    def _reserve(self, requests: Sequence[Request], params: SamplingParams) -> RowSteps:
        """State and cache of the last call if they are large enough, else new ones."""
        slots = min(self._slots, sum(request.samples for request in requests))
        row = max(len(request.prompt_ids) for request in requests) + params.max_tokens
        kept = self._steps
        if kept is None or not kept.holds(slots, row, params.max_tokens):
            self._steps = kept = None  # frees the old ones before the new ones are allocated
            self._steps = kept = RowSteps(self._forward, slots, row, params.max_tokens)
        kept.begin(params)
        return kept


class _Decoding:
    """One call: who waits, and who sits where."""

    def __init__(self, run: Run, steps: RowSteps, params: SamplingParams) -> None:
        self._run, self._steps, self._params = run, steps, params
        order = sorted(range(len(run.requests)), key=lambda i: -len(run.requests[i].prompt_ids))
        self._waiting = deque((i, j) for i in order for j in range(run.requests[i].samples))
        self._seats: dict[int, Seated] = {}
        self._lot = LOT_TOKENS[steps.device.type]

    def all(self) -> None:
        """Refill, draw, hand out, until nothing is left."""
        while self._waiting or self._seats:
            self._refill()
            self._close_up()
            count = min(CHECK_EVERY, max(self._left(seated) for seated in self._seats.values()))
            if count > 0:
                self._steps.run(count, self._extent(count))
            for seated in self._seats.values():
                seated.steps += count
            self._run.steps += count
            self._hand_out()

    def _left(self, seated: Seated) -> int:
        """Steps until the limit on tokens."""
        return self._params.max_tokens - 1 - seated.steps

    def _extent(self, count: int) -> Extent:
        """Rows and length that cover all samples after `count` more steps."""
        cache = self._steps.cache
        longest = max(seated.sample.prompt + seated.steps for seated in self._seats.values())
        rows = min(cache.slots, _doubled(FEWEST_ROWS, max(self._seats) + 1))
        return Extent(rows, min(cache.row, _doubled(SHORTEST, longest + count)))

    def _refill(self) -> None:
        """Seat waiting samples in free rows, lowest first, a lot of prompt tokens at a time."""
        began, slots = time.perf_counter(), self._steps.cache.slots
        free = [row for row in range(slots) if row not in self._seats]
        if self._seats and len(free) * REFILL < slots:
            return
        while free and self._waiting:
            self._read_lot(free)
        self._run.prefill += time.perf_counter() - began

    def _read_lot(self, free: list[int]) -> None:
        """Take rows from the front of `free` for as many samples as a lot has prompt tokens for."""
        numbers: dict[int, int] = {}
        prompts: list[tuple[int, ...]] = []
        seats: list[Seat] = []
        while free and self._waiting:
            request, index = self._waiting[0]
            asked = self._run.requests[request]
            if request not in numbers:
                if prompts and sum(map(len, prompts)) + len(asked.prompt_ids) > self._lot:
                    break
                numbers[request] = len(prompts)
                prompts.append(asked.prompt_ids)
            self._waiting.popleft()
            row, seed, length = free.pop(0), seed_of(asked.key, index), len(asked.prompt_ids)
            seats.append(Seat(row, numbers[request], seed, length))
            self._seats[row] = Seated(Live(request, index, seed, row, length))
        self._steps.seat(prompts, seats)

    def _hand_out(self) -> None:
        """Completions of the samples that have ended; their rows are free."""
        flags = self._steps.ended(max(self._seats) + 1)
        rows = [row for row in sorted(self._seats) if flags[row]]
        if not rows:
            return
        done = self._steps.take(rows)
        self._steps.free(rows)
        for row, completion in zip(rows, done, strict=True):
            self._run.seated += len(completion.ids) - 1
            sample = self._seats.pop(row).sample
            self._run.finish(sample.request, sample.index, completion)

    def _close_up(self) -> None:
        """Once nothing waits, move samples into the first rows where that halves a step's rows."""
        if self._waiting or not self._seats:
            return
        kept = _doubled(FEWEST_ROWS, len(self._seats))
        if kept * 2 > _doubled(FEWEST_ROWS, max(self._seats) + 1):
            return
        sources = [row for row in self._seats if row >= kept]
        targets = [row for row in range(kept) if row not in self._seats][: len(sources)]
        moved = [self._seats.pop(row) for row in sources]
        length = max(seated.sample.prompt + seated.steps for seated in moved)
        self._steps.move(targets, sources, length)
        self._seats.update(zip(targets, moved, strict=True))


def _doubled(first: int, least: int) -> int:
    """The first of `first`, twice that, and so on, that is at least `least`."""
    while first < least:
        first *= 2
    return first
