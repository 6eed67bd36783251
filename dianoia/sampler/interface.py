"""The sampler role: the protocol of every sampler, its inputs and its statistics.

In: `Request`s (prompt ids, number of samples, key), `SamplingParams` and `WeightUpdate`s. Out: `Completion`s.
Not here: text, templates and judging. A sampler only knows token ids.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock, RLock, get_ident
from typing import Protocol, runtime_checkable

import torch

from dianoia.base.errors import ConfigError
from dianoia.base.records import Completion, Request, SamplingParams

OnFinish = Callable[[int, int, Completion], None]
"""Called with (request index, sample index, completion) when a sample ends, in the order in which samples end."""


@dataclass(frozen=True, slots=True)
class WeightUpdate:
    """Weights that a learner publishes for a sampler.

    The sampler copies them when its next `generate` begins. Until then the tensors must stay as they are, unless a newer
    update replaces this one.
    """

    version: int
    """The learner's optimizer step. Weights of one version are copied at most once."""
    tensors: Mapping[str, torch.Tensor]
    """Every parameter under its Hugging Face name."""


@runtime_checkable
class KnowsShapes(Protocol):
    """Tensors that are made when they are read, and whose shapes are known before."""

    def shape(self, name: str) -> torch.Size:
        """Return the shape of a tensor."""
        ...


def shape_of(tensors: Mapping[str, torch.Tensor], name: str) -> torch.Size:
    """Return the shape of a published tensor; one that has to be gathered or summed is not for that."""
    return tensors.shape(name) if isinstance(tensors, KnowsShapes) else tensors[name].shape


class PendingWeights:
    """The newest published update of a sampler, and the version that the sampler serves."""

    def __init__(self) -> None:
        self._update: WeightUpdate | None = None
        self.version: int | None = None
        """Version of the weights that are in use; None before the first `pull`."""
        self.unchanging = RLock()
        """Held while weights are copied. Whoever holds it sees weights and version that belong together."""

    def publish(self, update: WeightUpdate) -> None:
        """Keep `update` for the next `pull`; an older update that was not pulled is dropped."""
        with self.unchanging:
            # weights that are in use already need no second copy
            self._update = update if update.version != self.version else None

    @property
    def is_waiting(self) -> bool:
        """True if the next `pull` copies weights."""
        return self._update is not None

    def pull(self, copy: Callable[[Mapping[str, torch.Tensor]], None]) -> int:
        """Call `copy` with the tensors of an update that waits, and return the version in use."""
        with self.unchanging:
            if self._update is not None:
                # the reference is dropped afterwards, so that the learner's tensors can be freed
                copy(self._update.tensors)
                self.version, self._update = self._update.version, None
            assert self.version is not None, "load() gives the sampler its weights; call it first"
            return self.version


class Turns:
    """Has threads that share a sampler decode one after the other: they share its KV cache and its scratch memory."""

    def __init__(self) -> None:
        # No RLock: a `generate` inside of another one must not enter, since both would use one scratch memory; `next`
        # refuses it.
        self._lock = Lock()
        self._reporting: int | None = None
        """Thread that is inside of `on_finish`."""

    @contextmanager
    def next(self) -> Iterator[None]:
        """Wait for the turn, and hold it. Raises RuntimeError inside of `on_finish`, whose `generate` holds the turn."""
        if self._reporting == get_ident():
            raise RuntimeError(
                "on_finish must not call its own sampler: the call would wait for the one that it reports from. "
                "Take note of the completion, and sample once generate() has returned."
            )
        with self._lock:
            yield

    def reporting(self, on_finish: OnFinish | None) -> OnFinish | None:
        """Return the caller's function behind a lock, so that no two threads enter it at once."""
        if on_finish is None:
            return None
        # A lock of its own for each call: `_lock` is held during the whole `generate`, and decoders report from their threads.
        lock, call = Lock(), on_finish

        def locked(request: int, sample: int, completion: Completion) -> None:
            with lock:
                self._reporting = get_ident()
                try:
                    call(request, sample, completion)
                finally:
                    self._reporting = None

        return locked


