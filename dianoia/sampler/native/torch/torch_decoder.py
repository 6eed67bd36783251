"""Continuous batching in PyTorch: the loop that keeps the slots of `DecodeSteps` full.

In: requests that share their sampling parameters. Out: `DecodeResults`. The host checks every CHECK_EVERY steps which
samples have ended, and refills slots when enough of them are free, since a prefill has the same overhead for one prompt
as for a hundred. Once no sample waits any more, live samples move into the first slots, so that steps get smaller.
"""

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from dianoia.base.records import Request, SamplingParams
from dianoia.base.stopping import give_up_sampling_if_overdue
from dianoia.hardware.devices import allow_any_order
from dianoia.sampler.draw import seed_of
from dianoia.sampler.native.decode_results import DecodeResults, Finished
from dianoia.sampler.native.torch.decode_steps import DecodeSteps, SlotStart
from dianoia.sampler.native.torch.model import StepShape, TorchModel

PREFILL_TOKENS = {"cpu": 512, "cuda": 8192}
"""Prompt tokens per prefill: enough to keep the arithmetic busy, few enough not to read far ahead."""
CHECK_EVERY = 8
"""Steps between two checks for ended samples."""
REFILL = 16
"""Prompts are read again once one slot in REFILL is free."""
FEWEST_SLOTS, SHORTEST = 8, 256
"""Smallest size of a step on CUDA; larger ones double, so that few shapes are captured."""


@dataclass(slots=True)
class Seat:
    """A sample in a slot, as far as the host knows."""

    request: int
    index: int
    """Index among the samples of its request."""
    prompt_tokens: int
    steps: int = 0
    """Decoding steps since the sample took the slot."""


class TorchDecoder:
    """Slots of one device, or of one thread of a CPU."""

    def __init__(self, model: TorchModel, slots: int) -> None:
        """slots: samples decoded at a time."""
        self._model, self.slots = model, slots
        self._steps: DecodeSteps | None = None

    @property
    def bytes(self) -> int:
        """Memory that the decoder keeps between two calls."""
        return 0 if self._steps is None else self._steps.cache.bytes

    @torch.inference_mode()
    def generate(
        self,
        requests: Sequence[Request],
        params: SamplingParams,
        finished: Finished | None,
        weights_version: int = 0,
    ) -> DecodeResults:
        """Decode every sample of `requests`, all under `params`; the RoPE tables must be long enough already."""
        results = DecodeResults(requests, self.slots, finished, weights_version)
        if any(request.samples for request in requests):
            # no two writes of a step meet, so their order does not matter
            with allow_any_order():
                _DecodeLoop(results, self._reserve(requests, params), params).run()
        return results

    def _reserve(self, requests: Sequence[Request], params: SamplingParams) -> DecodeSteps:
        """Return the state of the last call if it is large enough, else a new one."""
        slots = min(self.slots, sum(request.samples for request in requests))
        capacity = max(len(request.prompt_ids) for request in requests) + params.max_tokens
        steps = self._steps
        if steps is None or not steps.covers(slots, capacity, params.max_tokens):
            self._steps = steps = None  # frees the old cache before the new one is allocated
            self._steps = steps = DecodeSteps(self._model, slots, capacity, params.max_tokens)
        steps.begin(params)
        return steps


