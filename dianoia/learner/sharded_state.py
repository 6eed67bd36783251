"""The state of a learner whose model is in shards: gathered by rank 0, or, where its host has no room for that, in parts.

Gathered, it is the state of a model that is whole. In parts, every rank writes and reads its own rows
(`torch.distributed.checkpoint`): in, a state with tensors in shards; out, the same state with a placeholder for each of these
tensors, and files by which any number of ranks gets its rows again. The folder of parts lies in the folder of the state, which
gets its name when all ranks have written (`base.files.whole_folder`): a state that one of them has half written is never
resumed from.

Parts are written while the ranks wait. A rank writes 12 bytes per parameter of its share, seconds in a stage that saves once in
many minutes; a copy of them in main memory, which would let training go on meanwhile, is what a host has no room for.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch.distributed.checkpoint as dcp
from torch import Tensor
from torch.distributed.tensor import DTensor

from dianoia.base.errors import RankError
from dianoia.base.limits import HOST_SHARE
from dianoia.distributed.group import ranks
from dianoia.hardware.machine import main_memory
from dianoia.learner.shards import whole

PARTS = "parts"
"""Folder of the parts, within that of a state."""
_PLACEHOLDER = "tensor in parts"


def gathered(state: Any, keep: bool) -> Any:
    """Return a state with whole tensors on the CPU in place of those in shards, one gathered after the other. Collective.

    Ranks that do not `keep` the result get None for each of them. Tied tensors stay one.
    """
    # By the object and not by its memory: a rank may hold no row of several tensors.
    wholes: dict[int, Tensor | None] = {}

    def gather(_path: str, item: Tensor) -> Any:
        if not isinstance(item, DTensor):
            return item
        if id(item) not in wholes:
            tensor = whole(item)
            wholes[id(item)] = tensor.detach().cpu() if keep else None
        return wholes[id(item)]

    # One exchange per tensor, in the order of the state's keys: the learner's code sets it, so it is the same on all ranks.
    return _map_tensors(state, gather)


# In parts -----------------------------------------------------------------------------------------


def needs_parts(state: Any) -> bool:
    """Return True if the whole tensors of a state would take more of rank 0's main memory than HOST_SHARE. Collective."""
    memory = main_memory()
    _, tensors = split(state)
    too_large = memory is not None and whole_bytes(tensors) > HOST_SHARE * memory
    return ranks().broadcast(too_large, "measure the state")


def whole_bytes(tensors: Mapping[str, Tensor]) -> int:
    """Return the bytes of all rows of the tensors, those of other ranks included."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())


def split(state: Any) -> tuple[Any, dict[str, Tensor]]:
    """Return a state with placeholders for tensors in shards, and these by the name of their placeholder."""
    names: dict[int, str] = {}
    tensors: dict[str, Tensor] = {}

    def take(path: str, item: Tensor) -> Any:
        if not isinstance(item, DTensor):
            return item
        name = names.setdefault(id(item), path)  # tied tensors are written once
        tensors[name] = item.detach()
        return {_PLACEHOLDER: name}

    return _map_tensors(state, take), tensors


def join(state: Any, tensors: Mapping[str, Tensor]) -> Any:
    """Return a state of `split` with tensors in the place of its placeholders."""
    if isinstance(state, dict):
        if state.keys() == {_PLACEHOLDER}:
            return tensors[state[_PLACEHOLDER]]
        return {key: join(item, tensors) for key, item in state.items()}
    if isinstance(state, list | tuple):
        return type(state)(join(item, tensors) for item in state)
    return state


def write_parts(folder: Path | None, tensors: dict[str, Tensor]) -> None:
    """Write this rank's rows of each tensor into `folder`, which rank 0 has made and names. Collective.

    Raises:
        OSError, RuntimeError: this rank could not write its part.
        RankError: another rank could not.
    """
    group = ranks()
    path = Path(group.broadcast(str(folder), "write the state")) / PARTS
    with group.exchanging("write the state"), _failures_by_rank(path, "write"):
        dcp.save(tensors, checkpoint_id=path)  # type: ignore[attr-defined]


def read_parts(folder: Path, state: Any, live: Any) -> Any:
    """Return a state of `split` with its tensors, which are read into those of `live`, the state of the same learner now.

    Collective. Unlike the other files of a state, the list of the parts is a pickle; like them it is checked against
    `SHA256SUMS` before.

    Raises:
        OSError, RuntimeError: this rank could not read its part.
        RankError: another rank could not.
    """
    targets: dict[str, Tensor] = {}
    wanted = _placeholders(state)

    def take(path: str, item: Tensor) -> Tensor:
        if path in wanted:
            targets[path] = item.detach()
        return item

    _map_tensors(live, take)
    group = ranks()
    path = folder / PARTS
    with (
        group.exchanging("read the state"),
        _failures_by_rank(path, "read"),
        warnings.catch_warnings(),
    ):
        # A process by itself is told that it is one.
        warnings.simplefilter("ignore")
        dcp.load(targets, checkpoint_id=path, no_dist=group.size == 1)  # type: ignore[attr-defined]
    return join(state, targets)


@contextmanager
def _failures_by_rank(path: Path, verb: str) -> Iterator[None]:
    """Raise the failure of a rank in the block as that rank's own error, and as RankError on the others."""
    group = ranks()
    try:
        yield
    # No Exception: whoever reports the errors of a stage would not see it.
    except dcp.CheckpointException as error:  # type: ignore[attr-defined]
        failure = error.failures.get(group.rank)
        if failure is not None:
            raise failure[0] from None
        rank, (cause, _) = min(error.failures.items())
        raise RankError(
            f"rank {rank} of {group.size} could not {verb} its part of the state in {path}: {cause}"
        ) from error


def is_in_parts(state: Any) -> bool:
    """Return True if a state has placeholders."""
    return bool(_placeholders(state))


def _placeholders(state: Any) -> set[str]:
    if isinstance(state, dict):
        if state.keys() == {_PLACEHOLDER}:
            return {state[_PLACEHOLDER]}
        return set().union(*map(_placeholders, state.values()))
    if isinstance(state, list | tuple):
        return set().union(*map(_placeholders, state))
    return set()


def _map_tensors(value: Any, function: Callable[[str, Tensor], Any], path: str = "") -> Any:
    """Return a nested value with `function(path, tensor)` in the place of each tensor."""
    if isinstance(value, Tensor):
        return function(path, value)
    if isinstance(value, dict):
        return {k: _map_tensors(item, function, f"{path}/{k}") for k, item in value.items()}
    if isinstance(value, list | tuple):
        items = [_map_tensors(item, function, f"{path}/{i}") for i, item in enumerate(value)]
        return cast(Any, type(value))(items)
    return value
