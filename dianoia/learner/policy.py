"""The learner of reinforcement learning: owns the policy and its reference, and takes one step at a time.

In: `Sample`s with their advantages, or with rewards that a value model (`learner.critic`) turns into advantages. Out:
changed weights and `UpdateMetrics`. A rollout goes through `prepare` once and then through `update` minibatch by
minibatch; each update is exactly one optimizer step, with one denominator however it is split into micro-batches. There
is no randomness here: the same calls in the same order give the same weights.

Departures from the DeepSeek-R1 paper, and choices where it is silent:

1. pi_old is the sampler's own record of its log-probabilities (section 2, eq. 1), not a second pass through the learner.
   With `importance_cap`, pi_old is the learner's and the difference between the two enters as a truncated importance
   weight.
2. The reference is copied from the policy after every `reference_every` optimizer steps. Reference log-probabilities are
   those of the moment of `prepare`, so a copy in the middle of a rollout takes effect with the next one. In the paper the
   two coincide: 400 steps are 25 rollouts of 16.
3. A step in which no sample counts still is a step, with a gradient of zero. So is a step whose advantages are all 0 while
   policy and reference are the same: nothing needs to run for it.
"""

import operator
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial, reduce
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from dianoia.algo.loss import ALGORITHMS, LossSums, policy_loss, truncated_importance
from dianoia.base.errors import ConfigError
from dianoia.base.limits import CPU_TOKENS
from dianoia.base.records import Sample
from dianoia.config import AlgorithmSettings, OptimizerSettings
from dianoia.hardware.devices import synchronize, to_host_async
from dianoia.learner.batching.batch import (
    Batch,
    Layout,
    PreparedSample,
    collate,
    logprobs_tensor,
    micro_batches,
    padding_share,
)
from dianoia.learner.critic import Critic
from dianoia.learner.kernels.prepare import choose_layout, prepare_for_gpu
from dianoia.learner.logprobs import has_plain_head, response_logprobs
from dianoia.learner.reference import Reference, make_reference
from dianoia.learner.shards import Sharding
from dianoia.learner.step_metrics import UpdateMetrics, ValueMetrics, token_means
from dianoia.learner.trainer import Autocast, Learner, Trainer

ReplicaReports = Sequence[Sequence[tuple[Tensor, LossSums]]]
"""Loss and sums of each micro-batch, a list per replica."""
Passes = Sequence[Sequence[tuple[Sequence[int], Mapping[str, Tensor]]]]
"""Indices of each micro-batch and fields of `PreparedSample` by name (`_BT`, on their way to the CPU), a list per replica."""


