"""The reference of the KL term: the policy as it was at the start, or at the last refresh.

In: the policy's trainer, and forward passes to run. Out: their results under the reference. `CopiedReference` is a frozen copy
of a policy that is trained in full. A policy with adapters has `AdapterReference`: the same model with its adapters
switched off, or as they were at the last refresh, so that there is no second model in memory.
"""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import Any, Protocol, TypeVar

import torch
from transformers import PreTrainedModel

from dianoia.learner.lora import adapters, has_adapters, reference_weights
from dianoia.learner.replicas import make_replicas
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
        self.model = deepcopy(policy.model).requires_grad_(False)
        self._replicas = make_replicas(self.model)

    def evaluate(
        self, micro_batches: Sequence[B], measure: Callable[[PreTrainedModel, B], R]
    ) -> list[list[R]]:
        """See `Reference`."""
        return self._replicas.run(forward_passes(measure), micro_batches)

    def refresh(self) -> None:
        """See `Reference`; in place, since replicas of the reference share its memory."""
        self.model.load_state_dict(self._policy.model.state_dict())

    def equals_policy(self) -> bool:
        """See `Reference`."""
        pairs = zip(self.model.parameters(), self._policy.model.parameters(), strict=True)
        return all(torch.equal(mine, theirs) for mine, theirs in pairs)

    def state_dict(self) -> dict[str, Any]:
        """See `Reference`."""
        return self.model.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See `Reference`."""
        self.model.load_state_dict(state)


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
        for layer in self._layers.values():
            layer.reference.matrices = layer.A.detach().clone(), layer.B.detach().clone()

    def equals_policy(self) -> bool:
        """See `Reference`; an adapter whose B is 0 is as good as none."""
        for layer in self._layers.values():
            matrices = layer.reference.matrices
            if matrices is None and bool(layer.B.any()):
                return False
            if matrices is not None and not (
                torch.equal(matrices[0], layer.A) and torch.equal(matrices[1], layer.B)
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
            layer.reference.matrices = None if saved is None else (saved["A"], saved["B"])
