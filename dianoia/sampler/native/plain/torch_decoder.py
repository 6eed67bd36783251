"""One lane of the native sampler where no C compiler is: continuous batching over a fixed number of slots.

In: requests. Out: their completions, and a clock (`Run`). A lane has a cache of its own and shares the
weights with its neighbours. Left out: how requests are dealt out to lanes.
"""

import time
from collections import deque
from collections.abc import Sequence

import torch

from dianoia.base.limits import MEMBERS, SPARE_ROWS
from dianoia.base.records import Completion, Request, SamplingParams
from dianoia.sampler.native.decode_results import Finished, Run
from dianoia.sampler.native.forward import Forward
from dianoia.sampler.native.live_samples import Live, Unit, cut
from dianoia.sampler.native.plain.prompt_queue import Prompts
from dianoia.sampler.native.plain.slots import ARRANGE_EVERY, Slots
from dianoia.sampler.native.plain.torch_cache import Cache, CacheSizes

LOT_TOKENS = {"cpu": 512, "cuda": 8192}
"""Prompt tokens read at a time: enough to keep the arithmetic busy, few enough not to read far
ahead."""


class Lane:
    """Slots, a cache, and the loop that keeps them full."""

    def __init__(self, forward: Forward, slots: int) -> None:
        """slots: samples decoded at a time."""
        self._forward, self._slots = forward, slots
        self._cache: Cache | None = None

    @torch.inference_mode()
    def generate(
        self, requests: Sequence[Request], params: SamplingParams, finished: Finished | None
    ) -> Run:
        """Decode every sample of `requests`; the rotary tables must reach far enough already."""
        run = Run(requests, self._slots, finished)
        members = min(MEMBERS, max((request.samples for request in requests), default=0))
        units = cut(requests, max(members, 1))
        if units:
            self._decode_all(run, units, members, params)
        return run

    def _decode_all(
        self, run: Run, units: list[Unit], members: int, params: SamplingParams
    ) -> None:
        """The loop: refill the slots, draw one token for each, hand out what ended."""
        forward, requests = self._forward, run.requests
        cache = self._reserve(requests, units, members, params)
        lot_tokens = LOT_TOKENS[forward.device.type]
        prompts = Prompts(requests, units, params, (forward, cache), lot_tokens)
        slots = Slots(forward, cache, params)
        waiting: deque[Live] = deque()
        ended: list[int] = []
        while True:
            room = len(ended) + slots.free
            _read_ahead(prompts, waiting, room, run, params)
            slots.replace(ended, [waiting.popleft() for _ in range(min(room, len(waiting)))])
            if not slots.live:
                return
            if slots.step % ARRANGE_EVERY == 0:
                slots.arrange()
                if prompts.pack([*slots.live, *waiting]):
                    slots.reseat()
            run.steps += 1
            run.seated += len(slots.live)
            ended = slots.decode(prompts.mask())
            if ended:
                for row, completion in zip(ended, slots.completions(ended), strict=True):
                    prompts.release(slots.live[row].row)
                    sample = slots.live[row]
                    run.finish(sample.request, sample.index, completion)

    def _reserve(
        self,
        requests: Sequence[Request],
        units: list[Unit],
        members: int,
        params: SamplingParams,
    ) -> Cache:
        """The cache of the last call if it is the right one, else a new one."""
        longest = max(len(request.prompt_ids) for request in requests)
        slots = min(self._slots, sum(request.samples for request in requests))
        rows = min(len(units), slots + SPARE_ROWS)
        sizes = CacheSizes(slots, rows, members, longest, params.max_tokens)
        if self._cache is None or not self._cache.sizes.covers(sizes):
            self._cache = None  # frees the old one before the new one is allocated
            self._cache = Cache(
                self._forward.shape, sizes, self._forward.dtype, self._forward.device
            )
        return self._cache


def _read_ahead(
    prompts: Prompts, waiting: deque[Live], room: int, run: Run, params: SamplingParams
) -> None:
    """Read prompts until there is a waiting sample for every free slot, or nothing left to read.

    A sample that ends with its first token is handed out here and never takes a slot.
    """
    start = time.perf_counter()
    while len(waiting) < room and prompts.readable:
        for sample in prompts.read():
            stopped = sample.token in params.stop_ids
            if stopped or params.max_tokens == 1:
                prompts.release(sample.row)
                completion = Completion((sample.token,), (sample.logprob,), stopped)
                run.finish(sample.request, sample.index, completion)
            else:
                waiting.append(sample)
    run.prefill += time.perf_counter() - start
