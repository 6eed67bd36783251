"""The learner: owns the model, its optimizer and its reference, and takes one step at a time.

Inputs are `Sample`s with their advantages, or with rewards that a value model beside the policy
(`learner.critic`) turns into advantages; outputs are changed weights and `UpdateMetrics`. A
rollout goes through `prepare` once and then through `update` minibatch by minibatch; each update
is exactly one optimizer step, with one denominator however it is split into micro-batches. There
is no randomness here: the same calls in the same order give the same weights.

Departures from the DeepSeek-R1 paper, and choices where it is silent:

1. pi_old is the sampler's own record of its log-probabilities (section 2, eq. 1), not a second pass
   through the learner. With `importance_cap`, pi_old is the learner's and the difference between
   the two enters as a truncated importance weight.
2. The reference is copied from the policy after every `reference_every` optimizer steps. Reference
   log-probabilities are those of the moment of `prepare`, so a copy in the middle of a rollout
   takes effect with the next one. In the paper the two coincide: 400 steps are 25 rollouts of 16.
3. The gradient's norm is clipped and a norm beyond `stop_grad_norm` ends the run; the paper states
   neither.
4. A step in which no sample counts still is a step, with a gradient of zero.
"""

import math
import operator
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from functools import partial, reduce
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor
from transformers import PreTrainedModel

from dianoia.algo.loss import (
    ALGORITHMS,
    KL_ESTIMATORS,
    LossSums,
    policy_loss,
    truncated_importance,
)
from dianoia.base.errors import ConfigError, TrainingStopped
from dianoia.base.limits import CPU_TOKENS
from dianoia.base.records import Sample
from dianoia.hardware.devices import synchronize, to_host_async
from dianoia.hardware.threads import run_parallel, split_round_robin, worker_count
from dianoia.learner.batching.batch import Batch, Layout, Row, collate, micro_batches, padding_share
from dianoia.learner.critic import Critic, CriticSettings, Passes
from dianoia.learner.kernels.prepare import layout_for, prepare_for_cpu
from dianoia.learner.kernels.recompute import recompute_layers
from dianoia.learner.logprobs import has_plain_head, response_logprobs
from dianoia.learner.optimizer import (
    SCHEDULES,
    adamw,
    descend,
    faults,
    gradient_norm,
    rate_factor,
)
from dianoia.learner.replicas import gather, twins
from dianoia.learner.step_metrics import UpdateMetrics, ValueMetrics, token_means

T = TypeVar("T")


