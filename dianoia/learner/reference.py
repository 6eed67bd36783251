"""The reference of the KL term: the policy as it was at the start, or at the last refresh.

In: the policy's trainer, and forward passes to run. Out: their results under the reference. `CopiedReference` is a frozen copy
of a policy that is trained in full, in shards where the policy is. A policy with adapters has `AdapterReference`: the same model with its adapters
switched off, or as they were at the last refresh, so that there is no second model in memory.
"""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import Any, Protocol, TypeVar

import torch
from transformers import PreTrainedModel

from dianoia.learner.lora import adapters, has_adapters, reference_weights
from dianoia.learner.replicas import Replicas, make_replicas
from dianoia.learner.shard_replicas import ShardReplicas
from dianoia.learner.shards import copy_tensors, from_shards, is_sharded, own_rows, whole
from dianoia.learner.trainer import Trainer, forward_passes

B = TypeVar("B")
R = TypeVar("R")


class Reference(Protocol):
    """What a policy is held to."""

    def evaluate(
        self, micro_batches: Sequence[B], measure: Callable[[PreTrainedModel, B], R]
    ) -> list[list[R]]:
        """Return what `measure` returns for each micro-batch, without gradients, a list per replica."""
        ...

    def refresh(self) -> None:
        """Become what the policy is now."""
        ...

    def equals_policy(self) -> bool:
        """Return True if the policy's weights are the reference's, to the last bit."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return everything an exact continuation needs, as live tensors."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Become what `state_dict` described."""
        ...


def make_reference(policy: Trainer[PreTrainedModel]) -> Reference:
    """Return the policy as it is now, to be held to."""
    return AdapterReference(policy) if has_adapters(policy.model) else CopiedReference(policy)


class CopiedReference:
    """A frozen copy of the policy."""

    def __init__(self, policy: Trainer[PreTrainedModel]) -> None:
        self._policy = policy
        self._replicas: Replicas[PreTrainedModel]
        if policy.shards is None:
            self.model = deepcopy(policy.model).requires_grad_(False)
            self._replicas = make_replicas(self.model)
        else:
            # The structure is without memory: only this rank's rows of the copy ever exist.
            self.model = deepcopy(policy.shards.structure).requires_grad_(False)
            contents = from_shards(policy.model)
            self._replicas = ShardReplicas(self.model, policy.shards.sharding, contents)

    def evaluate(
        self, micro_batches: Sequence[B], measure: Callable[[PreTrainedModel, B], R]
    ) -> list[list[R]]:
        """See `Reference`."""
        return self._replicas.run(forward_passes(measure), micro_batches)

    def refresh(self) -> None:
        """See `Reference`; in place, since replicas of the reference share its memory."""
        copy_tensors(self.model, self._policy.model.state_dict())

    def equals_policy(self) -> bool:
        """See `Reference`."""
        pairs = zip(self.model.parameters(), self._policy.model.parameters(), strict=True)
        # Each rank compares its own rows.
        return self._policy.all_agree(
            all(torch.equal(own_rows(mine), own_rows(theirs)) for mine, theirs in pairs)
        )

    def state_dict(self) -> dict[str, Any]:
        """See `Reference`."""
        # `keep_vars` keeps the parameter objects, by which `gathered` knows that tied ones are to be gathered once.
        return self.model.state_dict(keep_vars=is_sharded(self.model))

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See `Reference`."""
        copy_tensors(self.model, state)


class AdapterReference:
    """The policy's own frozen weights, with the adapters off or as they were at the last refresh."""

    def __init__(self, policy: Trainer[PreTrainedModel]) -> None:
        self._policy = policy
        self._layers = adapters(policy.model)

    def evaluate(
        self, micro_batches: Sequence[B], measure: Callable[[PreTrainedModel, B], R]
    ) -> list[list[R]]:
        """See `Reference`; on the policy's replicas, each of which reads the reference's adapters meanwhile."""

        def job(model: PreTrainedModel, share: Sequence[B]) -> list[R]:
            with reference_weights(model):
                return forward_passes(measure)(model, share)

        return self._policy.replicas.run(job, micro_batches)

    def refresh(self) -> None:
        """See `Reference`."""
        # Whole on every rank: adapters are small, and a pass reads them beside gathered weights.
        for layer in self._layers.values():
            layer.reference.matrices = (
                whole(layer.A).detach().clone(),
                whole(layer.B).detach().clone(),
            )

    def equals_policy(self) -> bool:
        """See `Reference`; an adapter whose B is 0 is as good as none."""
        for layer in self._layers.values():
            matrices = layer.reference.matrices
            # In shards this is collective: every rank has the same whole B, and so leaves at the same layer.
            if matrices is None and bool(whole(layer.B).any()):
                return False
            if matrices is not None and not (
                torch.equal(matrices[0], whole(layer.A))
                and torch.equal(matrices[1], whole(layer.B))
            ):
                return False
        return True

    def state_dict(self) -> dict[str, Any]:
        """See `Reference`; empty while the reference is the model without adapters."""
        return {
            name: {"A": layer.reference.matrices[0], "B": layer.reference.matrices[1]}
            for name, layer in self._layers.items()
            if layer.reference.matrices is not None
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See `Reference`."""
        for name, layer in self._layers.items():
            saved = state.get(name)
            device = layer.A.device
            layer.reference.matrices = (
                None if saved is None else tuple(saved[name].to(device, copy=True) for name in "AB")
            )
