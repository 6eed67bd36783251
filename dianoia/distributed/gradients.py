"""Sums of gradients over the lanes of all ranks, and over the ranks that hold one model in shards.

A lane is one replica of the model: a thread of a process, or a GPU. Lanes are numbered through the ranks: rank r has the lanes
r * lanes to (r + 1) * lanes - 1. On CPUs the gradients of all lanes are added in the order of the lanes, one after the
other, so that the same number of lanes gives the same bits however they are spread over processes; a ring, as in an
all-reduce, would add in another order for every number of ranks. Each rank adds one slice of every gradient: the exchange
takes 2 gradients per rank, not one per lane. On GPUs there is one lane per rank and NCCL adds. FSDP2 does the exchange of a model
in shards itself; on CPUs `SumInOrder` has it add in the same order.
"""

from collections.abc import Iterable, Iterator, Sequence

import torch
import torch.distributed as dist
from torch import Tensor

BUCKET = 2**24
"""Numbers that are exchanged at once: 64 MB of float32, which bounds the memory beside the gradients themselves."""


def add_over_ranks(lanes: Sequence[Sequence[Tensor]], active: int, per_rank: int) -> None:
    """Leave the sum over all ranks in the `.grad` of the parameters of the first lane.

    Args:
        lanes: the parameters of each lane of this rank, in one order; the first lane's are those of the model.
        active: lanes of all ranks that have run: those from 0 on. The others have nothing to add.
        per_rank: lanes of each rank.
    """
    for bucket in _buckets(lanes):
        _add_bucket(bucket, active, per_rank)


def _buckets(lanes: Sequence[Sequence[Tensor]]) -> Iterator[list[list[Tensor]]]:
    """Yield consecutive trainable parameters of one dtype, together at most BUCKET numbers, as one list per lane."""
    bucket: list[tuple[Tensor, ...]] = []
    size = 0
    for parameters in zip(*lanes, strict=True):
        first = parameters[0]
        if not first.requires_grad:
            continue
        if bucket and (size + first.numel() > BUCKET or first.dtype != bucket[0][0].dtype):
            yield [list(lane) for lane in zip(*bucket, strict=True)]
            bucket, size = [], 0
        bucket.append(parameters)
        size += first.numel()
    if bucket:
        yield [list(lane) for lane in zip(*bucket, strict=True)]


def _add_bucket(lanes: list[list[Tensor]], active: int, per_rank: int) -> None:
    size = sum(parameter.numel() for parameter in lanes[0])
    if lanes[0][0].device.type == "cpu":
        total = _added_in_order(lanes, size, active, per_rank)
    else:
        (parameters,) = lanes  # one lane per GPU
        total = _flat(parameters, size)
        dist.all_reduce(total)
    start = 0
    for parameter in lanes[0]:
        part = total[start : start + parameter.numel()].view_as(parameter)
        start += parameter.numel()
        if parameter.grad is None:
            parameter.grad = part.clone()
        else:
            parameter.grad.copy_(part)
    for lane in lanes[1:]:
        for parameter in lane:
            parameter.grad = None


def _added_in_order(lanes: list[list[Tensor]], size: int, active: int, per_rank: int) -> Tensor:
    """Return the sum `[size, rounded up]` of the gradients of all active lanes, added in the order of the lanes."""
    rank, ranks = dist.get_rank(), dist.get_world_size()
    # Active lanes of each rank: the first `active` of all.
    counts = [min(per_rank, max(0, active - per_rank * r)) for r in range(ranks)]
    width = -(-size // ranks)
    dtype = lanes[0][0].dtype
    mine = torch.empty(counts[rank], ranks * width, dtype=dtype)
    for row, lane in zip(mine, lanes, strict=False):
        _write_flat(row, lane)
    # Slice s of every lane goes to rank s, which gets its slice of all active lanes, in their order.
    outgoing = mine.view(counts[rank], ranks, width).transpose(0, 1).contiguous().view(-1)
    incoming = torch.empty(sum(counts) * width, dtype=dtype)
    dist.all_to_all_single(
        incoming,
        outgoing,
        [count * width for count in counts],
        [counts[rank] * width] * ranks,
    )
    total = torch.zeros(width, dtype=dtype)
    if len(incoming):
        _add_in_order(incoming.view(-1, width).unbind(), total)
    whole = torch.empty(ranks * width, dtype=dtype)
    dist.all_gather(list(torch.split(whole, width)), total)
    return whole


class SumInOrder:
    """A reduce-scatter of FSDP2 that adds the ranks' parts in the order of the ranks: a number of ranks gives one result.

    It has the methods that `FSDPModule.set_custom_reduce_scatter` asks for.
    """

    def allocate(self, size: Sequence[int], *, dtype: torch.dtype, device: torch.device) -> Tensor:
        """Return memory for a gradient, as FSDP2 asks for it."""
        return torch.empty(*size, dtype=dtype, device=device)

    def __call__(
        self,
        output_tensor: Tensor,
        input_tensor: Tensor,
        group: dist.ProcessGroup,
        op: object,
        async_op: bool = False,
    ) -> None:
        """Write the sum of all ranks' parts for this rank into `output_tensor`; `op` is taken to be a sum."""
        parts = torch.empty_like(input_tensor)
        dist.all_to_all_single(parts, input_tensor, group=group)
        _add_in_order(parts.view(group.size(), -1).unbind(), output_tensor)


def _add_in_order(parts: Iterable[Tensor], total: Tensor) -> None:
    """Write the sum of the parts, added one after the other, into `total`."""
    first, *others = parts
    # Copied and not added to zeros, which would turn -0.0 into 0.0: one lane has to give the bits of a process by itself.
    total.copy_(first)
    for part in others:
        total += part


def _flat(parameters: Sequence[Tensor], size: int) -> Tensor:
    first = parameters[0]
    flat = torch.empty(size, dtype=first.dtype, device=first.device)
    _write_flat(flat, parameters)
    return flat


def _write_flat(flat: Tensor, parameters: Sequence[Tensor]) -> None:
    """Copy gradients one after the other into `flat`, which becomes 0 where a parameter has none, and at its end."""
    start = 0
    for parameter in parameters:
        part = flat[start : start + parameter.numel()]
        if parameter.grad is None:
            part.zero_()
        else:
            part.copy_(parameter.grad.reshape(-1))
        start += parameter.numel()
    flat[start:].zero_()
