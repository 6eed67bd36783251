"""The value model of PPO and its optimizer: the return to be expected at each token of a response.

In: samples that `learner.policy` prepared, and the policy as it is at the start. Out: the samples with their `Credit`
(once per rollout), changed weights of the value model, and `ValueMetrics` (once per optimizer step of the policy).

It is a model of its own: the policy's backbone, copied, and a linear map of its last hidden states to one number. The
map begins at zero, so every value begins at 0 and the first rollout has Monte Carlo advantages; the backbone has a
gradient from the second step on. Where the policy has adapters on frozen weights, so has the value model: adapters of its own
on the same frozen weights, and a head that is trained in full. A model that shares the policy's backbone would halve the
memory and disturb the policy's features; PPO for language models does without (InstructGPT, C.4).
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from dianoia.algo.gae import (
    explained_variance,
    gae_batch,
    kl_rewards,
    outcome_rewards,
    value_loss,
    whiten,
)
from dianoia.base.errors import ModelError
from dianoia.config import AlgorithmSettings
from dianoia.hardware.devices import synchronize, to_host_async
from dianoia.learner.batching.batch import (
    Batch,
    Credit,
    Layout,
    PreparedSample,
    collate,
    micro_batches,
)
from dianoia.learner.logprobs import at_mask, states_before
from dianoia.learner.replicas import as_one_process, copy_but_frozen
from dianoia.learner.shards import from_shards
from dianoia.learner.step_metrics import ValueMetrics
from dianoia.learner.trainer import Trainer


class ValueModel(nn.Module):
    """A backbone and a scalar head that begins at zero."""

    def __init__(self, policy: PreTrainedModel) -> None:
        """Copy the backbone of `policy`, which may be a structure without memory; so is then the value model."""
        super().__init__()
        backbone = policy.base_model
        if backbone is policy:
            raise ModelError(
                f"algorithm.name = 'ppo': the architecture {type(policy).__name__} has no backbone apart from "
                "its output head, and a value model needs its hidden states; take another model, or an "
                "algorithm without a value model such as 'grpo'."
            )
        # Weights that adapters leave frozen are the policy's own, in the same memory.
        self.backbone = copy_but_frozen(cast(PreTrainedModel, backbone))
        width, weight = policy.config.get_text_config().hidden_size, next(backbone.parameters())
        dtype = torch.promote_types(weight.dtype, torch.float32)
        self.head = nn.Linear(width, 1, device=weight.device, dtype=dtype)
        # Zero: the first values are 0, and the first advantages the rewards themselves.
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, batch: Batch, autocast: bool = False) -> Tensor:
        """Return the values `_BT` of the states before each response token, at least float32; 0 where masked."""
        device = self.head.weight.device.type
        with torch.autocast(device, torch.bfloat16, enabled=autocast):
            states_ND = states_before(self.backbone, batch)
        # The head stays in the precision of its weights: it is small, and returns need more than 8 bits.
        with torch.autocast(device, enabled=False):
            values_N = self.head(states_ND.to(self.head.weight.dtype))[:, 0]
        dtype = torch.promote_types(values_N.dtype, torch.float32)
        return at_mask(values_N.to(dtype), batch)


class Critic:
    """Gives credit to rollouts, and learns from them one optimizer step at a time."""

    def __init__(
        self,
        policy: Trainer[PreTrainedModel],
        algorithm: AlgorithmSettings,
        tokens_per_micro_batch: int,
        layout: Layout,
    ) -> None:
        """Copy the policy's backbone as it is now; optimizer, schedule and precision are the policy's too.

        The peak learning rate is `algorithm.value_learning_rate`, None: the policy's. Raises ModelError where the
        policy has no backbone.
        """
        self.algorithm = algorithm
        self.tokens_per_micro_batch, self.layout = tokens_per_micro_batch, layout
        rate = algorithm.value_learning_rate or policy.settings.learning_rate
        shards = policy.shards
        self.trainer = Trainer(
            ValueModel(policy.model if shards is None else shards.structure),
            policy.settings.model_copy(update={"learning_rate": rate}),
            policy.total_steps,
            autocast=policy.autocast,
            prepare=False,  # the copy of the backbone is as prepared as the policy's
            sharding=None if shards is None else shards.sharding,
            contents=None if shards is None else from_shards(policy.model.base_model, "backbone."),
            title="Training of the value model",
        )

    @property
    def model(self) -> ValueModel:
        """The value model in training."""
        return self.trainer.model

    # One rollout ---------------------------------------------------------------------------------

    def credit(self, prepared: Sequence[PreparedSample]) -> list[PreparedSample]:
        """Return all samples of a rollout with values, advantages and returns, on the CPU."""
        values = self._values(prepared)
        # Credit is computed for the whole rollout at once: whitening needs all tokens of it.
        mask_BT = _padded([torch.ones(len(values_T), dtype=torch.bool) for values_T in values])
        values_BT = _padded(values)
        advantages_BT = gae_batch(
            self._rewards(prepared, mask_BT),
            values_BT,
            mask_BT,
            self.algorithm.gamma,
            self.algorithm.gae_lambda,
        )
        # Returns are the targets of the values, so they are taken before whitening.
        returns_BT = advantages_BT + values_BT
        if self.algorithm.whiten_advantages:
            # Samples that no step counts must not move the mean and the deviation.
            counted_B = torch.tensor([row.counted for row in prepared])
            with as_one_process():
                advantages_BT = whiten(advantages_BT, mask_BT & counted_B[:, None])
        # Back from the padded rollout to one tensor per response.
        lengths = [len(values_T) for values_T in values]
        credits = zip(lengths, advantages_BT, values_BT, returns_BT, strict=True)
        return [
            replace(row, credit=Credit(*(tensor_T[:length] for tensor_T in tensors)))
            for row, (length, *tensors) in zip(prepared, credits, strict=True)
        ]

    def _rewards(self, prepared: Sequence[PreparedSample], mask_BT: Tensor) -> Tensor:
        """Return the reward of each token `_BT`: the outcome at the last one, and the KL penalty if it is a reward."""
        rewards_B = torch.tensor([row.sample.reward for row in prepared])
        rewards_BT = outcome_rewards(rewards_B, mask_BT)
        coefficient = self.algorithm.kl_coefficient
        if self.algorithm.kl_in != "reward" or not coefficient:
            return rewards_BT
        # Both log-probabilities are those of before the first update, so the penalty is a constant.
        references = [row.ref_T for row in prepared if row.ref_T is not None]
        assert len(references) == len(prepared), "a penalty needs the reference's log-probabilities"
        old_BT, ref_BT = _padded([row.old_T for row in prepared]), _padded(references)
        return rewards_BT + kl_rewards(old_BT, ref_BT, mask_BT, coefficient)

    def _values(self, prepared: Sequence[PreparedSample]) -> list[Tensor]:
        """Return the values `_T` of each sample, float32 on the CPU."""

        def measure(model: ValueModel, indices: Sequence[int]) -> tuple[Sequence[int], Tensor]:
            _, values_BT = self._forward(model, [prepared[index] for index in indices])
            return indices, to_host_async(values_BT.float())

        passes = self.trainer.evaluate(self._cut(prepared), measure)
        # One wait for the results of all micro-batches.
        synchronize(self.trainer.device)
        values = [torch.empty(0)] * len(prepared)
        for indices, values_BT in (result for results in passes for result in results):
            for index, values_T in zip(indices, values_BT, strict=True):
                values[index] = values_T[: len(prepared[index].sample.response_ids)]
        return values

    def _cut(self, prepared: Sequence[PreparedSample]) -> list[list[int]]:
        """Return the indices of the samples of each micro-batch."""
        samples = [row.sample for row in prepared]
        replicas = self.trainer.replicas.count
        return micro_batches(samples, self.tokens_per_micro_batch, self.layout, replicas)

    def _forward(
        self, model: ValueModel, prepared: Sequence[PreparedSample]
    ) -> tuple[Batch, Tensor]:
        """Return the samples as a batch, and their values `_BT`."""
        batch = collate(prepared, device=self.trainer.device, layout=self.layout)
        return batch, model(batch, self.trainer.autocast == "bfloat16")

    # One step ------------------------------------------------------------------------------------

    def accumulate(self, prepared: Sequence[PreparedSample]) -> ValueMetrics:
        """Leave the gradient of the step's loss in `.grad`; `trainer.descend` takes the step."""
        batches = [[prepared[index] for index in batch] for batch in self._cut(prepared)]
        # One denominator: the response tokens of the whole step.
        tokens = sum(len(row.sample.response_ids) for row in prepared)
        loss_of = partial(self._micro_batch_loss, tokens)
        reports = self.trainer.replicas.accumulate(loss_of, batches)
        loss, clipped = 0.0, 0
        for report in reports:  # per replica on its device, then replicas in their order
            zeros = torch.zeros((), dtype=torch.float64, device=self.trainer.device)
            loss += float(sum((part for part, _ in report), zeros))
            clipped += int(sum(count for _, count in report))
        norm = self.trainer.gradient_norm()
        with as_one_process():
            return _metrics(prepared, loss, clipped / max(1, tokens), norm)

    def _micro_batch_loss(
        self, tokens: int, model: ValueModel, prepared: Sequence[PreparedSample]
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return the loss of one micro-batch with gradient, then the same in float64 and the tokens at the bound."""
        batch, values_BT = self._forward(model, prepared)
        assert batch.credit is not None, "samples come from `credit`"
        numerator, clipped = value_loss(
            values_BT,
            batch.credit.values_T,
            batch.credit.returns_T,
            batch.mask_BT,
            self.algorithm.value_clip,
        )
        # float64: many small parts are added up.
        return numerator / tokens, (numerator.detach().double() / tokens, clipped)


def _metrics(
    prepared: Sequence[PreparedSample], loss: float, clip_fraction: float, norm: float
) -> ValueMetrics:
    """Return the metrics of a step; values and advantages are those before the rollout's first update."""
    credits = [row.credit for row in prepared if row.credit is not None]
    if not credits:
        return ValueMetrics(loss, norm, clip_fraction, None, None, None, None)
    values_M = torch.cat([credit.values_T for credit in credits])
    returns_M = torch.cat([credit.returns_T for credit in credits])
    # Before whitening, since returns are advantage + value.
    advantages_M = returns_M - values_M
    return ValueMetrics(
        loss=loss,
        grad_norm=norm,
        clip_fraction=clip_fraction,
        explained_variance=explained_variance(values_M, returns_M),
        values_mean=float(values_M.mean()),
        advantages_mean=float(advantages_M.mean()),
        advantages_std=float(advantages_M.std(correction=0)),
    )


def _padded(tensors: Sequence[Tensor]) -> Tensor:
    return nn.utils.rnn.pad_sequence(list(tensors), batch_first=True)
