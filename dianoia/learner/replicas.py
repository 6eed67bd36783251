"""Replicas of a model, which work on different micro-batches at the same time, and the all-reduce of their gradients.

In: a model and micro-batches. Out: the results per replica, and the sum of all gradients in the model itself. `Replicas`
is the protocol; `ThreadReplicas` are copies in one process that share their weights, one CPU thread per copy. Left out:
optimizer steps, which `learner.trainer` takes.
"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import partial
from typing import Generic, Protocol, TypeVar

import torch
from torch import Tensor, nn

from dianoia.hardware.threads import run_parallel, split_round_robin, worker_count

M = TypeVar("M", bound=nn.Module)
M_co = TypeVar("M_co", bound=nn.Module, covariant=True)
B = TypeVar("B")
R = TypeVar("R")


class Replicas(Protocol[M_co]):
    """Where the micro-batches of a step run."""

    @property
    def count(self) -> int:
        """Number of replicas."""
        ...

    def run(self, job: Callable[[M_co, Sequence[B]], R], micro_batches: Sequence[B]) -> list[R]:
        """Split the micro-batches over the replicas; returns the result of `job` per replica, in the order of replicas.

        Replica r of n gets micro-batches r, r + n, r + 2n, ... There is at least one result, even without micro-batches.
        """
        ...

    def reduce_gradients(self) -> None:
        """Leave the sum of all replicas' gradients in the model's `.grad`."""
        ...

    def gradient_norm(self, parameters: Sequence[Tensor]) -> float:
        """Return the Euclidean norm of the reduced gradients of `parameters`."""
        ...


class ThreadReplicas(Generic[M]):
    """Copies of a model in one process: the same weights in memory, gradients of their own, one CPU thread per copy.

    No two threads add to one gradient at once, and gradients are added up in the order of the replicas, so that a
    number of threads gives one result. Weights have to be changed in place once the replicas exist.
    """

    def __init__(self, model: M, count: int | None = None) -> None:
        """Copy `model` `count` - 1 times; None: one replica per CPU thread, one on any other device."""
        device = next(model.parameters()).device
        count = worker_count(device) if count is None else count
        # The model itself is the first replica, so that the summed gradients are in its `.grad`.
        self.models = [model, *(_weight_sharing_copy(model) for _ in range(count - 1))]

    @property
    def count(self) -> int:
        """Number of replicas."""
        return len(self.models)

    def run(self, job: Callable[[M, Sequence[B]], R], micro_batches: Sequence[B]) -> list[R]:
        """Run `job` on each replica with its share of the micro-batches, as `Replicas.run` says."""
        # The split depends on the number of replicas only, so one seed and one number give one result.
        shares = split_round_robin(micro_batches, self.count)
        return run_parallel(
            [partial(job, self.models[index], share) for index, share in enumerate(shares)]
        )

    def reduce_gradients(self) -> None:
        """Leave the sum of all replicas' gradients in the first one's `.grad`, and none in the others."""
        for replica in self.models[1:]:
            pairs = zip(self.models[0].parameters(), replica.parameters(), strict=True)
            for total, part in pairs:
                # Tied weights are one parameter in each replica, so nothing is added twice.
                if total.grad is None:
                    total.grad = part.grad
                elif part.grad is not None:
                    total.grad += part.grad
                part.grad = None

    def gradient_norm(self, parameters: Sequence[Tensor]) -> float:
        """Return the Euclidean norm of the gradients of `parameters`; a parameter without gradient counts as 0."""
        grads = [parameter.grad for parameter in parameters if parameter.grad is not None]
        return float(torch.nn.utils.get_total_norm(grads))


def _weight_sharing_copy(model: M) -> M:
    """Return a copy of `model` whose parameters and buffers are the same memory."""
    # Copied whole for a moment; the copied weights are freed below.
    replica = deepcopy(model)
    tensors, originals = ([*m.parameters(), *m.buffers()] for m in (replica, model))
    # Parameters stay separate objects with gradients of their own; only their memory is shared.
    for tensor, original in zip(tensors, originals, strict=True):
        tensor.data = original.data
    return replica
