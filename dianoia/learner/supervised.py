"""The learner of supervised fine-tuning: the mean negative log-likelihood of a step's learnt tokens.

In: the `Demonstration`s of an optimizer step. Out: changed weights and `SupervisedMetrics`. There is one denominator per
step, the learnt tokens of all its samples, however they are packed into rows; rows run side by side on a CPU's threads.

Choices where the DeepSeek-R1 paper is silent: the mean is over tokens, so that a long response counts for more than a
short one, as in most implementations; prompts carry no loss.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import cast

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from dianoia.algo.loss import token_losses
from dianoia.base.errors import TrainingStopped
from dianoia.base.limits import CPU_ROW_TOKENS, LOGITS_AT_ONCE
from dianoia.config import OptimizerSettings
from dianoia.learner.attention.packed_rows import (
    Demonstration,
    can_pack,
    pack_demonstrations,
    packed_logits,
    packed_states,
)
from dianoia.learner.batching.batch import PackedRow
from dianoia.learner.batching.packing import pack
from dianoia.learner.kernels.prepare import packs_on_gpu, prepare_for_gpu
from dianoia.learner.logprobs import gpu_scores, has_plain_head, head_alone
from dianoia.learner.shards import Sharding
from dianoia.learner.trainer import Autocast, Learner, Trainer


@dataclass(frozen=True, slots=True)
class SupervisedMetrics:
    """One optimizer step in numbers."""

    step: int
    """Optimizer steps taken so far, this one included."""
    loss: float
    """Mean negative log-likelihood of the step's learnt tokens, in nats, before the update."""
    mean_token_accuracy: float
    """Share of these tokens that were the likeliest one."""
    grad_norm: float
    """Euclidean norm of the gradient before clipping."""
    learning_rate: float


