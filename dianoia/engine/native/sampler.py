"""The native sampler: continuous batching over a fixed number of slots, in process.

In: a config, then weights under Hugging Face names, then requests. Out: completions. A CPU with several
threads decodes in as many lanes, each with its part of the slots; a GPU in one `RowLane`, which draws the
same tokens up to rounding. Left out: everything about text; architectures other than `weights.FAMILIES`.
"""

import time
from collections.abc import Mapping, Sequence
from functools import partial
from threading import Lock

import torch
from transformers import PretrainedConfig

from dianoia.base.errors import ConfigError
from dianoia.base.records import Completion, Request, SamplingParams
from dianoia.engine.interface import OnFinish, SamplerStats, check
from dianoia.engine.native.forward import Forward
from dianoia.engine.native.lane import Finished, Lane, Run
from dianoia.engine.native.row_lane import RowLane
from dianoia.engine.native.weights import refusal
from dianoia.runtime.lanes import in_lanes, lanes_of

KEPT = 0.2
"""Share of a GPU's memory that a cache may take up between two calls."""


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
        self._lanes: list[Lane | RowLane] = []
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

    def generate(
        self,
        requests: Sequence[Request],
        params: SamplingParams,
        on_finish: OnFinish | None = None,
    ) -> list[list[Completion]]:
        """See `interface.Sampler.generate`."""
        assert self._loaded, "load() gives the sampler its weights; call it before generate()"
        check(requests, params, self._positions)
        began = time.perf_counter()
        if requests:
            longest = max(len(request.prompt_ids) for request in requests)
            self._forward.reserve(longest + params.max_tokens)
        count = max(1, min(lanes_of(self._forward.device), len(requests), self._slots))
        finish = _serial(on_finish)
        jobs = [
            partial(lane.generate, requests[i::count], params, _renumbered(finish, i, count))
            for i, lane in enumerate(self._opened(count))
        ]
        runs = in_lanes(jobs)
        self._stats = _stats(runs, time.perf_counter() - began)
        if not self._keeps():
            self._lanes.clear()
        results = [run.results() for run in runs]
        return [results[i % count][i // count] for i in range(len(requests))]

    def _opened(self, count: int) -> list[Lane | RowLane]:
        """So many lanes, those of the last call if it had as many."""
        if len(self._lanes) != count:
            slots = -(-self._slots // count)
            kind = Lane if self._forward.device.type == "cpu" else RowLane
            self._lanes = [kind(self._forward, slots) for _ in range(count)]
        return self._lanes

    def _keeps(self) -> bool:
        """Whether caches, and steps captured over them, wait for the next call. A large one on a GPU does not:
        the learner needs the room, and allocated memory is kept and comes back at once."""
        device = self._forward.device
        if device.type == "cpu":
            return True
        held = sum(lane.bytes for lane in self._lanes if isinstance(lane, RowLane))
        return held <= KEPT * torch.cuda.get_device_properties(device).total_memory


def _serial(on_finish: OnFinish | None) -> OnFinish | None:
    """The caller's function, never entered by two lanes at once."""
    if on_finish is None:
        return None
    lock, call = Lock(), on_finish

    def serial(request: int, sample: int, completion: Completion) -> None:
        with lock:
            call(request, sample, completion)

    return serial


def _renumbered(finish: OnFinish | None, lane: int, lanes: int) -> Finished | None:
    """From a request's number in its lane to its number in the call."""
    if finish is None:
        return None
    return lambda request, sample, done: finish(lane + request * lanes, sample, done)


def _stats(runs: Sequence[Run], seconds: float) -> SamplerStats:
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
    )
