"""Proof that a server has the weights that it was given: its log-probabilities of a few samples against those of the weights.

In: a server's samples of fixed prompts. Out: the gap between its log-probabilities and ours; EndpointError, which names what was kept,
if it is too large. Samples, since they take the whole path of a rollout: the prefix cache, the processed log-probabilities, the head. The
server's own checksums prove nothing: a build that packs its weights sums up empty tensors (vLLM on a CPU, `/weight_checker`).

Optimizer steps may change log-probabilities by less than a server's rounding. So before the first rollout a server is also given
`ChangedWeights`, in which every tensor differs by far more than that: what does not reach the server then shows at once.
"""

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import torch
from torch import Tensor
from transformers import PretrainedConfig

from dianoia.base.errors import EndpointError
from dianoia.base.records import Completion, SamplingParams
from dianoia.learner.lora import AdaptedWeights, Adapters
from dianoia.sampler.served.streamed_model import HEAD, StreamedModel, head_of
from dianoia.sampler.served.token_route import TokenRequest

_PROMPTS = (7, 150, 350)
"""Tokens of the prompts. The longer ones fill blocks of a prefix cache (16 to 128 tokens)."""
_RESPONSE = 16
_CONTEXT = 512
"""Positions of a sample, at most."""
_LARGEST = {"float32": 2e-3, "bfloat16": 0.6, "float16": 0.2}
"""Largest gap of one token, by the dtype of the server's weights."""
_MEAN = {"float32": 2e-4, "bfloat16": 0.03, "float16": 0.01}
"""Largest mean gap. Measured with vLLM on a CPU: 2e-6 in float32; 0.007 in bfloat16 of a tiny model, 0.002 of larger ones."""
_CHANGE = 0.3
"""Share of each row of a tensor that `ChangedWeights` replaces by the row before."""


def probes(vocabulary: int, special: Collection[int], context: int) -> list[TokenRequest]:
    """Return the samples to ask for: fixed tokens that are no special ones, within `context` positions."""
    # In a short context several become equal; the set below asks for each length once.
    lengths = [min(length, context - _RESPONSE) for length in _PROMPTS]
    # No end token: each response has its whole length.
    params = SamplingParams(_RESPONSE, frozenset())
    return [
        TokenRequest(_tokens(length, vocabulary, special), params, seed)
        # Sorted: `_reason` takes the first answer for the one that fits into no block of a prefix cache.
        for seed, length in enumerate(sorted({*lengths}), 1)
    ]


def _tokens(count: int, vocabulary: int, special: Collection[int]) -> tuple[int, ...]:
    ids: list[int] = []
    number = 0
    while len(ids) < count:
        # `count` is in it, so that no prompt begins like another one: the cache of one would answer for the next.
        digest = hashlib.sha256(f"probe-{count}-{number}".encode()).digest()
        token = int.from_bytes(digest[:8], "big") % vocabulary
        number += 1
        if token not in special:
            ids.append(token)
    return tuple(ids)


@dataclass(frozen=True, slots=True)
class Gap:
    """Difference between log-probabilities of a server and of the weights, per token."""

    largest: float
    mean: float

    @classmethod
    def between(cls, served: Sequence[Sequence[float]], own: Sequence[Sequence[float]]) -> "Gap":
        """Return the gap over all tokens of several samples."""
        pairs = [pair for rows in zip(served, own, strict=True) for pair in zip(*rows, strict=True)]
        gaps = [abs(a - b) for a, b in pairs]
        return cls(max(gaps), fmean(gaps))

    def is_within(self, dtype: str) -> bool:
        """Return True if a server of this dtype may round so; False for a NaN."""
        # An unknown dtype, such as a quantized one, gets the widest bounds. With a NaN both comparisons are false.
        name = dtype if dtype in _MEAN else "bfloat16"
        return self.largest <= _LARGEST[name] and self.mean <= _MEAN[name]

    def __str__(self) -> str:
        return f"{self.mean:.2g} in the mean and {self.largest:.2g} at most"


Answers = Sequence[tuple[TokenRequest, Completion]]
"""Samples of a server, the shortest prompt first."""