class SupervisedLearner(Learner):
    """A model that learns to write what it is shown."""

    def __init__(
        self,
        model: PreTrainedModel,
        optimizer: OptimizerSettings,
        *,
        total_steps: int,
        tokens_per_row: int = 16_384,
        autocast: Autocast = "none",
        recompute: bool = False,
        sharding: Sharding | None = None,
    ) -> None:
        """Take over `model` as it is, with `sharding` as `Trainer` does. On a CPU a row has at most CPU_ROW_TOKENS tokens.

        `packs` tells whether the architecture allows several samples in a row; otherwise each sample is a row.
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
        self.plain_head = self.trainer.ask(has_plain_head)
        # Asked before the model is exchanged: the answer runs the model both ways.
        if self.trainer.ask(lambda part: packs_on_gpu(part, autocast)):
            self.trainer.exchange(lambda part: prepare_for_gpu(part, autocast))
            self.packs = True
        else:
            self.packs = self.trainer.ask(can_pack)
        self.tokens_per_row = self.trainer.token_budget(tokens_per_row, CPU_ROW_TOKENS)

    def update(self, samples: Sequence[Demonstration]) -> SupervisedMetrics:
        """Take one optimizer step. Raises TrainingStopped, with the weights untouched, as `Trainer.take_step`."""
        denominator = _learnt_tokens(samples)
        loss_of = partial(self._row_loss, denominator)
        reports = self.trainer.replicas.accumulate(loss_of, self.rows(samples))
        # The loss before the step; the gradient is in place by now.
        loss, accuracy = self._means(reports, denominator)
        norm, rate = self.trainer.take_step(loss)
        return SupervisedMetrics(self.step, loss, accuracy, norm, rate)

    def evaluate(self, samples: Sequence[Demonstration]) -> tuple[float, float]:
        """Return the mean loss per learnt token in nats, and the share of tokens that were the likeliest one.

        Raises TrainingStopped for a loss that is not finite.
        """
        denominator = _learnt_tokens(samples)

        def measure(model: PreTrainedModel, row: Sequence[Demonstration]) -> tuple[Tensor, Tensor]:
            return self._row_loss(denominator, model, row)[1]

        reports = self.trainer.evaluate(self.rows(samples), measure)
        loss, accuracy = self._means(reports, denominator)
        if not math.isfinite(loss):
            raise TrainingStopped(
                f"Training stopped after optimizer step {self.step}: the evaluation loss is {loss:g}, so "
                "the model is broken. Start a new run (another --out) from another model, or with a lower "
                f"optimizer.learning_rate (now {self.trainer.settings.learning_rate:g})."
            )
        return loss, accuracy

    def rows(self, samples: Sequence[Demonstration]) -> list[list[Demonstration]]:
        """Return the samples of each packed row: within the budget, and a row for every replica."""
        # A row of one sample is an ordinary pass, see `packed_rows`.
        if not self.packs:
            return [[sample] for sample in samples]
        lengths = [len(sample) for sample in samples]
        # Rows shorter than the budget where that gives every replica one of them.
        fair_share = -(-sum(lengths) // self.trainer.replicas.count)
        rows = pack(lengths, min(self.tokens_per_row, max(fair_share, *lengths, 1)))
        return [[samples[index] for index in row] for row in rows]

    def _row_loss(
        self, denominator: int, model: PreTrainedModel, samples: Sequence[Demonstration]
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return a row's share of the loss with gradient; then its sum in nats, and the tokens that were the likeliest."""
        row = pack_demonstrations(samples, self.trainer.device)
        losses_M, likeliest_M = self.token_losses(model, row)
        # Reports stay on the device: asking for their numbers would wait for every row.
        report = losses_M.detach().double().sum(), likeliest_M.sum()
        return losses_M.sum() / denominator, report

    def _means(
        self, reports: Sequence[Sequence[tuple[Tensor, Tensor]]], denominator: int
    ) -> tuple[float, float]:
        """Return loss and accuracy: rows are added up per replica, then replicas in their order."""
        zeros = torch.zeros((), dtype=torch.float64, device=self.trainer.device)
        losses = [float(sum((loss for loss, _ in report), zeros)) for report in reports]
        counts = [int(sum(count for _, count in report)) for report in reports]
        return sum(losses) / denominator, sum(counts) / denominator

    def token_losses(self, model: PreTrainedModel, row: PackedRow) -> tuple[Tensor, Tensor]:
        """Return the loss of each learnt token of a row in nats, and whether it was the likeliest; both `_M`."""
        with self.trainer.precision():
            if not self.plain_head:
                return token_losses(packed_logits(model, row), row.targets_M)
            return _in_chunks(model, packed_states(model, row), row.targets_M)


def _learnt_tokens(samples: Sequence[Demonstration]) -> int:
    """Return the denominator of a step."""
    return sum(int(sample.learnt_L.sum()) for sample in samples)


def _in_chunks(
    model: PreTrainedModel, states_MD: Tensor, targets_M: Tensor
) -> tuple[Tensor, Tensor]:
    """Return `token_losses` under the output head; logits of several chunks are computed again instead of kept."""
    if states_MD.device.type == "cuda":
        scores = gpu_scores(model, states_MD, targets_M)
        return -scores.logprobs, scores.likeliest
    logits_of, vocabulary = head_alone(model)
    size = max(1, LOGITS_AT_ONCE // vocabulary)

    def score(states_CD: Tensor, targets_C: Tensor) -> tuple[Tensor, Tensor]:
        return token_losses(logits_of(states_CD), targets_C)

    # A single chunk keeps its logits: computing them again would cost time and save nothing.
    if len(targets_M) <= size:
        return score(states_MD, targets_M)
    # Only hidden states are kept: logits of a chunk are made again in the backward pass.
    chunks = zip(torch.split(states_MD, size), torch.split(targets_M, size), strict=True)
    scores_of_chunks = [checkpoint(score, *chunk, use_reentrant=False) for chunk in chunks]
    losses, likeliest = zip(*cast(list[tuple[Tensor, Tensor]], scores_of_chunks), strict=True)
    return torch.cat(losses), torch.cat(likeliest)