@dataclass(frozen=True, slots=True)
class SamplerStats:
    """Statistics of the last `generate`."""

    tokens: int = 0
    """Response tokens, end-of-sequence ids included."""
    seconds_prefill: float = 0.0
    """Time for prompts and first tokens."""
    seconds_decode: float = 0.0
    """All other time, including the time spent in `on_finish`."""
    steps: int = 0
    """Decoding steps; each one draws one token per live sample."""
    occupancy: float = 0.0
    """Mean share of the slots that held a live sample, over the steps."""
    weights_version: int = 0
    """Version of the weights that the completions come from."""

    @property
    def tokens_per_second(self) -> float:
        """Response tokens per second of the whole call."""
        seconds = self.seconds_prefill + self.seconds_decode
        return self.tokens / seconds if seconds else 0.0


class Sampler(Protocol):
    """Samples completions from a causal language model. Threads may share one: their calls take turns."""

    @property
    def stats(self) -> SamplerStats:
        """Statistics of the last `generate`."""
        ...

    @property
    def vocabulary(self) -> int:
        """Number of token ids that the model knows."""
        ...

    def load(self, update: WeightUpdate) -> None:
        """Take note of new weights, which the next `generate` copies and uses.

        Loading is cheap: of several updates before a `generate` only the last one is copied.
        Raises ModelError if a parameter is missing or has another shape.
        """
        ...

    def pull(self) -> int:
        """Copy the weights of the last `load` now, if they are new, and return the version in use."""
        ...

    def generate(
        self,
        requests: Sequence[Request],
        params: SamplingParams,
        on_finish: OnFinish | None = None,
    ) -> list[list[Completion]]:
        """Return one list per request, in the order of `requests`, with one completion per sample.

        A request that has sampling parameters of its own is sampled under them, all others under `params`.
        Raises ConfigError before any work if parameters are out of range or a prompt is too long, and RuntimeError for a call
        from inside of `on_finish`.
        """
        ...


def params_of(request: Request, default: SamplingParams) -> SamplingParams:
    """Return the sampling parameters of a request: its own, or the default of the call."""
    return default if request.params is None else request.params


def group_by_params(
    requests: Sequence[Request], default: SamplingParams
) -> dict[SamplingParams, list[int]]:
    """Return the indices of the requests under each set of sampling parameters, in order of appearance."""
    # a dict keeps insertion order, so the order of groups does not depend on hashes
    indices: dict[SamplingParams, list[int]] = {}
    for index, request in enumerate(requests):
        indices.setdefault(params_of(request, default), []).append(index)
    return indices


def check_requests(
    requests: Sequence[Request], default: SamplingParams, positions: int | None
) -> None:
    """Raise ConfigError for requests that a model of `positions` positions (None: unknown) cannot serve."""
    _check_params(default)
    for index, request in enumerate(requests):
        if not request.prompt_ids:
            raise ConfigError(
                f"Request {index} has an empty prompt, so there is nothing to continue. "
                "Start the prompt with at least one token, usually the beginning-of-text id."
            )
        params = params_of(request, default)
        if params is not default:  # the default was checked above
            _check_params(params)
        _check_length(index, len(request.prompt_ids), params.max_tokens, positions)


def _check_params(params: SamplingParams) -> None:
    """Raise ConfigError for a parameter outside its range."""
    rules = (
        ("max_tokens", params.max_tokens, params.max_tokens >= 1, "1 or more"),
        ("temperature", params.temperature, params.temperature >= 0, "0 (greedy) or more"),
        (
            "top_p",
            params.top_p,
            0 < params.top_p <= 1,
            "above 0 and at most 1 (1 keeps everything)",
        ),
        ("top_k", params.top_k, params.top_k >= 0, "0 (keeps everything) or more"),
    )
    for name, value, in_range, allowed in rules:
        if not in_range:
            raise ConfigError(f"{name}={value} cannot be used for sampling: set it to {allowed}.")


def _check_length(index: int, prompt: int, response: int, positions: int | None) -> None:
    """Raise ConfigError for a sample that could run past the model's last position."""
    if positions is not None and prompt + response > positions:
        raise ConfigError(
            f"Request {index} needs {prompt + response} positions ({prompt} prompt tokens + "
            f"max_tokens={response}), but the model has max_position_embeddings={positions}. "
            f"Set max_tokens to {max(positions - prompt, 0)} or less, or shorten the prompt."
        )
