"""The native sampler: continuous batching over a fixed number of slots, in process.

In: a config, then weights under Hugging Face names, then requests. Out: completions. A CPU with several
threads decodes with as many of its cores, each with its part of the slots; a GPU in one lane, which draws the
same tokens up to rounding. Left out: everything about text; architectures other than `weights.FAMILIES`.
"""

import time
from collections.abc import Sequence
from threading import Lock

import torch
from transformers import PretrainedConfig

from dianoia.base.errors import ConfigError
from dianoia.base.records import Completion, Request, SamplingParams
from dianoia.sampler.interface import (
    OnFinish,
    PendingWeights,
    SamplerStats,
    WeightUpdate,
    check_requests,
)
from dianoia.sampler.native.cpu.packed_weights import runs_in_c
from dianoia.sampler.native.decode_results import Run
from dianoia.sampler.native.dispatch import CoreLanes, Lanes, TorchLanes
from dianoia.sampler.native.weights import Shape, refusal


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

        slots: samples decoded at a time, at most. dtype: of weights and cache, where C runs of
        matrices and of values; log-probabilities are float32. Raises ConfigError for a model that `weights.refusal` names, or for slots below 1.
        """
        reason = refusal(config)
        if reason is not None:
            raise ConfigError(
                f"The native sampler cannot run this model: {reason}. "
                "Use dianoia.sampler.factory.make_sampler, which falls back to transformers."
            )
        if slots < 1:
            raise ConfigError(f"slots={slots}: a sampler needs 1 slot or more; 256 suits a CPU.")
        self._lanes = _lanes(config, dtype, torch.device(device), slots)
        self._positions: int = config.max_position_embeddings
        self._weights = PendingWeights()
        self._stats = SamplerStats()

    @property
    def stats(self) -> SamplerStats:
        """Of the last `generate`."""
        return self._stats

    def load(self, update: WeightUpdate) -> None:
        """See `interface.Sampler.load`."""
        self._lanes.check(update.tensors)
        self._weights.publish(update)

    def pull(self) -> int:
        """See `interface.Sampler.pull`; nothing computed with the old weights is kept."""
        with torch.no_grad():
            return self._weights.pull(self._lanes.load)

    def generate(
        self,
        requests: Sequence[Request],
        params: SamplingParams,
        on_finish: OnFinish | None = None,
    ) -> list[list[Completion]]:
        """See `interface.Sampler.generate`."""
        check_requests(requests, params, self._positions)
        version = self.pull()
        if not requests:
            self._stats = SamplerStats(weights_version=version)
            return []
        began = time.perf_counter()
        results, runs = self._lanes.generate(requests, params, _serial(on_finish))
        self._stats = _stats(runs, time.perf_counter() - began, version)
        return results


def _lanes(config: PretrainedConfig, dtype: torch.dtype, device: torch.device, slots: int) -> Lanes:
    """C where it runs, else PyTorch."""
    if runs_in_c(Shape.of(config), dtype, device):
        return CoreLanes(config, dtype, slots)
    return TorchLanes(config, dtype, device, slots)


def _serial(on_finish: OnFinish | None) -> OnFinish | None:
    """The caller's function, never entered by two lanes at once."""
    if on_finish is None:
        return None
    lock, call = Lock(), on_finish

    def serial(request: int, sample: int, completion: Completion) -> None:
        with lock:
            call(request, sample, completion)

    return serial


def _stats(runs: Sequence[Run], seconds: float, version: int) -> SamplerStats:
    """All lanes together; reading prompts took as long as it did in the mean lane."""
    steps = sum(run.steps for run in runs)
    prefill = sum(run.prefill for run in runs) / len(runs)
    room = sum(run.steps * run.slots for run in runs)
    return SamplerStats(
        tokens=sum(run.tokens for run in runs),
        seconds_prefill=prefill,
        seconds_decode=seconds - prefill,
        steps=steps,
        occupancy=sum(run.seated for run in runs) / room if room else 0.0,
        weights_version=version,
    )
