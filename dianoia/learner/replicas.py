"""Replicas of a model, which work on different micro-batches at the same time, and the all-reduce of their gradients.

In: a model and micro-batches. Out: the results per replica, and the sum of all gradients in the model itself. `Replicas`
is the protocol; a `Replica` is a model by itself, `ThreadReplicas` are copies in one process that share their weights, one
CPU thread per copy, and `RankReplicas` are those of all ranks of a stage. Left out: optimizer steps, which `learner.trainer`
takes, on every rank alike.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from functools import partial
from typing import Any, Generic, Protocol, TypeVar, cast

import torch
from torch import Tensor, nn

from dianoia.distributed.group import RankGroup, ranks
from dianoia.hardware.threads import (
    compute_threads,
    run_parallel,
    split_round_robin,
    worker_count,
)

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

    def accumulate(
        self, loss: Callable[[M_co, B], tuple[Tensor, R]], micro_batches: Sequence[B]
    ) -> list[list[R]]:
        """Leave the gradient of the sum of all losses in the model's `.grad`; returns what `loss` reports, as `run` does.

        `loss` returns the loss of one micro-batch, divided by the denominator of the whole step, and any report.
        """
        ...

    def gradient_norm(self, parameters: Sequence[Tensor]) -> float:
        """Return the Euclidean norm of the gradients of `parameters`; a parameter without gradient counts as 0."""
        ...


class Replica(Generic[M]):
    """A model by itself, which works in the caller's thread with all of its compute threads."""

    def __init__(self, model: M) -> None:
        self.model = model

    @property
    def count(self) -> int:
        """Number of replicas."""
        return 1

    def run(self, job: Callable[[M, Sequence[B]], R], micro_batches: Sequence[B]) -> list[R]:
        """Run `job` on all micro-batches."""
        return [job(self.model, micro_batches)]

    def accumulate(
        self, loss: Callable[[M, B], tuple[Tensor, R]], micro_batches: Sequence[B]
    ) -> list[list[R]]:
        """Add up the gradients of the micro-batches in their order, as `Replicas.accumulate` says."""
        nn.Module.zero_grad(self.model)
        reports = []
        for micro_batch in micro_batches:
            # The graph of a micro-batch is freed by its backward pass, before the next one is built.
            value, report = loss(self.model, micro_batch)
            value.backward()  # type: ignore[no-untyped-call]
            reports.append(report)
        return [reports]

    def gradient_norm(self, parameters: Sequence[Tensor]) -> float:
        """Return the Euclidean norm of the gradients of `parameters`; a parameter without gradient counts as 0."""
        grads = [parameter.grad for parameter in parameters if parameter.grad is not None]
        return float(torch.nn.utils.get_total_norm(grads))


class ThreadReplicas(Replica[M]):
    """A model and copies of it: the same weights in memory, gradients of their own, one CPU thread per copy.

    No two threads add to one gradient at once, and gradients are added up in the order of the replicas, so that a
    number of threads gives one result. Weights have to be changed in place once the replicas exist.
    """

    def __init__(self, model: M, count: int) -> None:
        """Copy `model` `count` - 1 times."""
        super().__init__(model)
        # The model itself is the first replica, so that the summed gradients are in its `.grad`.
        copies = [_weight_sharing_copy(model) for _ in range(count - 1)]
        self.replicas = [Replica(replica) for replica in (model, *copies)]

    @property
    def count(self) -> int:
        """Number of replicas."""
        return len(self.replicas)

    def run(self, job: Callable[[M, Sequence[B]], R], micro_batches: Sequence[B]) -> list[R]:
        """Run `job` on each replica with its share of the micro-batches, as `Replicas.run` says."""
        # The split depends on the number of replicas only, so one seed and one number give one result.
        shares = split_round_robin(micro_batches, self.count)
        pairs = zip(self.replicas, shares, strict=False)
        results = run_parallel([partial(replica.run, job, share) for replica, share in pairs])
        return [result for (result,) in results]

    def accumulate(
        self, loss: Callable[[M, B], tuple[Tensor, R]], micro_batches: Sequence[B]
    ) -> list[list[R]]:
        """Each replica adds up the gradients of its share; then replicas are summed in their order."""
        shares = split_round_robin(micro_batches, self.count)
        pairs = zip(self.replicas, shares, strict=False)
        reports = run_parallel([partial(part.accumulate, loss, share) for part, share in pairs])
        self._reduce_gradients()
        return [report for (report,) in reports]

    def _reduce_gradients(self) -> None:
        """Leave the sum of all replicas' gradients in the model's `.grad`, and none in its copies."""
        for replica in self.replicas[1:]:
            pairs = zip(self.model.parameters(), replica.model.parameters(), strict=True)
            for total, part in pairs:
                # Tied weights are one parameter in each replica, so nothing is added twice.
                if total.grad is None:
                    total.grad = part.grad
                elif part.grad is not None:
                    total.grad += part.grad
                part.grad = None


