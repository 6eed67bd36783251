"""The value model of PPO and its optimizer: what return is to be expected at each token of a response.

In: rows of `learner.batching.batch`, and the policy as it is at the start. Out: the rows with their `Credit` (once a
rollout), changed weights of the value model, and `ValueMetrics` (once an optimizer step of the policy).

A model of its own: the policy's backbone, copied, and a linear map of its last hidden states to one number.
The map begins at zero, so every value begins at 0 and the first rollout has Monte Carlo advantages; the
backbone has a gradient from the second step on. A model that shares the policy's backbone would halve the
memory and pull the policy's features about; PPO for language models does without (InstructGPT, C.4).
"""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
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
from dianoia.hardware.devices import synchronize, to_host_async
from dianoia.hardware.threads import run_parallel, split_round_robin, worker_count
from dianoia.learner.batching.batch import Batch, Credit, Layout, Row, collate, micro_batches
from dianoia.learner.logprobs import at_mask, states_before
from dianoia.learner.optimizer import adamw, descend, gradient_norm
from dianoia.learner.replicas import gather, twins
from dianoia.learner.step_metrics import ValueMetrics


@dataclass(frozen=True, slots=True)
class CriticSettings:
    """How tokens are credited and how the value model learns. Sources stand with `algo.gae`."""

    learning_rate: float
    """Peak rate; the schedule is the policy's."""
    gamma: float = 1.0
    lam: float = 1.0
    whiten: bool = True
    clip: float | None = None
    """Bound on how far values move within a rollout; None: none."""
    kl_in_reward: bool = False
    """Whether the KL term is a penalty a token in the reward, and no term of the loss."""


@dataclass(frozen=True, slots=True)
class Passes:
    """How forward passes are cut up; it changes memory and speed, never the result."""

    tokens: int
    """Positions of a micro-batch, padding included."""
    layout: Layout
    autocast: bool
    """Whether matrix products are in bfloat16."""


class ValueModel(nn.Module):
    """A backbone and a scalar head that begins at zero."""

    def __init__(self, policy: PreTrainedModel) -> None:
        super().__init__()
        backbone = policy.base_model
        if backbone is policy:
            raise ModelError(
                f"algorithm.name = 'ppo': the architecture {type(policy).__name__} has no backbone apart from "
                "its output head, and a value model needs its hidden states; take another model, or an "
                "algorithm without a value model such as 'grpo'."
            )
        self.backbone = cast(PreTrainedModel, deepcopy(backbone))
        width, weight = policy.config.get_text_config().hidden_size, next(backbone.parameters())
        self.head = nn.Linear(width, 1, device=weight.device, dtype=weight.dtype)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, batch: Batch, autocast: bool = False) -> Tensor:
        """Values `_BT` of the states before each response token, at least float32; 0 where masked."""
        device = self.head.weight.device.type
        with torch.autocast(device, torch.bfloat16, enabled=autocast):
            states_ND = states_before(self.backbone, batch)
        with torch.autocast(device, enabled=False):
            values_N = self.head(states_ND.to(self.head.weight.dtype))[:, 0]
        kind = torch.promote_types(values_N.dtype, torch.float32)
        return at_mask(values_N.to(kind), batch)


