"""Tensors of a model in shards: each rank holds some rows of every parameter (FSDP2, `torch.distributed.fsdp`).

In: a model whose structure every rank has and whose weights rank 0 has, and a mesh of ranks. Out: the same model with rows of
its weights, and whole tensors again, one at a time, for those who need them: a sampler, a checkpoint, a state. Weights
travel tensor by tensor, so that no rank but the first ever holds more of them than its share and one tensor.

Functions that say "collective" exchange data between the ranks: all ranks call them, in the same order. `ShardReplicas`
(`learner.shard_replicas`) runs micro-batches on such a model.
"""

from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, Shard, distribute_tensor
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from dianoia.distributed.group import RankGroup

P = TypeVar("P", bound=PreTrainedModel)

TensorOf = Callable[[str, Tensor], Tensor]
"""(name, parameter or buffer without memory) -> its contents on this rank: a `DTensor` for a parameter in shards."""


@dataclass(frozen=True, slots=True)
class Sharding:
    """The ranks that hold one model together.

    `mesh` has the dimension `shard`, or `replicate` and `shard`: each row of the second is one model in shards.
    """

    group: RankGroup
    """All ranks."""
    mesh: DeviceMesh

    @classmethod
    def over(cls, group: RankGroup, device: torch.device, ranks_per_model: int) -> "Sharding":
        """Return the sharding in which each `ranks_per_model` neighbours hold a model. Collective."""
        models, remainder = divmod(group.size, ranks_per_model)
        assert not remainder, "whole models only"
        sizes = {"replicate": models, "shard": ranks_per_model}
        if models == 1:
            del sizes["replicate"]
        shape, names = tuple(sizes.values()), tuple(sizes)
        return cls(group, init_device_mesh(device.type, shape, mesh_dim_names=names))

    @property
    def device(self) -> torch.device:
        """The device of this rank's shards."""
        device_type = self.mesh.device_type
        return (
            torch.device(device_type)
            if device_type == "cpu"
            else torch.device(device_type, torch.cuda.current_device())
        )

    @property
    def ranks_per_model(self) -> int:
        """Number of ranks that hold one model together."""
        return self.mesh["shard"].size()


# From whole to shards -----------------------------------------------------------------------------


def take_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Return parameters and buffers by name, and leave the model without memory for them (on the device `meta`).

    Tied parameters stay tied.
    """
    tensors = dict(_named_tensors(model))
    empty: dict[int, Tensor] = {}

    def without_memory(tensor: Tensor) -> Tensor:
        blank = torch.empty_like(tensor, device="meta")
        return _like(tensor, blank)

    for name, tensor in tensors.items():
        if id(tensor) not in empty:
            empty[id(tensor)] = without_memory(tensor)
        _replace(model, name, empty[id(tensor)])
    return tensors


def load_on_first_rank(load: Callable[[], P], group: RankGroup) -> P:
    """Return the model that `load` reads on rank 0, and its structure, without memory, on all other ranks. Collective."""
    if group.rank == 0:
        model = load()
        dtypes = {name: tensor.dtype for name, tensor in _named_tensors(model)}
        # A classifier has no settings of generation.
        generation = model.generation_config if model.can_generate() else None
        group.broadcast((type(model), model.config, generation, dtypes), "read the model")
        return model
    model_class, config, generation, dtypes = group.broadcast(cast(Any, None), "read the model")
    with torch.device("meta"):
        structure: P = model_class(config)
    # A class builds in its default dtype, and a broadcast copies bytes: rank 0's float32 would be read as another dtype.
    for name, tensor in _named_tensors(structure):
        tensor.data = tensor.data.to(dtypes[name])
    if generation is not None:
        structure.generation_config = generation
    nn.Module.eval(structure)
    return structure


def shard_structure(model: nn.Module, sharding: Sharding) -> None:
    """Let FSDP2 split the parameters of `model`, which are without memory, by their rows.

    Each decoder layer is gathered when it runs and dropped afterwards; what is outside of layers (embeddings, last norm,
    output head) is one group, which stays gathered from the forward to the backward pass.
    """
    # Layers before the whole: a group takes the parameters below its module that no group has yet.
    for layer in model.modules():
        if isinstance(layer, GradientCheckpointingLayer):
            fully_shard(layer, mesh=sharding.mesh)
    fully_shard(model, mesh=sharding.mesh, reshard_after_forward=False)


def fill_tensors(model: nn.Module, contents: TensorOf) -> None:
    """Give parameters and buffers that are without memory their contents, in the model's order."""
    filled: dict[int, Tensor] = {}
    with torch.no_grad():
        # A list: `_replace` changes the tables that are gone through.
        for name, tensor in list(_named_tensors(model)):
            if id(tensor) not in filled:
                filled[id(tensor)] = _like(tensor, contents(name, tensor))
            _replace(model, name, filled[id(tensor)])


