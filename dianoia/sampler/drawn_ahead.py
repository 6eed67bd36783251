"""Rollouts that are drawn ahead of the learner, with the weights of some rollouts before: a bounded buffer, in order.

In: weights and batches of problems. Out: rollouts of the batches, in the order in which they were begun. When a batch is begun and
with which weights does not depend on the speed of anything, so results are those of a seed. With servers, batches are drawn in a
thread while the learner trains; in this process they are drawn when they are begun, since both would want the same cores.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dianoia.base.records import Completion, Problem, Rollout, SamplingParams
from dianoia.learner.lora import AdaptedWeights, MergedWeights
from dianoia.sampler.interface import WeightUpdate
from dianoia.sampler.rollouts import RolloutSampler

RolloutsPG = list[list[Rollout]]


@dataclass(frozen=True, slots=True)
class AheadBatch:
    """Problems that are drawn together."""

    keys: Sequence[tuple[int, ...]]
    problems: Sequence[Problem]
    samples: int
    """Per problem."""
    params: SamplingParams


class DrawnAhead:
    """The buffer. Close it to end its thread."""

    def __init__(self, roller: RolloutSampler, *, in_background: bool) -> None:
        self._roller = roller
        self._thread = ThreadPoolExecutor(1, "rollouts") if in_background else None
        self._buffer: deque[tuple[AheadBatch, Future[RolloutsPG]]] = deque()
        self._copy: WeightUpdate | None = None
        """The weights of the last batch that was begun, copied: the learner changes its own."""

    def __len__(self) -> int:
        return len(self._buffer)

    def close(self) -> None:
        """Drop everything that was not taken."""
        if self._thread is not None:
            self._thread.shutdown(cancel_futures=True)

    def begin(self, batch: AheadBatch, update: WeightUpdate) -> None:
        """Draw a batch with these weights, which may change afterwards, behind all batches that were begun before."""
        if self._thread is None:
            future: Future[RolloutsPG] = Future()
            future.set_result(self._draw(batch, update))
        else:
            if self._copy is None or self._copy.version != update.version:
                self._copy = WeightUpdate(update.version, copied(update.tensors))
            future = self._thread.submit(self._draw, batch, self._copy)
        self._buffer.append((batch, future))

    def _draw(self, batch: AheadBatch, update: WeightUpdate) -> RolloutsPG:
        self._roller.sampler.load(update)
        return self._roller.with_keys(batch.keys, batch.problems, batch.samples, batch.params)

    def take(self) -> RolloutsPG:
        """Return the rollouts of the oldest batch, once they are there. Raises what drawing it has raised."""
        # Taken off last: it counts until its rollouts are there, and an error leaves the buffer as it was.
        _, future = self._buffer[0]
        rollouts_PG = future.result()
        self._buffer.popleft()
        return rollouts_PG

    def finish(self) -> None:
        """Wait until every batch that was begun is drawn, so that others may use the sampler. Raises what drawing has raised."""
        for _, future in self._buffer:
            future.result()

    # State ---------------------------------------------------------------------------------------

    def state(self) -> list[dict[str, Any]]:
        """Return all completions in the buffer, as tensors and plain values, once they are drawn."""
        return [
            completions_state([[rollout.completion for rollout in row] for row in future.result()])
            for _, future in self._buffer
        ]

    def load_state(self, batches: Sequence[AheadBatch], state: Sequence[Mapping[str, Any]]) -> None:
        """Fill the empty buffer from `state()` with the same batches."""
        for batch, saved in zip(batches, state, strict=True):
            completions_PG = completions_of(saved, batch.samples)
            future: Future[RolloutsPG] = Future()
            # Completions are saved and not rollouts: text and thoughts follow from the ids, and are parsed anew.
            future.set_result(self._roller.parse(batch.problems, completions_PG))
            self._buffer.append((batch, future))


def copied(weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Return weights as they are now, in the main memory; those that adapters leave frozen are shared."""
    adapted = weights.adapted() if isinstance(weights, MergedWeights) else weights
    if isinstance(adapted, AdaptedWeights):
        return adapted.copy()
    if isinstance(weights, MergedWeights):
        # In shards: gathered when it is read, a tensor may have the address of one that is gone.
        return {name: tensor.detach().to("cpu", copy=True) for name, tensor in weights.items()}
    # Tied parameters are one tensor under two names, and stay so.
    copies: dict[int, Tensor] = {}
    return {
        name: copies.setdefault(tensor.data_ptr(), tensor.detach().to("cpu", copy=True))
        for name, tensor in weights.items()
    }


def completions_state(completions_PG: Sequence[Sequence[Completion]]) -> dict[str, Any]:
    """Return completions as tensors, exact to the last bit."""
    flat = [completion for row in completions_PG for completion in row]
    return {
        "lengths": torch.tensor([len(completion.ids) for completion in flat]),
        "ids": torch.tensor([token for completion in flat for token in completion.ids]),
        # The samplers' float32 numbers are exact in float64.
        "logprobs": torch.tensor(
            [value for completion in flat for value in completion.logprobs], dtype=torch.float64
        ),
        "stopped": torch.tensor([completion.stopped for completion in flat]),
        "versions": torch.tensor([completion.weights_version for completion in flat]),
    }


def completions_of(state: Mapping[str, Any], samples: int) -> list[list[Completion]]:
    """Return what `completions_state` was given, with so many samples per problem."""
    lengths = state["lengths"].tolist()
    rows = zip(
        state["ids"].cpu().split(lengths),
        state["logprobs"].cpu().split(lengths),
        state["stopped"].tolist(),
        state["versions"].tolist(),
        strict=True,
    )
    flat = [
        Completion(tuple(ids.tolist()), tuple(logprobs.tolist()), stopped, version)
        for ids, logprobs, stopped, version in rows
    ]
    return [flat[first : first + samples] for first in range(0, len(flat), samples)]
