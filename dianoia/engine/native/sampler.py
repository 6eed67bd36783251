"""The native sampler: continuous batching over a fixed number of slots, in process.

In: a config, then weights under Hugging Face names, then requests. Out: completions. The same code
runs on CPU and CUDA. Left out: everything about text; architectures other than `weights.FAMILIES`.
"""

import time
from collections import deque
from collections.abc import Mapping, Sequence

import torch
from transformers import PretrainedConfig

from dianoia.base.errors import ConfigError
from dianoia.base.records import Completion, Request, SamplingParams
from dianoia.engine.interface import OnFinish, SamplerStats, check
from dianoia.engine.native.cache import Cache, CacheSizes
from dianoia.engine.native.forward import Forward
from dianoia.engine.native.prompts import Live, Prompts, Unit, cut
from dianoia.engine.native.slots import ARRANGE_EVERY, Slots
from dianoia.engine.native.weights import refusal

MEMBERS = 4
"""Samples that share a prompt row: more reads a prompt's keys less often, but leaves more places
empty once samples of a group have ended."""
SPARE_ROWS = 16
"""Prompt rows beyond one a slot, for prompts read ahead."""
LOT_TOKENS = {"cpu": 512, "cuda": 8192}
"""Prompt tokens read at a time: enough to keep the arithmetic busy, few enough not to read far
ahead."""


class NativeSampler:
    """Implements `interface.Sampler` for dense Llama, Qwen2 and Qwen3."""

    def __init__(
        self,
        config: PretrainedConfig,
        *,
        slots: int = 256,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        """Allocate the weights; `load` must fill them before the first `generate`.

        slots: samples decoded at a time. dtype: of weights and cache; log-probabilities are
        float32. Raises ConfigError for a model that `weights.refusal` names, or for slots below 1.
        """
        reason = refusal(config)
        if reason is not None:
            raise ConfigError(
                f"The native sampler cannot run this model: {reason}. "
                "Use dianoia.engine.factory.make_sampler, which falls back to transformers."
            )
        if slots < 1:
            raise ConfigError(f"slots={slots}: a sampler needs 1 slot or more; 256 suits a CPU.")
        self._forward = Forward(config, dtype, torch.device(device))
        self._positions: int = config.max_position_embeddings
        self._slots = slots
        self._cache: Cache | None = None
        self._loaded = False
        self._stats = SamplerStats()

    @property
    def stats(self) -> SamplerStats:
        """Of the last `generate`."""
        return self._stats

    def load(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Take new weights, copied in place; nothing computed with the old ones is kept."""
        with torch.no_grad():
            self._forward.weights.load(weights)
        self._loaded = True

    @torch.inference_mode()
    def generate(
        self,
        requests: Sequence[Request],
        params: SamplingParams,
        on_finish: OnFinish | None = None,
    ) -> list[list[Completion]]:
        """See `interface.Sampler.generate`."""
        assert self._loaded, "load() gives the sampler its weights; call it before generate()"
        check(requests, params, self._positions)
        run = _Run(requests, on_finish)
        members = min(MEMBERS, max((request.samples for request in requests), default=0))
        units = cut(requests, max(members, 1))
        if units:
            self._decode_all(run, units, members, params)
        self._stats = run.stats(self._slots)
        return run.results()

    def _decode_all(
        self, run: "_Run", units: list[Unit], members: int, params: SamplingParams
    ) -> None:
        """The loop: refill the slots, draw one token for each, hand out what ended."""
        forward, requests = self._forward, run.requests
        longest = max(len(request.prompt_ids) for request in requests)
        forward.reserve(longest + params.max_tokens)
        cache = self._reserve(requests, units, members, longest, params)
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
                    run.finish(slots.live[row], completion)

    def _reserve(
        self,
        requests: Sequence[Request],
        units: list[Unit],
        members: int,
        longest: int,
        params: SamplingParams,
    ) -> Cache:
        """The cache of the last call if it is the right one, else a new one."""
        slots = min(self._slots, sum(request.samples for request in requests))
        rows = min(len(units), slots + SPARE_ROWS)
        sizes = CacheSizes(slots, rows, members, longest, params.max_tokens)
        if self._cache is None or not self._cache.sizes.covers(sizes):
            self._cache = None  # frees the old one before the new one is allocated
            self._cache = Cache(
                self._forward.shape, sizes, self._forward.dtype, self._forward.device
            )
        return self._cache


class _Run:
    """Results and clock of one `generate`."""

    def __init__(self, requests: Sequence[Request], on_finish: OnFinish | None) -> None:
        """Nothing finished yet."""
        self.requests, self._on_finish = requests, on_finish
        self._done: list[list[Completion | None]] = [[None] * r.samples for r in requests]
        self._began = time.perf_counter()
        self.prefill = 0.0
        self.tokens = self.steps = self.seated = 0

    def finish(self, sample: Live, completion: Completion) -> None:
        """Keep a completion and tell the caller."""
        self._done[sample.request][sample.index] = completion
        self.tokens += len(completion.ids)
        if self._on_finish is not None:
            self._on_finish(sample.request, sample.index, completion)

    def results(self) -> list[list[Completion]]:
        """All completions, in the order asked for."""
        results = [[one for one in group if one is not None] for group in self._done]
        assert list(map(len, results)) == [r.samples for r in self.requests], "a sample got lost"
        return results

    def stats(self, slots: int) -> SamplerStats:
        """What was done until now."""
        seconds = time.perf_counter() - self._began
        return SamplerStats(
            tokens=self.tokens,
            seconds_prefill=self.prefill,
            seconds_decode=seconds - self.prefill,
            steps=self.steps,
            occupancy=self.seated / (self.steps * slots) if self.steps else 0.0,
        )


def _read_ahead(
    prompts: Prompts, waiting: deque[Live], room: int, run: _Run, params: SamplingParams
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
                run.finish(sample, completion)
            else:
                waiting.append(sample)
    run.prefill += time.perf_counter() - start