class Critic:
    """Gives credit to rollouts, and learns from them one optimizer step at a time."""

    def __init__(
        self,
        policy: PreTrainedModel,
        settings: CriticSettings,
        passes: Passes,
        *,
        kl_coefficient: float,
        betas: tuple[float, float],
        adam_epsilon: float,
        weight_decay: float,
        max_grad_norm: float,
    ) -> None:
        """Copy the policy's backbone as it is now. Raises ModelError where there is none."""
        self.settings, self.passes, self.max_grad_norm = settings, passes, max_grad_norm
        self.penalty = kl_coefficient if settings.kl_in_reward else 0.0
        self.model = ValueModel(policy)
        self.device = policy.device
        self.optimizer = adamw(
            self.model, settings.learning_rate, betas, adam_epsilon, weight_decay
        )
        self._models = twins(self.model, worker_count(self.device))

    # One rollout ---------------------------------------------------------------------------------

    def credit(self, rows: Sequence[Row]) -> list[Row]:
        """All rows of a rollout with values, advantages and returns, on the CPU."""
        values = self._values(rows)
        mask_BT = _padded([torch.ones(len(each), dtype=torch.bool) for each in values])
        values_BT = _padded(values)
        advantages_BT = gae_batch(
            self._rewards(rows, mask_BT), values_BT, mask_BT, self.settings.gamma, self.settings.lam
        )
        returns_BT = advantages_BT + values_BT
        if self.settings.whiten:
            counted_B = torch.tensor([row.counted for row in rows])
            advantages_BT = whiten(advantages_BT, mask_BT & counted_B[:, None])
        return [
            replace(row, credit=Credit(*(each[: len(values_T)] for each in three)))
            for row, values_T, *three in zip(
                rows, values, advantages_BT, values_BT, returns_BT, strict=True
            )
        ]

    def _rewards(self, rows: Sequence[Row], mask_BT: Tensor) -> Tensor:
        rewards_BT = outcome_rewards(torch.tensor([row.sample.reward for row in rows]), mask_BT)
        if not self.penalty:
            return rewards_BT
        references = [row.ref_T for row in rows if row.ref_T is not None]
        assert len(references) == len(rows), "a penalty needs the reference's log-probabilities"
        old_BT, ref_BT = _padded([row.old_T for row in rows]), _padded(references)
        return rewards_BT + kl_rewards(old_BT, ref_BT, mask_BT, self.penalty)

    def _values(self, rows: Sequence[Row]) -> list[Tensor]:
        """Values `_T` of each row, float32 on the CPU."""
        values: list[Tensor] = [torch.empty(0)] * len(rows)
        batches = self._cut(rows)
        jobs = [
            partial(self._fill, values, rows, part, self._models[lane])
            for lane, part in enumerate(split_round_robin(batches, len(self._models)))
        ]
        run_parallel(jobs)
        return values

    @torch.no_grad()
    def _fill(
        self,
        values: list[Tensor],
        rows: Sequence[Row],
        batches: Sequence[Sequence[int]],
        model: ValueModel,
    ) -> None:
        for indices in batches:
            values_BT = to_host_async(
                self._run(model, [rows[index] for index in indices])[1].float()
            )
            for index, values_T in zip(indices, values_BT, strict=True):
                values[index] = values_T[: len(rows[index].sample.response_ids)]
        synchronize(self.device)

    def _cut(self, rows: Sequence[Row]) -> list[list[int]]:
        samples = [row.sample for row in rows]
        passes = self.passes
        lanes = len(self._models)
        return micro_batches(samples, passes.tokens, passes.layout, lanes)

    def _run(self, model: ValueModel, rows: Sequence[Row]) -> tuple[Batch, Tensor]:
        passes = self.passes
        batch = collate(rows, device=self.device, layout=passes.layout)
        return batch, model(batch, passes.autocast)

    # One step ------------------------------------------------------------------------------------

    def accumulate(self, rows: Sequence[Row]) -> ValueMetrics:
        """Leave the gradient of the step's loss in `.grad`; `apply` takes the step."""
        self.optimizer.zero_grad()
        batches = [[rows[index] for index in batch] for batch in self._cut(rows)]
        tokens = sum(len(row.sample.response_ids) for row in rows)
        jobs = [
            partial(self._accumulate_lane, self._models[lane], part, tokens)
            for lane, part in enumerate(split_round_robin(batches, len(self._models)))
        ]
        losses, clipped = zip(*run_parallel(jobs), strict=True)
        gather(self._models)
        norm = gradient_norm(self.optimizer)
        return _metrics(rows, sum(losses), sum(clipped) / max(1, tokens), norm)

    def _accumulate_lane(
        self, model: ValueModel, batches: Sequence[Sequence[Row]], tokens: int
    ) -> tuple[float, int]:
        """(loss, tokens at the bound) of one lane, into the gradients of its own twin."""
        # sums stay on the device: asking for one would wait for every micro-batch
        loss = torch.zeros((), dtype=torch.float64, device=self.device)
        clipped = torch.zeros((), dtype=torch.int64, device=self.device)
        for rows in batches:
            batch, values_BT = self._run(model, rows)
            assert batch.credit is not None, "rows come from `credit`"
            numerator, held = value_loss(
                values_BT,
                batch.credit.values_T,
                batch.credit.returns_T,
                batch.mask_BT,
                self.settings.clip,
            )
            (numerator / tokens).backward()  # type: ignore[no-untyped-call]
            loss += numerator.detach().double() / tokens
            clipped += held
        return float(loss), int(clipped)

    def apply(self, metrics: ValueMetrics, factor: float) -> None:
        """Take the step that `accumulate` prepared, at `factor` times the peak learning rate."""
        rate = self.settings.learning_rate * factor
        descend(self.optimizer, rate, metrics.grad_norm, self.max_grad_norm)

    # Weights in and out --------------------------------------------------------------------------

    def state_dict(self) -> dict[str, object]:
        """Everything an exact continuation needs, as live tensors."""
        return {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, dict[str, Tensor]]) -> None:
        """Continue from `state_dict`."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])


def _metrics(rows: Sequence[Row], loss: float, clipped: float, norm: float) -> ValueMetrics:
    """What was believed before the rollout's first update, and what this step makes of it."""
    credits = [row.credit for row in rows if row.credit is not None]
    if not credits:
        return ValueMetrics(loss, norm, clipped, None, None, None, None)
    values_M = torch.cat([credit.values_T for credit in credits])
    returns_M = torch.cat([credit.returns_T for credit in credits])
    advantages_M = returns_M - values_M
    return ValueMetrics(
        loss=loss,
        grad_norm=norm,
        clip_fraction=clipped,
        explained_variance=explained_variance(values_M, returns_M),
        values_mean=float(values_M.mean()),
        advantages_mean=float(advantages_M.mean()),
        advantages_std=float(advantages_M.std(correction=0)),
    )


def _padded(rows: Sequence[Tensor]) -> Tensor:
    return nn.utils.rnn.pad_sequence(list(rows), batch_first=True)