class RankReplicas(ThreadReplicas[M]):
    """The replicas of all ranks, each rank with as many in threads of its own; every result is the same on all ranks.

    Replica number `rank * lanes + thread` has the share that it would have in one process with all replicas, and everything
    is added up in the order of replicas. So the results are those of that process, to the last bit on a CPU.
    """

    def __init__(self, model: M, group: RankGroup) -> None:
        """Copy `model` for the other threads of this rank. All ranks have the same weights, and keep them the same."""
        super().__init__(model, group.lanes)
        self._group = group

    @property
    def count(self) -> int:
        """Number of replicas on all ranks."""
        return self._group.lanes * self._group.size

    def run(self, job: Callable[[M, Sequence[B]], R], micro_batches: Sequence[B]) -> list[R]:
        """Run `job` on the replicas of all ranks, as `Replicas.run` says."""
        shares = split_round_robin(micro_batches, self.count)
        jobs = [partial(replica.run, job, share) for replica, share in self._mine(shares)]
        return self._gathered(self._in_threads(jobs, len(shares)))

    def accumulate(
        self, loss: Callable[[M, B], tuple[Tensor, R]], micro_batches: Sequence[B]
    ) -> list[list[R]]:
        """Each replica adds up the gradients of its share; then the replicas of all ranks are summed in their order."""
        shares = split_round_robin(micro_batches, self.count)
        nn.Module.zero_grad(self.model)  # of a rank without a share
        jobs = [partial(replica.accumulate, loss, share) for replica, share in self._mine(shares)]
        reports = self._in_threads(jobs, len(shares))
        # Also on a rank whose replicas have no share: a sum that one rank leaves out would hold up all others.
        parameters = [list(replica.model.parameters()) for replica in self.replicas]
        self._group.add_gradients(parameters, len(shares), "sum gradients")
        return self._gathered(reports)

    def gradient_norm(self, parameters: Sequence[Tensor]) -> float:
        """See `Replicas.gradient_norm`."""
        with as_one_process():
            return super().gradient_norm(parameters)

    def _mine(self, shares: Sequence[Sequence[B]]) -> list[tuple[Replica[M], Sequence[B]]]:
        """Return the replicas of this rank that have a share, with it."""
        first = self._group.rank * self._group.lanes
        return list(zip(self.replicas, shares[first : first + self._group.lanes], strict=False))

    def _in_threads(self, jobs: Sequence[Callable[[], list[R]]], shares: int) -> list[R]:
        """Run the jobs of this rank, with the threads that each would have in one process with all replicas."""
        # There a share by itself gets all threads, and one of several gets one. On a GPU nothing depends on it.
        on_cpu = next(self.model.parameters()).device.type == "cpu"
        threads = (self.count if shares == 1 else 1) if on_cpu else torch.get_num_threads()
        with compute_threads(threads):
            return [result for (result,) in run_parallel(jobs)]

    def _gathered(self, results: list[R]) -> list[R]:
        parts = self._group.gather(results, "gather results of micro-batches")
        return [result for part in parts for result in part]


def make_replicas(model: M, count: int | None = None) -> Replica[M]:
    """Return the replicas of a model: of all ranks, or in a process by itself `count` of them.

    `count` None: one per CPU thread, one on any other device.
    """
    group = ranks()
    if group.size > 1:
        return RankReplicas(model, group)
    if count is None:
        count = worker_count(next(model.parameters()).device)
    return Replica(model) if count == 1 else ThreadReplicas(model, count)


def as_one_process() -> AbstractContextManager[None]:
    """In the block, compute with as many threads as one process in place of all ranks would.

    For sums over many numbers that every rank computes alike: PyTorch adds in an order that depends on its threads.
    """
    group = ranks()
    return nullcontext() if group.size == 1 else compute_threads(group.lanes * group.size)


def copy_but_frozen(model: M) -> M:
    """Return a copy of `model` that holds its frozen weights themselves, and copies of all others."""
    frozen = {id(weight): weight for weight in model.parameters() if not weight.requires_grad}
    return deepcopy(model, cast(dict[int, Any], frozen))


def _weight_sharing_copy(model: M) -> M:
    """Return a copy of `model` whose parameters and buffers are the same memory."""
    # What is trained is copied for a moment and freed below.
    replica = copy_but_frozen(model)
    tensors, originals = ([*m.parameters(), *m.buffers()] for m in (replica, model))
    # Parameters stay separate objects with gradients of their own; only their memory is shared.
    # Two parameters with one memory: an optimizer that changes the model in place changes what every replica reads.
    for tensor, original in zip(tensors, originals, strict=True):
        tensor.data = original.data
    return replica