def from_first_rank(tensors: Mapping[str, Tensor], sharding: Sharding) -> TensorOf:
    """Return the contents that rank 0 has in `tensors`; what other ranks have there is not read. Collective."""

    def contents(name: str, tensor: Tensor) -> Tensor:
        if sharding.group.rank == 0:
            whole_tensor = tensors[name].detach().to(sharding.device)
        else:
            # Never written and, where it is split, never read: on a CPU it takes no memory.
            whole_tensor = torch.empty(tensor.shape, dtype=tensor.dtype, device=sharding.device)
        if not isinstance(tensor, DTensor):
            dist.broadcast(whole_tensor, src=0)
            return whole_tensor
        shard = distribute_tensor(whole_tensor, tensor.device_mesh, tensor.placements)
        return _without_rest(shard)

    return contents


def from_shards(model: nn.Module, prefix: str = "") -> TensorOf:
    """Return the contents of a copy of `model`, which is in shards; names in the copy begin with `prefix`.

    Frozen parameters are the model's own, in the same memory. What the copy has and the model has not is 0.
    """
    tensors = dict(_named_tensors(model))

    def contents(name: str, tensor: Tensor) -> Tensor:
        original = tensors.get(name.removeprefix(prefix)) if name.startswith(prefix) else None
        if original is None:
            zeros = torch.zeros(
                tensor.shape, dtype=tensor.dtype, device=next(iter(tensors.values())).device
            )
            return shard_like(zeros, tensor)
        is_frozen = isinstance(original, nn.Parameter) and not original.requires_grad
        return original.detach() if is_frozen else original.detach().clone()

    return contents


def whole_copy(model: P, sharding: Sharding) -> P:
    """Return a copy of the model that rank 0 has, on the device of each rank. Collective."""
    tensors = dict(_named_tensors(model))
    blank = {
        id(tensor): _like(tensor, torch.empty_like(tensor, device="meta"))
        for tensor in tensors.values()
    }
    copy = deepcopy(model, cast(dict[int, Any], blank))
    fill_tensors(copy, from_first_rank(tensors, sharding))
    return copy


class LazyWeights(Mapping[str, Tensor]):
    """Tensors by name that are sent, gathered or summed when they are read; their names and shapes are known before."""

    def __init__(self, stored: Mapping[str, Tensor]) -> None:
        """stored: what a tensor is made from, of its shape, by the tensor's name."""
        self._stored = stored

    def shape(self, name: str) -> torch.Size:
        """Return the shape of a tensor without reading it."""
        return self._stored[name].shape

    # `Mapping` would read the tensor to answer this, and all ranks would have to do so at once.
    def __contains__(self, name: object) -> bool:
        return name in self._stored

    def __iter__(self) -> Iterator[str]:
        return iter(self._stored)

    def __len__(self) -> int:
        return len(self._stored)


class FirstRankWeights(LazyWeights):
    """Parameters and persistent buffers that rank 0 has, each sent to all ranks when it is read, to be copied.

    All ranks read the same names in the same order.
    """

    def __init__(self, model: nn.Module, group: RankGroup) -> None:
        super().__init__(model.state_dict())
        self._group = group

    def __getitem__(self, name: str) -> Tensor:
        tensor = self._stored[name]
        if self._group.rank:
            tensor = torch.empty(tensor.shape, dtype=tensor.dtype)
        # The header that this exchanges has the name, so that ranks which read in another order end with a message.
        with self._group.exchanging(f"send {name}"):
            dist.broadcast(tensor, src=0)
        return tensor


