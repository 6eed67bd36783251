"""How the native sampler shares its work out: to the cores of a CPU that run C, or to lanes of PyTorch.

In: requests. Out: their completions in order, and the clock of each lane. Cores take requests from one queue, since a
completion in C does not depend on what is drawn beside it; PyTorch's lanes are dealt theirs beforehand, so that one seed
and one number of threads give one result.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Protocol

import torch
from torch import Tensor
from transformers import PretrainedConfig

from dianoia.base.records import Completion, Request, SamplingParams
from dianoia.hardware.threads import run_parallel, worker_count
from dianoia.sampler.interface import OnFinish
from dianoia.sampler.native.cpu.cpu_decoder import CoreLane, sizes_for, units
from dianoia.sampler.native.cpu.packed_weights import PackedModel
from dianoia.sampler.native.decode_results import Finished, Run, together
from dianoia.sampler.native.forward import Forward
from dianoia.sampler.native.gpu.gpu_decoder import RowLane
from dianoia.sampler.native.plain.torch_decoder import Lane

KEPT = 0.2
"""Share of a GPU's memory that a cache may take up between two calls."""

Drawn = tuple[list[list[Completion]], list[Run]]
"""Completions, a list a request, and what each lane did."""


class Lanes(Protocol):
    """What both ways promise."""

    def check(self, weights: Mapping[str, Tensor]) -> None:
        """Raise ModelError for a missing or misshapen parameter."""
        ...

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Take new weights."""
        ...

    def generate(
        self, requests: Sequence[Request], params: SamplingParams, finish: OnFinish | None
    ) -> Drawn:
        """`requests` has one or more; `finish` may be called by any thread."""
        ...


class CoreLanes:
    """Cores that run C, a thread each."""

    def __init__(self, config: PretrainedConfig, dtype: torch.dtype, slots: int) -> None:
        """slots: samples decoded at a time at most, by all cores together."""
        self._model, self._slots = PackedModel(config, dtype), slots
        self._lanes: list[CoreLane] = []

    def check(self, weights: Mapping[str, Tensor]) -> None:
        """Raise ModelError for a missing or misshapen parameter."""
        self._model.check(weights)

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Take new weights."""
        self._model.load(weights)

    def generate(
        self, requests: Sequence[Request], params: SamplingParams, finish: OnFinish | None
    ) -> Drawn:
        """See `Lanes`."""
        longest = max(len(request.prompt_ids) for request in requests)
        self._model.reserve(longest + params.max_tokens)
        samples = min(self._slots, sum(request.samples for request in requests))
        cores = max(1, min(worker_count(torch.device("cpu")), samples))
        while len(self._lanes) < cores:
            self._lanes.append(CoreLane(self._model))
        queue = deque(units(requests, cores))
        sizes = sizes_for(self._model, requests, len(queue), -(-samples // cores), params)
        jobs = [
            partial(lane.generate, requests, queue, sizes, params, finish)
            for lane in self._lanes[:cores]
        ]
        runs = run_parallel(jobs)
        return together(runs), runs


class TorchLanes:
    """Lanes of PyTorch: as many as a CPU has threads, one on a GPU."""

    def __init__(
        self, config: PretrainedConfig, dtype: torch.dtype, device: torch.device, slots: int
    ) -> None:
        """slots: samples decoded at a time, by all lanes together."""
        self._forward, self._slots = Forward(config, dtype, device), slots
        self._lanes: list[Lane | RowLane] = []

    def check(self, weights: Mapping[str, Tensor]) -> None:
        """Raise ModelError for a missing or misshapen parameter."""
        self._forward.weights.check(weights)

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Take new weights, copied in place."""
        self._forward.weights.load(weights)

    def generate(
        self, requests: Sequence[Request], params: SamplingParams, finish: OnFinish | None
    ) -> Drawn:
        """See `Lanes`."""
        longest = max(len(request.prompt_ids) for request in requests)
        self._forward.reserve(longest + params.max_tokens)
        count = max(1, min(worker_count(self._forward.device), len(requests), self._slots))
        jobs = [
            partial(lane.generate, requests[i::count], params, _renumbered(finish, i, count))
            for i, lane in enumerate(self._opened(count))
        ]
        runs = run_parallel(jobs)
        if not self._keeps():
            self._lanes.clear()
        results = [run.results() for run in runs]
        return [results[i % count][i // count] for i in range(len(requests))], runs

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


def _renumbered(finish: OnFinish | None, lane: int, lanes: int) -> Finished | None:
    """From a request's number in its lane to its number in the call."""
    if finish is None:
        return None
    return lambda request, sample, done: finish(lane + request * lanes, sample, done)