class Proof:
    """What a server has to answer under some weights."""

    def __init__(
        self, model: StreamedModel, config: PretrainedConfig, weights: Mapping[str, Tensor]
    ) -> None:
        """config: of the language model."""
        self.weights = weights
        self._model, self._config = model, config

    def requests(self, context: int | None) -> list[TokenRequest]:
        """Return the samples to ask a server for that takes so many tokens."""
        limits = (context, getattr(self._config, "max_position_embeddings", None), _CONTEXT)
        shortest = min(limit for limit in limits if limit is not None)
        return probes(self._config.vocab_size, special_ids(self._config), shortest)

    def gap(self, answers: Answers) -> Gap:
        """Return the gap of a server's samples."""
        return Gap.between(_served(answers), self._own(self.weights, answers))

    def check(
        self,
        url: str,
        dtype: str,
        answers: Answers,
        before: Mapping[str, Tensor] | None = None,
        cause: tuple[str, str] | None = None,
    ) -> Gap:
        """Return the gap; raise EndpointError, which says which weights the server has instead, if it is too large.

        before: the weights that the server had. cause: the reason and what to do, where both are known.
        """
        gap = self.gap(answers)
        if gap.is_within(dtype):
            return gap
        reason, cure = cause or self._reason(dtype, answers, before)
        raise EndpointError(
            f"the server {url} does not answer with the weights that it was given: log-probabilities of {len(answers)} fixed "
            f"samples are off by {gap} ({dtype}); {reason}; {cure}. Nothing was sampled with it"
        )

    def _reason(
        self, dtype: str, answers: Answers, before: Mapping[str, Tensor] | None
    ) -> tuple[str, str]:
        """Return which weights explain the answers, and what to do about it."""
        served = _served(answers)
        # From the most particular cause to the vaguest: the first that explains all answers is named.
        if before is not None:
            if Gap.between(served, self._own(before, answers)).is_within(dtype):
                return (
                    "they are those of the weights before, so that the load had no effect",
                    "see the server's log, and load from a path that it can read",
                )
            with_old_head = _WithHead(self.weights, head_of(before, self._model.is_tied))
            if Gap.between(served, self._own(with_old_head, answers)).is_within(dtype):
                return (
                    "they are those of the new weights with the old output head: a server that was started from a folder with "
                    "tied embeddings keeps its packed head at a reload",
                    "start it from a folder with tie_word_embeddings false and a tensor lm_head.weight, as stages that start "
                    "servers do",
                )
        if self.gap(answers[:1]).is_within(dtype):
            return (
                "the shortest prompt is answered right, and longer ones are not: a prefix cache still holds what the old "
                "weights computed",
                "restart the server; --no-enable-prefix-caching switches the cache off",
            )
        return (
            "some tensors are older, or were left out without a word",
            "see the server's log for tensors that it did not load, and restart it",
        )

    def _own(self, weights: Mapping[str, Tensor], answers: Answers) -> list[list[float]]:
        sequences = [(request.prompt_ids, completion.ids) for request, completion in answers]
        return self._model.logprobs(weights, sequences)


def _served(answers: Answers) -> list[tuple[float, ...]]:
    return [completion.logprobs for _, completion in answers]


class _WithHead(Mapping[str, Tensor]):
    """Weights with another output head."""

    def __init__(self, weights: Mapping[str, Tensor], head: Tensor) -> None:
        self._weights, self._head = weights, head

    def __getitem__(self, name: str) -> Tensor:
        # Also under a tied head, whose name is then not among the weights: `head_of` prefers HEAD where it is present.
        return self._head if name == HEAD else self._weights[name]

    def __contains__(self, name: object) -> bool:
        return name == HEAD or name in self._weights

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([*self._weights, HEAD]))

    def __len__(self) -> int:
        return len([*self])


class ChangedWeights(Mapping[str, Tensor]):
    """Weights of which every tensor differs, by far more than a server rounds. A tied head stays the embedding."""

    def __init__(self, weights: Mapping[str, Tensor], is_tied: bool) -> None:
        self._weights, self._is_tied = weights, is_tied

    def __getitem__(self, name: str) -> Tensor:
        if name == HEAD and self._is_tied:
            return _changed(head_of(self._weights, True))
        return _changed(self._weights[name])

    def __contains__(self, name: object) -> bool:
        return name in self._weights

    def __iter__(self) -> Iterator[str]:
        return iter(self._weights)

    def __len__(self) -> int:
        return len(self._weights)


def changed_adapters(weights: AdaptedWeights) -> AdaptedWeights:
    """Return the weights with adapters of which every one is far from 0, as those of a new model are."""
    adapters = weights.adapters
    matrices = {
        # B is what begins at 0, and with it the whole product; A is random from the start.
        name: (A.detach(), B.detach() + _pattern(B))
        for name, (A, B) in adapters.matrices.items()
    }
    return AdaptedWeights(weights.frozen, Adapters(matrices, adapters.settings))


def _pattern(matrix: Tensor) -> Tensor:
    """Return numbers of -0.05, 0 and 0.05 in the shape of a matrix."""
    rows, columns = (torch.arange(size, device=matrix.device) for size in matrix.shape)
    # A pattern and not random numbers: the same for every process, and no state of a generator is touched.
    return ((rows[:, None] + 2 * columns[None]) % 3 - 1).to(matrix.dtype) * 0.05


def _changed(tensor: Tensor) -> Tensor:
    with torch.no_grad():
        if not tensor.is_floating_point() or not tensor.dim():
            return tensor
        # Each row gets a part of the one before: a cheap change that no norm behind it takes back. The factor is for
        # vectors of equal numbers, such as new norms.
        return 0.9 * ((1 - _CHANGE) * tensor + _CHANGE * tensor.roll(1, 0))


def special_ids(config: PretrainedConfig) -> frozenset[int]:
    """Return the ids that a configuration names, such as ends and placeholders of images."""
    ids: set[int] = set()
    for key, value in vars(config).items():
        if key.endswith(("token_id", "token_index")):
            ids.update(value if isinstance(value, list | tuple) else [value])
    return frozenset(token for token in ids if isinstance(token, int))
