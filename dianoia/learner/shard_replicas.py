"""Micro-batches on one model in shards: implements `learner.replicas.Replicas` over the ranks of a mesh, with FSDP2.

In: a model in the structure that it trains in (fused layers, adapters), weights on rank 0. Out: results of all ranks, and the
sum of all gradients in shards. Each rank works on micro-batches of its own; there is one denominator per step, which losses
are divided by, so gradients are summed and never averaged.

1. Every layer of every rank's forward pass is a collective, so all ranks run equally many micro-batches: who has fewer runs
   a copy of one with weight 0.
2. On a CPU gradients are added up per rank and then in the order of the ranks, which gives the bits of as many
   `ThreadReplicas`. A rank then keeps the whole gradient until its last micro-batch. On a GPU they are summed after each
   micro-batch, so that no rank ever holds more than its rows and one layer; the order of the sums is NCCL's.
"""

import math
import warnings
from collections.abc import Callable, Sequence
from copy import deepcopy
from types import MethodType
from typing import Any, Generic, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, register_fsdp_forward_method

from dianoia.distributed.gradients import SumInOrder
from dianoia.hardware.devices import return_freed_memory
from dianoia.hardware.threads import split_round_robin
from dianoia.learner.shards import (
    Sharding,
    TensorOf,
    fill_tensors,
    from_first_rank,
    own_rows,
    shard_structure,
    take_tensors,
)

M = TypeVar("M", bound=nn.Module)
B = TypeVar("B")
R = TypeVar("R")

_ENTRY = "run_gathered"
"""Name of the method of a model in which its parameters may be read: FSDP gathers them before it and drops them after."""


class ShardReplicas(Generic[M]):
    """A model whose parameters the ranks of a mesh hold together."""

    def __init__(self, model: M, sharding: Sharding, contents: TensorOf | None = None) -> None:
        """Split the parameters of `model` in place. Collective.

        `contents`: what each rank's tensors hold; None: what rank 0 has in them now.
        """
        tensors = take_tensors(model)
        self.model, self.sharding = model, sharding
        self.structure: M = deepcopy(model)
        """The model without memory and not split: what copies are made of."""
        shard_structure(model, sharding)
        fill_tensors(model, contents or from_first_rank(tensors, sharding))
        del tensors  # rank 0 frees the whole model
        on_cpu = sharding.device.type == "cpu"
        if on_cpu:
            return_freed_memory()
        self.sums_each_micro_batch = not on_cpu
        for module in self._parts():
            # The denominator is the step's: a factor of 1 / ranks would shrink the gradient without a word.
            module.set_gradient_divide_factor(1.0)
            # Else the factor of 1 becomes an operation that only NCCL has.
            module.set_force_sum_reduction_for_comms(True)
            if on_cpu:
                module.set_custom_reduce_scatter(cast(Any, SumInOrder()))
        cast(Any, model).run_gathered = MethodType(_call, model)
        register_fsdp_forward_method(model, _ENTRY)
        # A view is safe where nobody changes it in place, and nobody does.
        warnings.filterwarnings("ignore", message="FSDP2-wrapped module")

    @property
    def count(self) -> int:
        """Number of ranks."""
        return self.sharding.group.size

    def ask(self, question: Callable[[M], R]) -> R:
        """Return the answer of a function that may run the model, without gradients. Collective."""
        with self.sharding.group.exchanging("ask the model"), torch.no_grad():
            answer: R = self._call(question)
            self._drop_gathered()
        return answer

    def run(self, job: Callable[[M, Sequence[B]], R], micro_batches: Sequence[B]) -> list[R]:
        """Split the micro-batches over the ranks, as `Replicas.run` says; every rank gets the results of all. Collective."""
        shares, mine = self._shares(micro_batches)
        # Results of these are dropped: only the collectives of their passes are needed.
        filling = list(micro_batches[:1]) * (len(shares[0]) - len(mine))

        def jobs(model: M) -> R:
            result = job(model, mine)
            if filling:
                job(model, filling)
            return result

        with self.sharding.group.exchanging("forward passes"):
            result: R = self._call(jobs)
            self._drop_gathered()
        return self._gather(result)[: len(shares)]

    def accumulate(
        self, loss: Callable[[M, B], tuple[Tensor, R]], micro_batches: Sequence[B]
    ) -> list[list[R]]:
        """Leave this rank's rows of the summed gradient in `.grad`, as `Replicas.accumulate` says. Collective."""
        nn.Module.zero_grad(self.model)
        shares, mine = self._shares(micro_batches)
        count = len(shares[0])
        reports: list[R] = []
        with self.sharding.group.exchanging("forward and backward passes"):
            for index in range(count):
                is_last, is_filling = index == count - 1, index >= len(mine)
                self._root.set_requires_gradient_sync(is_last or self.sums_each_micro_batch)
                value, report = self._call(loss, micro_batches[0] if is_filling else mine[index])
                if is_filling:
                    # A product and not a new 0: the backward pass then runs the same collectives, and adds nothing.
                    value = value * 0.0
                else:
                    reports.append(report)
                value.backward()  # type: ignore[no-untyped-call]
        return self._gather(reports)[: len(shares)]

    def gradient_norm(self, parameters: Sequence[Tensor]) -> float:
        """Return the Euclidean norm of the whole gradients, the same on every rank. Collective."""
        # float64, and one order of the ranks: all clip by one number.
        gradients = [own_rows(p.grad) for p in parameters if p.grad is not None]
        squares = [gradient.double().square().sum() for gradient in gradients]
        everyone = self._gather(float(torch.stack(squares).sum()) if squares else 0.0)
        # Further models have the same gradient, and their rows count once.
        return math.sqrt(sum(everyone[: self.sharding.ranks_per_model]))

    def all_agree(self, answer: bool) -> bool:
        """Return True if `answer` is True on every rank. Collective."""
        return all(self._gather(answer))

    # What the ranks exchange

    @property
    def _root(self) -> FSDPModule:
        return cast(FSDPModule, self.model)

    def _parts(self) -> list[FSDPModule]:
        return [module for module in self.model.modules() if isinstance(module, FSDPModule)]

    def _call(self, function: Callable[..., R], *arguments: Any) -> R:
        """Call `function` with the model and the arguments, while its parameters are gathered."""
        return cast(R, getattr(self.model, _ENTRY)(function, *arguments))

    def _shares(self, micro_batches: Sequence[B]) -> tuple[list[Sequence[B]], Sequence[B]]:
        """Return the micro-batches of every rank, the first of which has the most, and those of this one."""
        shares = split_round_robin(micro_batches, self.count)
        rank = self.sharding.group.rank
        return shares, shares[rank] if rank < len(shares) else []

    def _drop_gathered(self) -> None:
        """Free what a pass without a backward pass has left gathered: the next step would go on with old weights."""
        # Newer PyTorch also forgets the order of passes, which a backward pass would have done.
        getattr(self._root, "reset_iter_state", self._root.reshard)()

    def _gather(self, value: R) -> list[R]:
        """Return the values of all ranks, in their order."""
        return self.sharding.group.gather(value, "gather results")


def _call(model: M, function: Callable[..., R], *arguments: Any) -> R:
    return function(model, *arguments)
