"""The learner of supervised fine-tuning: the mean negative log-likelihood of a step's learnt tokens.

Inputs are the `Demonstration`s of an optimizer step; outputs are changed weights and `SupervisedMetrics`.
There is one denominator a step, the learnt tokens of all its samples, however they are packed into rows;
rows run beside one another on a CPU's threads. There is no randomness here, and no dropout.

Choices where the DeepSeek-R1 paper is silent: the mean is over tokens, so that a long response counts for
more than a short one, as in most implementations; prompts carry no loss.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from dianoia.algo.likelihood import token_losses
from dianoia.base.errors import TrainingStopped
from dianoia.base.limits import CPU_ROW_TOKENS, LOGITS_AT_ONCE
from dianoia.hardware.threads import run_parallel, split_round_robin, worker_count
from dianoia.learner.attention.packed_rows import (
    Demonstration,
    can_pack,
    lay_samples,
    packed_logits,
    packed_states,
)
from dianoia.learner.batching.batch import PackedRow
from dianoia.learner.batching.packing import pack
from dianoia.learner.descent import Descent
from dianoia.learner.kernels.prepare import prepare_for_cpu, prepared_for_gpu
from dianoia.learner.kernels.recompute import recompute_layers
from dianoia.learner.logprobs import gpu_scores, has_plain_head, head_alone
from dianoia.learner.replicas import gather, twins


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


class SupervisedLearner:
    """A model that learns to write what it is shown."""

    def __init__(
        self,
        model: PreTrainedModel,
        descent: Descent,
        *,
        tokens_per_row: int = 16_384,
        autocast: Literal["none", "bfloat16"] = "none",
        recompute: bool = False,
    ) -> None:
        """Take over `model` as it is. On a CPU a row has at most CPU_ROW_TOKENS tokens.

        `packs` says whether the architecture allows several samples in a row; elsewhere each has its own.
        """
        model.eval()  # type: ignore[no-untyped-call]
        if recompute:
            recompute_layers(model)
        prepare_for_cpu(model, autocast)
        self.model, self.descent = model, descent
        self.plain_head = has_plain_head(model)
        self.packs = prepared_for_gpu(model, autocast) or can_pack(model)
        most = CPU_ROW_TOKENS if model.device.type == "cpu" else tokens_per_row
        self.tokens_per_row = min(most, tokens_per_row)
        self.autocast = autocast
        self._models = twins(model, worker_count(model.device))

    @property
    def step(self) -> int:
        """Optimizer steps taken."""
        return self.descent.step

    def update(self, samples: Sequence[Demonstration]) -> SupervisedMetrics:
        """One optimizer step. Raises TrainingStopped, with the weights untouched, as `Descent.take`."""
        self.descent.optimizer.zero_grad()
        loss, accuracy = self._over(samples, learn=True)
        gather(self._models)
        norm, rate = self.descent.take(loss)
        return SupervisedMetrics(self.step, loss, accuracy, norm, rate)

    def evaluate(self, samples: Sequence[Demonstration]) -> tuple[float, float]:
        """Mean loss a learnt token, in nats, and the share of tokens that were the likeliest one.

        Raises TrainingStopped for a loss that is not finite.
        """
        loss, accuracy = self._over(samples, learn=False)
        if not math.isfinite(loss):
            raise TrainingStopped(
                f"Training stopped after optimizer step {self.step}: the evaluation loss is {loss:g}, so "
                "the model is broken. Start a new run (another --out) from another model, or with a lower "
                f"optimizer.learning_rate (now {self.descent.learning_rate:g})."
            )
        return loss, accuracy

    def _over(self, samples: Sequence[Demonstration], learn: bool) -> tuple[float, float]:
        """Loss and accuracy over all learnt tokens; with `learn` the gradients, in the twins' `.grad`."""
        denominator = sum(int(sample.learnt_L.sum()) for sample in samples)
        rows = self._rows(samples)
        jobs = [
            partial(self._lane, self._models[lane], part, denominator, learn)
            for lane, part in enumerate(split_round_robin(rows, len(self._models)))
        ]
        losses, rights = zip(*run_parallel(jobs), strict=True)
        return sum(losses) / denominator, sum(rights) / denominator

    def _rows(self, samples: Sequence[Demonstration]) -> list[list[Demonstration]]:
        """Packed rows: within the budget, and enough of them for every lane."""
        if not self.packs:
            return [[sample] for sample in samples]
        lengths = [len(sample) for sample in samples]
        fair = -(-sum(lengths) // len(self._models))
        rows = pack(lengths, min(self.tokens_per_row, max(fair, *lengths, 1)))
        return [[samples[index] for index in row] for row in rows]

    def _lane(
        self,
        model: PreTrainedModel,
        rows: Sequence[Sequence[Demonstration]],
        denominator: int,
        learn: bool,
    ) -> tuple[float, int]:
        """Sums over the rows of one lane: loss in nats, tokens that were the likeliest."""
        # sums stay on the device: asking for one would wait for every row
        total = torch.zeros((), dtype=torch.float64, device=model.device)
        right = torch.zeros((), dtype=torch.int64, device=model.device)
        with torch.set_grad_enabled(learn):
            for samples in rows:
                losses_M, right_M = self.token_losses(model, lay_samples(samples, model.device))
                if learn:
                    (losses_M.sum() / denominator).backward()  # type: ignore[no-untyped-call]
                total += losses_M.detach().double().sum()
                right += right_M.sum()
        return float(total), int(right)

    def token_losses(self, model: PreTrainedModel, row: PackedRow) -> tuple[Tensor, Tensor]:
        """Loss of each learnt token of a row in nats, and whether it was the likeliest; both `_M`."""
        enabled = self.autocast == "bfloat16"
        with torch.autocast(model.device.type, torch.bfloat16, enabled=enabled):
            if not self.plain_head:
                return token_losses(packed_logits(model, row), row.targets_M)
            return _in_chunks(model, packed_states(model, row), row.targets_M)

    def state_dict(self) -> dict[str, Any]:
        """Everything an exact continuation needs, as live tensors: write it out before going on."""
        return {"model": self.model.state_dict(), "descent": self.descent.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict` of a learner with the same settings."""
        self.model.load_state_dict(state["model"])
        self.descent.load_state_dict(state["descent"])

    def save(self, folder: Path) -> None:
        """An ordinary Hugging Face folder with the model; the tokenizer is the caller's."""
        self.model.save_pretrained(folder)


def _in_chunks(
    model: PreTrainedModel, states_MD: Tensor, targets_M: Tensor
) -> tuple[Tensor, Tensor]:
    """`token_losses` under the output head; of several chunks logits are not kept but computed again."""
    if states_MD.device.type == "cuda":
        scores = gpu_scores(model, states_MD, targets_M)
        return -scores.logprobs, scores.likeliest
    logits_of, vocabulary = head_alone(model)
    size = max(1, LOGITS_AT_ONCE // vocabulary)

    def score(states_CD: Tensor, targets_C: Tensor) -> tuple[Tensor, Tensor]:
        return token_losses(logits_of(states_CD), targets_C)

    if len(targets_M) <= size:
        return score(states_MD, targets_M)
    chunks = zip(torch.split(states_MD, size), torch.split(targets_M, size), strict=True)
    scored = [checkpoint(score, *chunk, use_reentrant=False) for chunk in chunks]
    losses, rights = zip(*cast(list[tuple[Tensor, Tensor]], scored), strict=True)
    return torch.cat(losses), torch.cat(rights)
