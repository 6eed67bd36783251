"""The decoder in PyTorch: its device state, kept between calls, and the loop over one call's requests.

In: requests that share their sampling parameters. Out: `DecodeResults`. Not here: which sample has slots and pages (`schedule`),
and how they are filled (`decode_loop`).
"""

from collections import deque
from collections.abc import Callable, Sequence

import torch

from dianoia.base.errors import ConfigError
from dianoia.base.records import Request, SamplingParams
from dianoia.base.stopping import give_up_sampling_if_overdue
from dianoia.hardware.devices import allow_any_order
from dianoia.sampler.native.cpu.cpu_decoder import PromptShare
from dianoia.sampler.native.decode_results import DecodeResults, Finished
from dianoia.sampler.native.session import SessionLimits
from dianoia.sampler.native.torch.decode_loop import CHECK_EVERY, DecodeLoop
from dianoia.sampler.native.torch.decode_steps import DecodeSteps
from dianoia.sampler.native.torch.model import TorchModel
from dianoia.sampler.native.torch.page_pool import PAGE, pages_for
from dianoia.sampler.native.torch.paged_cache import CacheSize, page_count, pages_in_memory

REFILL = 16
"""Prompts are read again once one slot in REFILL is free."""


class CacheLimits:
    """How many pages the caches of a sampler may have."""

    def __init__(self, share: float = 0.8, pages: int | None = None) -> None:
        """share: of the free memory, see `paged_cache.pages_in_memory`. pages: their number instead, per decoder.

        Raises ConfigError for a share outside 0 to 1, and for pages below 1.
        """
        if not 0.0 < share <= 1.0:
            raise ConfigError(
                f"cache_share={share:g}: the KV cache takes a share of the free memory, above 0 and at most 1; 0.8 leaves room "
                "for what a step needs."
            )
        if pages is not None and pages < 1:
            raise ConfigError(
                f"pages={pages}: a KV cache needs 1 page or more, of {PAGE} tokens each."
            )
        self._share, self._pages = share, pages

    def size(
        self, model: TorchModel, slots: int, tokens: int, response: int, decoders: int = 1
    ) -> CacheSize:
        """Return the size of the cache of one of `decoders` decoders, for samples of at most `tokens` tokens.

        Raises ConfigError if the longest sample does not fit into a number of pages that was given.
        """
        if self._pages is not None:
            if pages_for(tokens) > self._pages:
                raise ConfigError(
                    f"pages={self._pages}: a prompt with its longest response has {tokens} tokens, which take "
                    f"{pages_for(tokens)} pages of {PAGE}. Give the KV cache as many, or make max_tokens smaller."
                )
            return CacheSize(slots, self._pages, tokens, response)
        # All decoders of a rank allocate from the same memory, each its part of what is free now.
        fitting = pages_in_memory(model.shape, model.dtype, model.device, self._share) // decoders
        return CacheSize(slots, page_count(slots, tokens, fitting), tokens, response)


class TorchDecoder:
    """Slots of one device, or of one thread of a CPU."""

    def __init__(
        self, model: TorchModel, slots: int, limits: CacheLimits | None = None, decoders: int = 1
    ) -> None:
        """slots: most samples decoded at a time. limits: of the KV cache. decoders: that share the memory."""
        self._model, self.slots, self._decoders = model, slots, decoders
        self._limits = limits or CacheLimits()
        self._steps: DecodeSteps | None = None
        self.preemptions = 0
        """Samples of the last call that gave their pages back for a time."""

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
        """Decode every sample of `requests`, all under `params`; the RoPE tables must be long enough already.

        Raises ConfigError if a sample does not fit into the pages of `CacheLimits`.
        """
        results = DecodeResults(requests, self.slots, finished, weights_version)
        # prompts of like length are read together, and what is likely to take longest begins first
        order = sorted(range(len(requests)), key=lambda i: -len(requests[i].prompt_ids))
        queue = deque(
            PromptShare(i, requests[i], params, 0, requests[i].samples)
            for i in order
            if requests[i].samples
        )
        if not queue:
            return results
        steps = self._reserve(requests, params)

        def take() -> PromptShare | None:
            return queue.popleft() if queue else None

        # no two writes of a step that anybody reads meet, so their order does not matter
        with allow_any_order():
            loop = DecodeLoop(
                steps,
                self._slots_of(requests),
                take,
                results.finish,
                weights_version,
                refill=REFILL,
            )
            while loop.advance(CHECK_EVERY):
                give_up_sampling_if_overdue()
        results.steps, results.slot_steps = loop.steps, loop.slot_steps
        results.seconds_prefill, self.preemptions = loop.seconds_prefill, loop.schedule.preemptions
        return results

    def _slots_of(self, requests: Sequence[Request]) -> int:
        return min(self.slots, sum(request.samples for request in requests))

    def _reserve(self, requests: Sequence[Request], params: SamplingParams) -> DecodeSteps:
        """Return the state of the last call if it is large enough, else a new one."""
        tokens = max(len(request.prompt_ids) for request in requests) + params.max_tokens
        steps = self._steps
        # Kept where it is large enough: a new cache would also throw away all steps that were captured over the old one.
        if steps is not None and steps.size.covers(self._wanted(requests, tokens, params, steps)):
            return steps
        self._steps = steps = (
            None  # frees the old cache before the new one is measured and allocated
        )
        size = self._limits.size(
            self._model, self._slots_of(requests), tokens, params.max_tokens, self._decoders
        )
        self._steps = steps = DecodeSteps(self._model, size)
        return steps

    def _wanted(
        self, requests: Sequence[Request], tokens: int, params: SamplingParams, steps: DecodeSteps
    ) -> CacheSize:
        """Return the size that a call asks for of a cache that there is: it has taken its share of the memory already."""
        slots = self._slots_of(requests)
        pages = page_count(slots, tokens, steps.size.pages)
        return CacheSize(slots, pages, tokens, params.max_tokens)


SESSION_PIECE = {"cpu": 128, "cuda": 2048}
"""Tokens of a prompt that are read between two rounds of steps of a session: others wait as long for their next token."""


def session_loop(
    model: TorchModel,
    slots: int,
    cache: CacheLimits,
    limits: SessionLimits,
    weights_version: int,
) -> Callable[[Callable[[], PromptShare | None], Finished], DecodeLoop]:
    """Return what makes the loop of a session, with a cache of its own; requests have any sampling parameters.

    Raises ConfigError if the longest request does not fit into the pages of `cache`.
    """
    # Both limits may be all positions, which no request can have together.
    tokens = min(limits.prompt_tokens + limits.response_tokens, limits.positions)
    with torch.inference_mode():
        size = cache.size(model, slots, tokens, limits.response_tokens)
        steps = DecodeSteps(model, size, captures_draws=False)
    piece = SESSION_PIECE[model.device.type]

    def make(take: Callable[[], PromptShare | None], finish: Finished) -> DecodeLoop:
        with torch.inference_mode():
            return DecodeLoop(steps, slots, take, finish, weights_version, piece=piece, pieces=1)

    return make