class Learner:
    """One policy in training. Settings are plain values; `UpdateMetrics` says what comes out."""

    def __init__(
        self,
        model: PreTrainedModel,
        *,
        algorithm: str = "grpo",
        epsilon_low: float = 0.2,
        epsilon_high: float = 0.2,
        kl_coefficient: float = 0.0,
        kl_estimator: str = "k3",
        reference_every: int | None = None,
        importance_cap: float | None = None,
        temperature: float = 1.0,
        max_tokens: int,
        learning_rate: float,
        schedule: str = "constant",
        warmup_steps: int = 0,
        total_steps: int,
        floor: float = 0.0,
        betas: tuple[float, float] = (0.9, 0.999),
        adam_epsilon: float = 1e-8,
        weight_decay: float = 0.0,
        max_grad_norm: float = 1.0,
        stop_grad_norm: float = math.inf,
        tokens_per_micro_batch: int = 16_384,
        share_prompts: bool = True,
        autocast: Literal["none", "bfloat16"] = "none",
        recompute: bool = False,
        critic: CriticSettings | None = None,
    ) -> None:
        """Take over `model` as it is; with a KL term a frozen copy of it becomes the reference.

        `max_tokens` is the response limit (Dr. GRPO's denominator). `tokens_per_micro_batch` counts
        padded positions, prompts included; on a CPU at most CPU_TOKENS are used. `share_prompts` runs a prompt once for all of its
        samples in a micro-batch, where the architecture allows it; a GPU's bfloat16 runs rows end to end (`layout`).
        With `critic` a value model beside the policy gives every token its advantage.
        Raises ConfigError for an unknown name, ModelError for a model that no value model can be made of.
        """
        self.algorithm = _choose("algorithm", algorithm, ALGORITHMS)
        _choose("kl_estimator", kl_estimator, KL_ESTIMATORS)
        _choose("schedule", schedule, SCHEDULES)
        model.eval()  # type: ignore[no-untyped-call]
        if recompute:
            recompute_layers(model)
        prepare_for_cpu(model, autocast)
        self.model = model
        self.plain_head = has_plain_head(model)
        plain = Layout.PADDED
        self.layout = layout_for(model, autocast, share_prompts) if self.plain_head else plain
        self.epsilon_low, self.epsilon_high = epsilon_low, epsilon_high
        self.kl_coefficient, self.kl_estimator = kl_coefficient, kl_estimator
        self.reference_every = reference_every
        self.importance_cap = importance_cap
        self.temperature, self.max_tokens = temperature, max_tokens
        self.learning_rate, self.schedule = learning_rate, schedule
        self.warmup_steps, self.total_steps, self.floor = warmup_steps, total_steps, floor
        self.max_grad_norm, self.stop_grad_norm = max_grad_norm, stop_grad_norm
        most = CPU_TOKENS if model.device.type == "cpu" else tokens_per_micro_batch
        self.tokens_per_micro_batch = min(most, tokens_per_micro_batch)
        self.autocast = autocast
        self.optimizer = adamw(model, learning_rate, betas, adam_epsilon, weight_decay)
        self.reference = deepcopy(model).requires_grad_(False) if kl_coefficient > 0 else None
        self.critic: Critic | None = None
        if critic is not None:
            self.critic = Critic(
                model,
                critic,
                Passes(self.tokens_per_micro_batch, self.layout, autocast == "bfloat16"),
                kl_coefficient=kl_coefficient,
                betas=betas,
                adam_epsilon=adam_epsilon,
                weight_decay=weight_decay,
                max_grad_norm=max_grad_norm,
            )
        self._loss_kl = 0.0 if critic is not None and critic.kl_in_reward else kl_coefficient
        count = worker_count(model.device)
        self._models = twins(model, count)
        self._references = twins(self.reference, count) if self.reference is not None else []
        self.step = 0
        self._fresh = False

    # One rollout ---------------------------------------------------------------------------------

    def prepare(self, samples: Sequence[Sample], left_out: Sequence[bool] = ()) -> list[Row]:
        """Rows for `update`, in the order of `samples`; once a rollout, before its first update.

        Samples marked in `left_out` (truncated responses, say) leave both the numerator and the
        denominator of their step, but keep their place, so that minibatches still divide evenly.
        """
        assert len(left_out) in (0, len(samples)), "one mark a sample"
        counted = [not mark for mark in left_out] or [True] * len(samples)
        rows = [
            Row(sample, torch.tensor(sample.logprobs, dtype=torch.float32), counted=keep)
            for sample, keep in zip(samples, counted, strict=True)
        ]
        self._fresh = True
        if self.reference is not None or self.importance_cap is not None:
            batches = self._cut(samples)
            lanes = split_round_robin(batches, len(self._models))
            run_parallel([partial(self._fill, rows, part, lane) for lane, part in enumerate(lanes)])
        return rows if self.critic is None else self.critic.credit(rows)

    @torch.no_grad()
    def _fill(self, rows: list[Row], batches: Sequence[Sequence[int]], lane: int) -> None:
        """Exchange the rows of these micro-batches for filled ones."""
        for indices in batches:
            filled = self._with_passes([rows[index] for index in indices], lane)
            for index, row in zip(indices, filled, strict=True):
                rows[index] = row
        synchronize(self.model.device)

    def _with_passes(self, rows: Sequence[Row], lane: int) -> list[Row]:
        """The rows with the reference's, the learner's pi_old and weights, as asked for; `synchronize` later."""
        batch = self._collate(rows)
        found: dict[str, Tensor] = {}
        if self.reference is not None:
            found["ref_T"], _ = self._logprobs(self._references[lane], batch)
        if self.importance_cap is not None:
            old_BT, _ = self._logprobs(self._models[lane], batch)
            found["old_T"] = old_BT
            found["weights_T"] = truncated_importance(
                old_BT, batch.sampler_BT, batch.mask_BT, self.importance_cap
            )
        here = {name: to_host_async(values_BT.float()) for name, values_BT in found.items()}
        return [_filled(row, here, index) for index, row in enumerate(rows)]

    def update(self, rows: Sequence[Row]) -> UpdateMetrics:
        """One optimizer step on one minibatch.

        Raises TrainingStopped, with the weights untouched, for a loss or gradient that is not
        finite and for a gradient norm above `stop_grad_norm`.
        """
        counted = [row for row in rows if row.counted]
        live = [row for row in counted if self._has_gradient(row)]
        tokens = sum(len(row.sample.response_ids) for row in counted)
        denominator = self.algorithm.aggregation.denominator(len(counted), tokens, self.max_tokens)
        samples = [row.sample for row in live]
        batches = self._cut(samples)

        self.optimizer.zero_grad()
        loss, sums = self._accumulate([[live[i] for i in batch] for batch in batches], denominator)
        norm = gradient_norm(self.optimizer)
        value = None if self.critic is None else self.critic.accumulate(counted)
        self._stop_if_broken(loss, norm, value)
        rate = self._apply(norm, value)
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
        budget, lanes = self.tokens_per_micro_batch, len(self._models)
        return micro_batches(samples, budget, self.layout, lanes)

    def _collate(self, rows: Sequence[Row]) -> Batch:
        return collate(rows, 0, self.model.device, self.layout)

    def _has_gradient(self, row: Row) -> bool:
        """Whether the row has to run: advantage 0 and no KL term leave nothing to learn from it."""
        return row.credit is not None or self._loss_kl > 0 or row.sample.advantage != 0

    def _accumulate(
        self, batches: Sequence[Sequence[Row]], denominator: int
    ) -> tuple[float, LossSums | None]:
        """Leaves the step's gradient in `.grad`; returns loss and sums (None: nothing to run)."""
        jobs = [
            partial(self._accumulate_lane, self._models[lane], part, denominator)
            for lane, part in enumerate(split_round_robin(batches, len(self._models)))
        ]
        losses, parts = zip(*run_parallel(jobs), strict=True)
        gather(self._models)
        known = [part for part in parts if part is not None]
        return sum(losses), reduce(operator.add, known) if known else None

    def _accumulate_lane(
        self, model: PreTrainedModel, batches: Sequence[Sequence[Row]], denominator: int
    ) -> tuple[float, LossSums | None]:
        """`_accumulate` of one lane, into the gradients of its own twin."""
        loss, sums = torch.zeros((), device=model.device), None
        for rows in batches:
            batch = self._collate(rows)
            logprobs_BT, entropy_BT = self._logprobs(model, batch, with_entropy=True)
            numerator, part = policy_loss(
                self.algorithm,
                logprobs_BT,
                batch.old_BT,
                batch.advantages,
                batch.mask_BT,
                epsilon_low=self.epsilon_low,
                epsilon_high=self.epsilon_high,
                ref_BT=batch.ref_BT,
                kl_coefficient=self._loss_kl,
                kl_estimator=self.kl_estimator,
                weights_BT=batch.weights_BT,
                entropy_BT=entropy_BT,
                sampler_BT=batch.sampler_BT,
            )
            (numerator / denominator).backward()  # type: ignore[no-untyped-call]
            loss = loss + numerator.detach() / denominator
            sums = part if sums is None else sums + part
        return float(loss), sums

    def _logprobs(
        self, model: PreTrainedModel, batch: Batch, with_entropy: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        enabled = self.autocast == "bfloat16"
        with torch.autocast(self.model.device.type, torch.bfloat16, enabled=enabled):
            return response_logprobs(
                model,
                batch,
                self.temperature,
                with_entropy=with_entropy,
                plain_head=self.plain_head,
            )

    def _stop_if_broken(self, loss: float, norm: float, value: ValueMetrics | None) -> None:
        broken = faults(loss, norm, self.stop_grad_norm)
        rates = f"lower optimizer.learning_rate (now {self.learning_rate:g})"
        if self.critic is not None and value is not None:
            limit = self.stop_grad_norm
            if of_value := faults(value.loss, value.grad_norm, limit, of="value model's "):
                rate = self.critic.settings.learning_rate
                rates += f" or algorithm.value_learning_rate (now {rate:g})"
                broken += of_value
        if not broken:
            return
        self.optimizer.zero_grad()
        if self.critic is not None:
            self.critic.optimizer.zero_grad()
        raise TrainingStopped(
            f"Training stopped before optimizer step {self.step + 1}: {' and '.join(broken)}. No "
            "weight was changed. Read the rollouts of this step; then start a new run (another --out) "
            f"with a {rates}, a smaller "
            f"algorithm.clip_high (now {self.epsilon_high:g}) or a smaller optimizer.max_grad_norm "
            f"(now {self.max_grad_norm:g})."
        )

    def _apply(self, norm: float, value: ValueMetrics | None) -> float:
        """Clip, step, count, refresh the reference when it is time; returns the learning rate."""
        factor = rate_factor(
            self.step,
            schedule=self.schedule,
            warmup_steps=self.warmup_steps,
            total_steps=self.total_steps,
            floor=self.floor,
        )
        rate = self.learning_rate * factor
        descend(self.optimizer, rate, norm, self.max_grad_norm)
        if self.critic is not None and value is not None:
            self.critic.apply(value, factor)
        self.step += 1
        due = bool(self.reference_every) and self.step % (self.reference_every or 1) == 0
        if due and self.reference is not None:
            self.reference.load_state_dict(self.model.state_dict())
        return rate

    def _means(self, sums: LossSums | None) -> dict[str, float | None]:
        fresh, self._fresh = self._fresh and self.algorithm.sampled, False
        return token_means(sums, with_kl=self.reference is not None, with_gap=fresh)

    # Weights in and out --------------------------------------------------------------------------

    def weights(self) -> Mapping[str, Tensor]:
        """Parameters and persistent buffers by name, live: the next update changes them."""
        return self.model.state_dict()

    def state_dict(self) -> dict[str, Any]:
        """Everything an exact continuation needs, as live tensors: write it out before going on."""
        return {
            "step": self.step,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "reference": None if self.reference is None else self.reference.state_dict(),
            "critic": None if self.critic is None else self.critic.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict` of a learner with the same settings.

        Raises ConfigError if one of the two has a reference or a value model and the other has not.
        """
        if (state["reference"] is None) != (self.reference is None):
            raise ConfigError(
                f"The checkpoint was written {'without' if self.reference else 'with'} a reference "
                f"model, and kl_coefficient is now {self.kl_coefficient:g}. Resume with the value "
                "the run began with, or start a new run from the saved model."
            )
        if (state.get("critic") is None) != (self.critic is None):
            raise ConfigError(
                f"The checkpoint was written {'without' if self.critic else 'with'} a value model, which "
                "only algorithm.name = 'ppo' has. Resume with the algorithm the run began with, or start "
                "a new run from the saved model."
            )
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.critic is not None:
            self.critic.load_state_dict(state["critic"])
        if self.reference is not None:
            self.reference.load_state_dict(state["reference"])
        self.step = state["step"]

    def save(self, folder: Path) -> None:
        """An ordinary Hugging Face folder with the model; the tokenizer is the caller's."""
        self.model.save_pretrained(folder)


def _choose(option: str, name: str, table: Mapping[str, T]) -> T:
    if name not in table:
        raise ConfigError(f"{option} is {name!r}; choose one of {', '.join(sorted(table))}.")
    return table[name]


def _filled(row: Row, found: Mapping[str, Tensor], index: int) -> Row:
    """With what was found (fields of a row by name, `_BT`) in line `index`."""
    fields: dict[str, Any] = {name: _row(found[name], index, row.sample) for name in found}
    return replace(row, **fields)


def _row(values_BT: Tensor, index: int, sample: Sample) -> Tensor:
    """The real positions of one row."""
    return values_BT[index, : len(sample.response_ids)]