class _DecodeLoop:
    """One call of `generate`: the samples that wait, and those in slots."""

    def __init__(self, results: DecodeResults, steps: DecodeSteps, params: SamplingParams) -> None:
        self._results, self._steps, self._params = results, steps, params
        requests = results.requests
        order = sorted(range(len(requests)), key=lambda i: -len(requests[i].prompt_ids))
        self._waiting = deque((i, j) for i in order for j in range(requests[i].samples))
        self._seats: dict[int, Seat] = {}
        """By slot."""
        self._prefill_tokens = PREFILL_TOKENS[steps.device.type]

    def run(self) -> None:
        """Refill slots, run steps and hand out completions until no sample is left."""
        while self._waiting or self._seats:
            # steps of few slots are cheaper, so gaps are closed once no sample can fill them
            self._refill()
            self._compact()
            count = min(CHECK_EVERY, max(self._steps_left(seat) for seat in self._seats.values()))
            # 0 if every sample ended with its first token
            if count > 0:
                self._steps.run(count, self._step_shape(count))
            for seat in self._seats.values():
                seat.steps += count
            self._results.steps += count
            self._hand_out()
            give_up_sampling_if_overdue()

    def _steps_left(self, seat: Seat) -> int:
        """Return the number of steps until the limit on tokens; the prefill has drawn the first token."""
        return self._params.max_tokens - 1 - seat.steps

    def _step_shape(self, count: int) -> StepShape:
        """Return slots and length that cover all samples after `count` more steps."""
        cache = self._steps.cache
        slots = max(self._seats) + 1
        length = max(seat.prompt_tokens + seat.steps for seat in self._seats.values()) + count
        # on a CPU nothing is captured, so a step is exactly as large as it has to be
        if self._steps.captures:
            slots, length = _doubled(FEWEST_SLOTS, slots), _doubled(SHORTEST, length)
        return StepShape(min(cache.slots, slots), min(cache.capacity, length))

    def _refill(self) -> None:
        """Give free slots to waiting samples, the lowest slots first, one prefill at a time."""
        start, slots = time.perf_counter(), self._steps.cache.slots
        free = [slot for slot in range(slots) if slot not in self._seats]
        # while samples run, wait for several free slots: a prefill for one costs nearly as much as for many
        if self._seats and len(free) * REFILL < slots:
            return
        while free and self._waiting:
            self._prefill(free)
        self._results.seconds_prefill += time.perf_counter() - start

    def _prefill(self, free: list[int]) -> None:
        """Start waiting samples in slots from the front of `free`, up to the prompt tokens of one prefill."""
        prompt_numbers: dict[int, int] = {}
        prompts: list[tuple[int, ...]] = []
        starts: list[SlotStart] = []
        while free and self._waiting:
            number, index = self._waiting[0]
            request = self._results.requests[number]
            if number not in prompt_numbers:
                # the samples of a request share one reading of its prompt
                tokens = sum(map(len, prompts)) + len(request.prompt_ids)
                if prompts and tokens > self._prefill_tokens:
                    break
                prompt_numbers[number] = len(prompts)
                prompts.append(request.prompt_ids)
            self._waiting.popleft()
            slot, seed, length = free.pop(0), seed_of(request.key, index), len(request.prompt_ids)
            starts.append(SlotStart(slot, prompt_numbers[number], seed, length))
            self._seats[slot] = Seat(number, index, length)
        self._steps.start(prompts, starts)

    def _hand_out(self) -> None:
        """Finish the samples that have ended and free their slots."""
        flags = self._steps.ended(max(self._seats) + 1)
        slots = [slot for slot in sorted(self._seats) if flags[slot]]
        if not slots:
            return
        completions = self._steps.completions(slots, self._results.weights_version)
        self._steps.free(slots)
        for slot, completion in zip(slots, completions, strict=True):
            # the first token came from the prefill
            self._results.slot_steps += len(completion.ids) - 1
            seat = self._seats.pop(slot)
            self._results.finish(seat.request, seat.index, completion)

    def _compact(self) -> None:
        """Once no sample waits, move samples into the first slots if that halves the slots of a step."""
        if self._waiting or not self._seats:
            return
        enough = _doubled(FEWEST_SLOTS, len(self._seats))
        if enough * 2 > _doubled(FEWEST_SLOTS, max(self._seats) + 1):
            return
        sources = [slot for slot in self._seats if slot >= enough]
        targets = [slot for slot in range(enough) if slot not in self._seats][: len(sources)]
        seats = [self._seats.pop(slot) for slot in sources]
        length = max(seat.prompt_tokens + seat.steps for seat in seats)
        self._steps.move(targets, sources, length)
        self._seats.update(zip(targets, seats, strict=True))


def _doubled(first: int, least: int) -> int:
    """Return the first of `first`, 2 `first`, 4 `first`, ... that is at least `least`."""
    while first < least:
        first *= 2
    return first
