"""The native sampler: continuous batching over a fixed number of slots, in process.

In: a config, then weights under Hugging Face names, then requests. Out: completions. On a CPU with a C compiler every
thread decodes on a core of its own (`native.cpu`); without one, and on CUDA, PyTorch decodes over a paged KV cache
(`native.torch`): the same tokens up to rounding. Not here: text; architectures other than `weights.FAMILIES`.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Protocol
from weakref import WeakSet

import torch
from torch import Tensor
from transformers import PretrainedConfig

from dianoia.base.errors import ConfigError
from dianoia.base.records import Completion, Request, SamplingParams
from dianoia.distributed.group import ranks
from dianoia.hardware.threads import run_parallel, worker_count
from dianoia.sampler.completion_exchange import Drawn, all_completions
from dianoia.sampler.interface import (
    OnFinish,
    PendingWeights,
    SamplerStats,
    Turns,
    WeightUpdate,
    check_requests,
    group_by_params,
    params_of,
)
from dianoia.sampler.native.cpu.cpu_decoder import (
    CpuDecoder,
    DecodeLoop,
    PromptShare,
    memory_sizes,
    split_requests,
)
from dianoia.sampler.native.cpu.packed_model import CpuMemory, PackedModel, runs_in_c
from dianoia.sampler.native.cpu.scoring import ScoredSequence
from dianoia.sampler.native.decode_results import DecodeResults, Finished
from dianoia.sampler.native.session import Session, SessionLimits
from dianoia.sampler.native.torch.model import TorchModel
from dianoia.sampler.native.torch.torch_decoder import CacheLimits, TorchDecoder, session_loop
from dianoia.sampler.native.weights import ModelShape, refusal

CACHE_SHARE = 0.8
"""Share of the free memory for the KV cache, if nobody says otherwise: the rest is for what a step needs."""
KEPT_CACHE = 0.2
"""Share of a GPU's memory that KV caches may take between two calls."""

Generated = tuple[Drawn, list[DecodeResults]]
"""The completions that this rank has drawn, and the results of each of its decoders."""


class NativeSampler:
    """Implements `interface.Sampler` for dense Llama, Qwen2 and Qwen3."""

    def __init__(
        self,
        config: PretrainedConfig,
        *,
        slots: int = 256,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        cache_share: float = CACHE_SHARE,
        pages: int | None = None,
    ) -> None:
        """Prepare for a model; `load` must give the weights before the first `generate`.

        slots: most samples decoded at a time. dtype: of weights and KV cache; in C of matrices and values.
        cache_share: of the memory that is free when a call begins, for the KV cache in PyTorch; with less than all slots need
        at full length, fewer samples run at a time. pages: the number of its pages instead. Neither changes a completion.
        Log-probabilities are float32 always. Raises ConfigError for a model that `weights.refusal` names, for slots or pages
        below 1, and for a share outside 0 to 1.
        """
        reason = refusal(config)
        if reason is not None:
            raise ConfigError(
                f"The native sampler cannot run this model: {reason}. "
                "Use dianoia.sampler.factory.make_sampler, which falls back to transformers."
            )
        if slots < 1:
            raise ConfigError(f"slots={slots}: a sampler needs 1 slot or more; 256 suits a CPU.")
        limits = CacheLimits(cache_share, pages)
        self._decoders = _decoders(config, dtype, torch.device(device), slots, limits)
        self._positions: int = config.max_position_embeddings
        self._vocabulary = ModelShape.of(config).vocabulary
        # `load` only publishes weights; they are copied in `pull`, never while samples are decoded.
        self._weights = PendingWeights()
        self._turns = Turns()
        self._stats = SamplerStats()

    @property
    def stats(self) -> SamplerStats:
        """Statistics of the last `generate`."""
        return self._stats

    @property
    def vocabulary(self) -> int:
        """See `interface.Sampler.vocabulary`."""
        return self._vocabulary

    def load(self, update: WeightUpdate) -> None:
        """See `interface.Sampler.load`."""
        self._decoders.check(update.tensors)
        self._weights.publish(update)

    def pull(self) -> int:
        """See `interface.Sampler.pull`; nothing computed with the old weights is kept."""
        if not self._weights.is_waiting:
            return self._pull()  # nothing is copied, so a server need not wait for a `generate`
        with self._turns.next():
            return self._pull()

    def _pull(self) -> int:
        with torch.no_grad():
            return self._weights.pull(self._decoders.load)

    def generate(
        self,
        requests: Sequence[Request],
        params: SamplingParams,
        on_finish: OnFinish | None = None,
    ) -> list[list[Completion]]:
        """See `interface.Sampler.generate`."""
        check_requests(requests, params, self._positions)
        with self._turns.next():
            # weights change here, never while samples are being decoded
            version = self._pull()
            if not requests:
                self._stats = SamplerStats(weights_version=version)
                return []
            start = time.perf_counter()
            completions, results = self._decoders.generate(
                requests, params, self._turns.reporting(on_finish), version
            )
            self._stats = _stats(results, time.perf_counter() - start, version)
            return all_completions(requests, completions)

    @property
    def can_score(self) -> bool:
        """Return True if `scored` works here: on a CPU with the C functions."""
        return isinstance(self._decoders, CpuDecoders)

    def session(
        self,
        prompt_tokens: int,
        response_tokens: int,
        on_report: Callable[[], None] = lambda: None,
    ) -> Session:
        """Open a session with the present weights, for requests that come and go while others run.

        prompt_tokens, response_tokens: longest prompt, and the largest `max_tokens`, that the session accepts. Each may be
        all of the model's positions; a request has to fit into the positions with both. on_report: called by the session's
        workers after each number of calls of listeners, which then only have to note what they are called with.
        Raises ConfigError if one exceeds the model's positions.
        """
        # RoPE tables end there.
        if max(prompt_tokens, response_tokens) > self._positions:
            raise ConfigError(
                f"A session for prompts of {prompt_tokens} and responses of {response_tokens} tokens is longer than the "
                f"model's max_position_embeddings={self._positions}. Make them smaller."
            )
        limits = SessionLimits(prompt_tokens, response_tokens, self._positions)
        self.pull()
        # its workers take the addresses of weights one after the other
        with self._weights.unchanging:
            version = self._weights.version
            assert version is not None
            return self._decoders.session(limits, version, on_report)

    def scored(self, length: int) -> ScoredSequence:
        """Begin a sequence of at most `length` tokens whose log-probabilities are asked for, under the present weights.

        Raises ConfigError where the C functions cannot run.
        """
        self.pull()
        with self._weights.unchanging:
            return self._decoders.scored(length)