class PolicyLearner(Learner):
    """One policy in training, with its reference and, for PPO, its value model."""

    def __init__(
        self,
        model: PreTrainedModel,
        algorithm: AlgorithmSettings,
        optimizer: OptimizerSettings,
        *,
        total_steps: int,
        max_tokens: int,
        temperature: float = 1.0,
        tokens_per_micro_batch: int = 16_384,
        share_prompts: bool = True,
        autocast: Autocast = "none",
        recompute: bool = False,
        sharding: Sharding | None = None,
    ) -> None:
        """Take over `model` as it is; with a KL term it is also the reference (`learner.reference`).

        `max_tokens` is the response limit (Dr. GRPO's denominator). `tokens_per_micro_batch` counts padded positions,
        prompts included; on a CPU at most CPU_TOKENS are used. `share_prompts` runs a prompt once for all of its samples
        in a micro-batch, where the architecture allows it; a GPU's bfloat16 runs rows end to end (`layout`). `sharding`: see
        `Trainer`; reference and value model are then in shards too.
        Raises ModelError for a model that no value model can be made of.
        """
        super().__init__(
            Trainer(
                model,
                optimizer,
                total_steps,
                autocast=autocast,
                recompute=recompute,
                sharding=sharding,
            )
        )
        self.algorithm, self.loss = algorithm, ALGORITHMS[algorithm.name]
        self.temperature, self.max_tokens = temperature, max_tokens
        self.tokens_per_micro_batch = self.trainer.token_budget(tokens_per_micro_batch, CPU_TOKENS)
        # The layout is chosen by running the model both ways, and before anything copies the model.
        self.plain_head = self.trainer.ask(has_plain_head)
        self.layout = Layout.PADDED
        if self.plain_head:
            self.layout = self.trainer.ask(
                lambda part: choose_layout(part, autocast, share_prompts)
            )
        if self.layout is Layout.PACKED:
            self.trainer.exchange(lambda part: prepare_for_gpu(part, autocast))
        # The reference is made after layers were exchanged, so that both run the same kernels.
        self.reference: Reference | None = None
        if algorithm.kl_coefficient > 0:
            self.reference = make_reference(self.trainer)
        self.critic: Critic | None = None
        if algorithm.name == "ppo":
            self.critic = Critic(self.trainer, algorithm, self.tokens_per_micro_batch, self.layout)
        # PPO may have the KL penalty in the reward instead of the loss.
        self._loss_kl = 0.0 if algorithm.kl_in == "reward" else algorithm.kl_coefficient
        self._first_update = False
        # Whether the steps of this rollout change nothing (`_is_at_rest`).
        self._at_rest = False

    @property
    def trainers(self) -> list[Trainer[Any]]:
        """See `Learner`: those of the policy and of the value model."""
        return [self.trainer] if self.critic is None else [self.trainer, self.critic.trainer]

    # One rollout ---------------------------------------------------------------------------------

    def prepare(
        self, samples: Sequence[Sample], left_out: Sequence[bool] = ()
    ) -> list[PreparedSample]:
        """Return the samples with all that `update` needs, in their order; once per rollout, before its first update.

        Samples marked in `left_out` (truncated responses, say) leave both the numerator and the denominator of their
        step, but keep their place, so that minibatches still divide evenly.
        """
        assert len(left_out) in (0, len(samples)), "one mark per sample"
        counted = [not mark for mark in left_out] or [True] * len(samples)
        # pi_old is the sampler's record, unless an importance cap asks for the learner's own.
        prepared = [
            PreparedSample(sample, logprobs_tensor(sample.logprobs), counted=flag)
            for sample, flag in zip(samples, counted, strict=True)
        ]
        self._first_update, self._at_rest = True, self._is_at_rest(prepared)
        if self.reference is not None and not self._at_rest:
            self._add_reference(self.reference, prepared)
        if self.algorithm.importance_cap is not None and not self._at_rest:
            self._add_importance_weights(prepared, self.algorithm.importance_cap)
        return prepared if self.critic is None else self.critic.credit(prepared)

    def _is_at_rest(self, prepared: Sequence[PreparedSample]) -> bool:
        """Return True if no step of a rollout changes a weight, so that no sample of it has to run.

        This is so where every advantage is 0, the KL term has a gradient of 0 since policy and reference are the same, and
        AdamW has nothing left of earlier steps: at the start of a run, say, in which no sample is right yet.
        """
        if self.critic is not None or any(row.counted and row.sample.advantage for row in prepared):
            return False
        if self._loss_kl == 0:
            return True  # the samples have no gradient; AdamW goes on by itself
        assert self.reference is not None, "there is one where the term has a weight"
        return self.trainer.at_rest() and self.reference.equals_policy()

    def _add_reference(self, reference: Reference, prepared: list[PreparedSample]) -> None:
        """Exchange the samples for ones with the reference's log-probabilities."""

        def measure(
            model: PreTrainedModel, indices: Sequence[int]
        ) -> tuple[Sequence[int], Mapping[str, Tensor]]:
            batch = self._collate([prepared[index] for index in indices])
            ref_BT, _ = self._logprobs(model, batch)
            return indices, {"ref_T": to_host_async(ref_BT.float())}

        micro_batches = self._cut([row.sample for row in prepared])
        self._fill(prepared, reference.evaluate(micro_batches, measure))

    def _add_importance_weights(self, prepared: list[PreparedSample], cap: float) -> None:
        """Exchange the samples for ones with the learner's own pi_old and truncated importance weights."""

        def measure(
            model: PreTrainedModel, indices: Sequence[int]
        ) -> tuple[Sequence[int], Mapping[str, Tensor]]:
            batch = self._collate([prepared[index] for index in indices])
            old_BT, _ = self._logprobs(model, batch)
            weights_BT = truncated_importance(old_BT, batch.sampler_BT, batch.mask_BT, cap)
            return indices, {
                "old_T": to_host_async(old_BT.float()),
                "weights_T": to_host_async(weights_BT.float()),
            }

        micro_batches = self._cut([row.sample for row in prepared])
        self._fill(prepared, self.trainer.evaluate(micro_batches, measure))

    def _fill(self, prepared: list[PreparedSample], passes: Passes) -> None:
        """Put the results of forward passes into the samples, without their padding."""
        # Results of all micro-batches are on their way to the host; one wait for all of them.
        synchronize(self.trainer.device)
        for indices, fields in (result for results in passes for result in results):
            # Row r of a micro-batch is sample indices[r]; padding is on the right.
            for row, index in enumerate(indices):
                length = len(prepared[index].sample.response_ids)
                values: dict[str, Any] = {
                    name: values_BT[row, :length] for name, values_BT in fields.items()
                }
                prepared[index] = replace(prepared[index], **values)

    # One step ------------------------------------------------------------------------------------

    def update(self, minibatch: Sequence[PreparedSample]) -> UpdateMetrics:
        """Take one optimizer step on one minibatch.

        Raises TrainingStopped, with the weights untouched, for a loss or gradient that is not finite and for a gradient
        norm above `stop_grad_norm`.
        """
        # Samples without gradient are in the denominator, but need not run.
        counted = [row for row in minibatch if row.counted]
        live = [row for row in counted if self._has_gradient(row)]
        tokens = sum(len(row.sample.response_ids) for row in counted)
        # One denominator for the whole step, however it is cut into micro-batches.
        denominator = self.loss.aggregation.denominator(len(counted), tokens, self.max_tokens)
        samples = [row.sample for row in live]
        batches = self._cut(samples)

        reports = self.trainer.replicas.accumulate(
            partial(self._micro_batch_loss, denominator),
            [[live[index] for index in batch] for batch in batches],
        )
        loss, sums = _totals(reports, self.trainer.device)
        # The value model learns from all samples, also those without advantage.
        norm = self.trainer.gradient_norm()
        value = None if self.critic is None else self.critic.accumulate(counted)
        # Both models are checked before either changes.
        self._stop_if_broken(loss, norm, value)
        rate = self.trainer.descend(norm)
        if self.critic is not None and value is not None:
            self.critic.trainer.descend(value.grad_norm)
        self._refresh_reference()
        return UpdateMetrics(
            step=self.step,
            loss=loss,
            grad_norm=norm,
            learning_rate=rate,
            samples=len(counted),
            samples_skipped=len(counted) - len(live),
            tokens=tokens,
            padding_share=padding_share(samples, batches, self.layout),
            **self._means(sums),
            value=value,
        )

    def _cut(self, samples: Sequence[Sample]) -> list[list[int]]:
        """Return the indices of the samples of each micro-batch."""
        replicas = self.trainer.replicas.count
        return micro_batches(samples, self.tokens_per_micro_batch, self.layout, replicas)

    def _collate(self, prepared: Sequence[PreparedSample]) -> Batch:
        return collate(prepared, 0, self.trainer.device, self.layout)

    def _has_gradient(self, row: PreparedSample) -> bool:
        """Tell whether the sample has to run: advantage 0 and no KL term leave nothing to learn from it."""
        # With a value model every sample runs, since its tokens have advantages of their own.
        if row.credit is not None or row.sample.advantage != 0:
            return True
        return self._loss_kl > 0 and not self._at_rest

    def _micro_batch_loss(
        self, denominator: int, model: PreTrainedModel, rows: Sequence[PreparedSample]
    ) -> tuple[Tensor, tuple[Tensor, LossSums]]:
        """Return the loss of one micro-batch with gradient, then the same without and the sums of its metrics."""
        # The entropy is a metric only and carries no gradient.
        batch = self._collate(rows)
        logprobs_BT, entropy_BT = self._logprobs(model, batch, with_entropy=True)
        numerator, sums = policy_loss(
            self.loss,
            logprobs_BT,
            batch.old_BT,
            batch.advantages,
            batch.mask_BT,
            bounds=(self.algorithm.clip_low, self.algorithm.clip_high),
            ref_BT=batch.ref_BT,
            kl_coefficient=self._loss_kl,
            kl_estimator=self.algorithm.kl_estimator,
            weights_BT=batch.weights_BT,
            entropy_BT=entropy_BT,
            sampler_BT=batch.sampler_BT,
        )
        # Divided before the backward pass, so that gradients of micro-batches add up to the step's.
        loss = numerator / denominator
        return loss, (loss.detach(), sums)

    def _logprobs(
        self, model: PreTrainedModel, batch: Batch, with_entropy: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Return log-probabilities and entropies of the response tokens, `_BT`, under autocast."""
        with self.trainer.precision():
            return response_logprobs(
                model,
                batch,
                self.temperature,
                with_entropy=with_entropy,
                plain_head=self.plain_head,
            )

    def _stop_if_broken(self, loss: float, norm: float, value: ValueMetrics | None) -> None:
        """Raise TrainingStopped where the policy's or the value model's step must not be taken."""
        optimizer = self.trainer.settings
        faults = self.trainer.faults(loss, norm)
        rates = f"lower optimizer.learning_rate (now {optimizer.learning_rate:g})"
        if self.critic is not None and value is not None:
            trainer = self.critic.trainer
            if value_faults := trainer.faults(value.loss, value.grad_norm, "value model's "):
                rate = trainer.settings.learning_rate
                rates += f" or algorithm.value_learning_rate (now {rate:g})"
                faults += value_faults
        if not faults:
            return
        # Neither model's gradient survives a stop.
        if self.critic is not None:
            self.critic.trainer.optimizer.zero_grad()
        raise self.trainer.stopped(
            faults,
            f"Read the rollouts of this step; then start a new run (another --out) with a {rates}, a smaller "
            f"algorithm.clip_high (now {self.algorithm.clip_high:g}) or a smaller optimizer.max_grad_norm "
            f"(now {optimizer.max_grad_norm:g}).",
        )

    def _refresh_reference(self) -> None:
        """Let the reference become the policy after every `reference_every` steps."""
        if self.reference is not None and self.step % self.algorithm.reference_every == 0:
            self.reference.refresh()

    def _means(self, sums: LossSums | None) -> dict[str, float | None]:
        # The gap between sampler and learner is meaningful only at the weights that drew the rollout.
        first, self._first_update = self._first_update, False
        return token_means(sums, with_kl=self.reference is not None, with_gap=first)

    # Memory and state ----------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return everything an exact continuation needs, as live tensors: write it out before the next step."""
        return super().state_dict() | {
            "reference": None if self.reference is None else self.reference.state_dict(),
            "critic": None if self.critic is None else self.critic.trainer.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume from `state_dict` of a learner with the same settings.

        Raises ConfigError if one of the two has a reference or a value model and the other has not.
        """
        # Everything is checked before the first weight is overwritten.
        if (state["reference"] is None) != (self.reference is None):
            raise ConfigError(
                f"The checkpoint was written {'without' if self.reference else 'with'} a reference "
                f"model, and kl_coefficient is now {self.algorithm.kl_coefficient:g}. Resume with the value "
                "the run began with, or start a new run from the saved model."
            )
        if (state["critic"] is None) != (self.critic is None):
            raise ConfigError(
                f"The checkpoint was written {'without' if self.critic else 'with'} a value model, which "
                "only algorithm.name = 'ppo' has. Resume with the algorithm the run began with, or start "
                "a new run from the saved model."
            )
        super().load_state_dict(state)
        if self.critic is not None:
            self.critic.trainer.load_state_dict(state["critic"])
        if self.reference is not None:
            self.reference.load_state_dict(state["reference"])


def _totals(reports: ReplicaReports, device: torch.device) -> tuple[float, LossSums | None]:
    """Return loss and sums of the step; None where nothing had to run.

    Micro-batches are added up per replica on its device, then replicas in their order: one order, one result.
    """
    totals = [
        sum((loss for loss, _ in report), torch.zeros((), device=device)) for report in reports
    ]
    sums = [reduce(operator.add, (part for _, part in report)) for report in reports if report]
    return sum(map(float, totals)), reduce(operator.add, sums) if sums else None