def rows_of(whole_tensor: Tensor, like: DTensor) -> Tensor:
    """Return this rank's rows of a tensor that it has whole, on the device of `like`, if that has memory; only they are read."""
    mesh_dimension = _shard_dimension(like)
    count, index = (
        like.device_mesh.size(mesh_dimension),
        like.device_mesh.get_local_rank(mesh_dimension),
    )
    # As `Shard(0)` cuts: ceil(rows / ranks) for each, the last ranks fewer. Another split would read other rows.
    chunks = torch.chunk(whole_tensor, count, dim=0)
    # Fewer rows than ranks: the last ranks have none.
    rows = chunks[index] if index < len(chunks) else whole_tensor[:0]
    return rows.to(whole_tensor.device if like.is_meta else like.device, like.dtype)


def copy_tensors(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Copy whole tensors, or those of a model with the same shards, into `model` in place; names it lacks are left out."""
    with torch.no_grad():
        for name, tensor in _named_tensors(model):
            if name in tensors:
                copy_into(tensor, tensors[name])


def copy_into(tensor: Tensor, values: Tensor) -> None:
    """Copy a whole tensor, or the same rows of another, into `tensor` in place."""
    if isinstance(tensor, DTensor):
        rows = values.to_local() if isinstance(values, DTensor) else rows_of(values, tensor)
        tensor.to_local().copy_(rows)
    else:
        tensor.copy_(values)


def shard_like(whole_tensor: Tensor, like: Tensor) -> Tensor:
    """Return a copy of a whole tensor in the shards of `like`; whole where `like` is, or is of another shape.

    A tensor in shards is returned as it is.
    """
    if isinstance(whole_tensor, DTensor):
        return whole_tensor
    # Copies, all of them: the tensor may lie in a file that is about to be replaced.
    if not isinstance(like, DTensor) or whole_tensor.shape != like.shape:
        return whole_tensor.clone()
    rows = rows_of(whole_tensor, like).clone()
    return DTensor.from_local(
        rows,
        like.device_mesh,
        like.placements,
        run_check=False,
        shape=like.shape,
        stride=like.stride(),
    )


# From shards to whole -----------------------------------------------------------------------------


def is_sharded(model: nn.Module) -> bool:
    """Return True if the model's parameters are in shards."""
    return isinstance(model, FSDPModule)


def own_rows(tensor: Tensor) -> Tensor:
    """Return what this rank holds of a tensor, in the same memory."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def whole(tensor: Tensor) -> Tensor:
    """Return all rows of a tensor, on its device; a tensor that is whole itself. Collective."""
    with torch.no_grad():
        return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


# Helpers ------------------------------------------------------------------------------------------


def _named_tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield parameters and buffers by name, tied ones under each of their names."""
    yield from model.named_parameters(remove_duplicate=False)
    yield from model.named_buffers(remove_duplicate=False)


def _replace(model: nn.Module, name: str, tensor: Tensor) -> None:
    """Put a parameter or buffer in the place of the one with this name."""
    owner, _, leaf = name.rpartition(".")
    module = model.get_submodule(owner)
    table: dict[str, Any] = module._parameters if leaf in module._parameters else module._buffers
    table[leaf] = tensor


def _like(original: Tensor, contents: Tensor) -> Tensor:
    """Return `contents` as a parameter if `original` is one."""
    if isinstance(original, nn.Parameter):
        return nn.Parameter(contents, requires_grad=original.requires_grad)
    return contents


def _without_rest(shard: DTensor) -> DTensor:
    """Return a shard that does not keep the memory of the whole tensor it was cut from."""
    rows = shard.to_local()
    if rows.untyped_storage().nbytes() == rows.nbytes:
        return shard
    return DTensor.from_local(
        rows.clone(),
        shard.device_mesh,
        shard.placements,
        run_check=False,
        shape=shard.shape,
        stride=shard.stride(),
    )


def _shard_dimension(tensor: DTensor) -> int:
    """Return the dimension of the mesh along which the rows are split."""
    dimensions = [
        index for index, placement in enumerate(tensor.placements) if isinstance(placement, Shard)
    ]
    assert len(dimensions) == 1, "one dimension of the mesh holds the shards of a model"
    return dimensions[0]