class Decoders(Protocol):
    """The decoders of a device, one per worker thread."""

    def check(self, weights: Mapping[str, Tensor]) -> None:
        """Raise ModelError for a missing or misshapen parameter."""
        ...

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Copy new weights."""
        ...

    def generate(
        self,
        requests: Sequence[Request],
        default: SamplingParams,
        finished: Finished | None,
        weights_version: int,
    ) -> Generated:
        """Decode one or more requests; `finished` may be called by any thread."""
        ...

    def session(
        self, limits: SessionLimits, weights_version: int, on_report: Callable[[], None]
    ) -> Session:
        """Open a session over the present weights, which it keeps."""
        ...

    def scored(self, length: int) -> ScoredSequence:
        """Begin a sequence to score; raise ConfigError where that cannot be done."""
        ...


def _decoders(
    config: PretrainedConfig,
    dtype: torch.dtype,
    device: torch.device,
    slots: int,
    limits: CacheLimits,
) -> Decoders:
    """Return decoders in C where the C functions run, else in PyTorch."""
    if runs_in_c(ModelShape.of(config), dtype, device):
        return CpuDecoders(config, dtype, slots)
    return TorchDecoders(config, dtype, device, slots, limits)


class CpuDecoders:
    """Decoders in C, one per core.

    Cores take prompts from one queue, since a completion in C does not depend on what is decoded at the same time; nor does
    it on which rank of a stage decodes it, so that the ranks share the queue.
    """

    def __init__(self, config: PretrainedConfig, dtype: torch.dtype, slots: int) -> None:
        """slots: most samples decoded at a time, by all cores together."""
        self._model, self._slots = PackedModel(config, dtype), slots
        self._workers: list[CpuDecoder] = []

    def check(self, weights: Mapping[str, Tensor]) -> None:
        """See `Decoders`."""
        self._model.check(weights)

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """See `Decoders`."""
        self._model.load(weights)

    def generate(
        self,
        requests: Sequence[Request],
        default: SamplingParams,
        finished: Finished | None,
        weights_version: int,
    ) -> Generated:
        """See `Decoders`."""
        limits = [params_of(request, default).max_tokens for request in requests]
        prompts = [len(request.prompt_ids) for request in requests]
        # Before any decoder begins: C reads the RoPE tables by their address, which growing changes.
        self._model.reserve(max(map(sum, zip(prompts, limits, strict=True))))
        group = ranks()
        # No more cores than samples, and at least one, even where no request has samples.
        samples = min(self._slots, sum(request.samples for request in requests))
        cores = max(1, min(worker_count(torch.device("cpu")), samples))
        # Never fewer: workers keep their memory for the next call, which may need all of them again.
        while len(self._workers) < cores:
            self._workers.append(CpuDecoder(self._model))
        # One queue for all cores of all ranks: a core whose samples end early takes more prompts than the others.
        # Every rank must compute the same shares, since `claims` hands out their numbers; so nothing in it may differ
        # between ranks.
        all_cores = max(1, min(cores * group.size, samples))
        shares = split_requests(requests, default, all_cores)
        claim = group.claims(len(shares))

        def take() -> PromptShare | None:
            number = claim()
            return None if number is None else shares[number]

        slots_per_core = -(-samples // all_cores)  # rounded up
        sizes = memory_sizes(self._model, max(prompts), max(limits), len(shares), slots_per_core)
        jobs = [
            partial(worker.generate, requests, take, sizes, max(limits), finished, weights_version)
            for worker in self._workers[:cores]
        ]
        results = run_parallel(jobs)
        return _drawn(results), results

    def session(
        self, limits: SessionLimits, weights_version: int, on_report: Callable[[], None]
    ) -> Session:
        """See `Decoders`."""
        prompt, response = limits.prompt_tokens, limits.response_tokens
        # before the workers start: they hold the address of the RoPE tables
        self._model.reserve(min(prompt + response, limits.positions))
        cores = max(1, min(worker_count(torch.device("cpu")), self._slots))
        slots_per_core = -(-self._slots // cores)
        sizes = memory_sizes(self._model, prompt, response, slots_per_core + 1, slots_per_core)
        size = (sizes.slots, response)

        def make(take: Callable[[], PromptShare | None], finish: Finished) -> DecodeLoop:
            memory = CpuMemory(self._model, sizes)
            return DecodeLoop(self._model, memory, size, take, finish, weights_version)

        return Session(make, limits, cores, cores * sizes.slots, weights_version, on_report)

    def scored(self, length: int) -> ScoredSequence:
        """See `Decoders`."""
        self._model.reserve(length)
        return ScoredSequence(self._model, length)


class TorchDecoders:
    """Decoders in PyTorch: one per CPU thread, or one on a GPU.

    Requests are split over the threads of all ranks beforehand, so that one seed and one number of threads give one result:
    on a GPU a completion may differ in its last bits with those that are decoded at the same time.
    """

    def __init__(
        self,
        config: PretrainedConfig,
        dtype: torch.dtype,
        device: torch.device,
        slots: int,
        limits: CacheLimits,
    ) -> None:
        """slots: most samples decoded at a time, by all threads together. limits: of the KV cache."""
        self._new_model = partial(TorchModel, config, dtype, device)
        self._model, self._slots, self._limits = self._new_model(), slots, limits
        self._workers: list[TorchDecoder] = []
        self._sessions: WeakSet[Session] = WeakSet()
        """Those that read the present model."""

    def check(self, weights: Mapping[str, Tensor]) -> None:
        """See `Decoders`."""
        self._model.weights.check(weights)

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """See `Decoders`; weights are copied in place, but not under an open session."""
        if any(not session.closed for session in self._sessions):
            # The open session keeps the old model alive and reads it undisturbed; it costs a second copy until it is closed.
            self._model = self._new_model()
            # captured steps of the old model read its weights
            self._workers.clear()
        self._sessions.clear()
        self._model.weights.load(weights)

    def generate(
        self,
        requests: Sequence[Request],
        default: SamplingParams,
        finished: Finished | None,
        weights_version: int,
    ) -> Generated:
        """See `Decoders`. Requests with different sampling parameters are decoded one set after another.

        A captured step holds its parameters as constants, and one draw per step is faster than several.
        """
        longest = max(
            len(request.prompt_ids) + params_of(request, default).max_tokens for request in requests
        )
        # before any step is captured: a graph holds the address of the RoPE tables
        self._model.reserve(longest)
        completions: dict[tuple[int, int], Completion] = {}
        results: list[DecodeResults] = []
        for params, indices in group_by_params(requests, default).items():
            results += self._generate_group(
                requests, params, indices, finished, weights_version, completions
            )
        # After the whole call: one set of parameters after another has used the same caches.
        if not self._keeps_caches():
            self._workers.clear()
        return completions, results

    def _generate_group(
        self,
        requests: Sequence[Request],
        params: SamplingParams,
        indices: list[int],
        finished: Finished | None,
        weights_version: int,
        completions: dict[tuple[int, int], Completion],
    ) -> list[DecodeResults]:
        """Decode this rank's part of the requests at `indices`, which share `params`, into `completions`."""
        group, workers = ranks(), worker_count(self._model.device)
        count = max(1, min(workers * group.size, len(indices), self._slots))
        # round-robin, so that each part gets prompts of all lengths
        parts = [indices[i::count] for i in range(count)]
        # Every rank makes all parts and takes its own by number; nothing is exchanged before. The last ranks may have none.
        mine = parts[group.rank * workers : (group.rank + 1) * workers]
        jobs = [
            partial(
                worker.generate,
                [requests[i] for i in part],
                params,
                _renumbered(finished, part),
                weights_version,
            )
            for worker, part in zip(self._resized(len(mine), count), mine, strict=True)
        ]
        results = run_parallel(jobs) if jobs else []
        for part, result in zip(mine, results, strict=True):
            completions |= {
                (part[number], sample): completion
                for (number, sample), completion in result.completions.items()
            }
        return results

    def scored(self, length: int) -> ScoredSequence:
        """See `Decoders`."""
        raise ConfigError(
            "Log-probabilities of given tokens are computed on a CPU with the C functions only, which this device or data type "
            "does not have. Install a C compiler (cc, gcc or clang) and use device='cpu'."
        )

    def session(
        self, limits: SessionLimits, weights_version: int, on_report: Callable[[], None]
    ) -> Session:
        """See `Decoders`. One worker: on a CPU it computes each product with all threads."""
        # whole RoPE tables: the session's captured steps read them where they are
        self._model.reserve(limits.positions)
        make = session_loop(self._model, self._slots, self._limits, limits, weights_version)
        session = Session(make, limits, 1, self._slots, weights_version, on_report)
        self._sessions.add(session)
        return session

    def _resized(self, count: int, all_ranks: int) -> list[TorchDecoder]:
        """Return `count` decoders of `all_ranks` on all ranks: those of the last call if their sizes were the same."""
        slots = -(-self._slots // all_ranks)
        if [worker.slots for worker in self._workers] != [slots] * count:
            self._workers = [
                TorchDecoder(self._model, slots, self._limits, count) for _ in range(count)
            ]
        return self._workers

    def _keeps_caches(self) -> bool:
        """Return True if KV caches, and the steps captured over them, stay for the next call.

        A large cache on a GPU does not stay: the learner needs the memory, and PyTorch's allocator gives it back fast.
        """
        device = self._model.device
        if device.type == "cpu":
            return True
        cached = sum(worker.bytes for worker in self._workers)
        return cached <= KEPT_CACHE * torch.cuda.get_device_properties(device).total_memory


def _drawn(results: Sequence[DecodeResults]) -> Drawn:
    """Return the completions of decoders that shared the same requests; each was finished by exactly one of them."""
    completions: dict[tuple[int, int], Completion] = {}
    for result in results:
        completions |= result.completions
    return completions


def _renumbered(finished: Finished | None, indices: list[int]) -> Finished | None:
    """Return `finished` for a decoder whose request i is request `indices[i]` of the call."""
    if finished is None:
        return None
    return lambda request, sample, completion: finished(indices[request], sample, completion)


def _stats(results: Sequence[DecodeResults], seconds: float, version: int) -> SamplerStats:
    """Return the statistics of all decoders of this rank together; the time for prompts is the mean over the decoders."""
    steps = sum(result.steps for result in results)
    # None where a rank had nothing to decode.
    prefill = sum(result.seconds_prefill for result in results) / max(1, len(results))
    possible = sum(result.steps * result.slots for result in results)
    return SamplerStats(
        tokens=sum(result.tokens for result in results),
        seconds_prefill=prefill,
        seconds_decode=seconds - prefill,
        steps=steps,
        occupancy=sum(result.slot_steps for result in results) / possible if possible else 0.0,
        weights_version=version,
    )
