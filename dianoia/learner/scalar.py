"""A scalar head on a causal language model's backbone: one reward a text, and its training.

Inputs are token ids; outputs are rewards, changed weights and `ScalarMetrics`. The models are
transformers' own `AutoModelForSequenceClassification` with one label, loaded from and saved to ordinary
folders. Each update is exactly one optimizer step, with one denominator however it is split into
micro-batches.

Departures from the DeepSeek-R1 paper (section 3.1), and choices where it is silent:

1. The reward is read where transformers reads it: at the last token that is not padding. Rows are padded
   on the right; `prepare_padding` sees to it that model and tokenizer mean the same token by it.
2. No dropout: a pair's two rewards come from one and the same network.
3. Where the model allows it (`learner.attention.shared_prefixes`), what texts of a micro-batch begin with in common runs once: the
   prompt of a pair, and that of all responses to a question.
4. The gradient's norm is clipped and a norm beyond `stop_grad_norm` ends the run, as in `Learner`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from dianoia.algo.preference_loss import bradley_terry_loss, pointwise_loss
from dianoia.base.limits import CPU_TOKENS
from dianoia.hardware.threads import run_parallel, split_round_robin, worker_count
from dianoia.learner.attention.shared_prefixes import (
    Ids,
    can_share_prefixes,
    last_states,
    lay_prefixes,
)
from dianoia.learner.batching.packing import alike
from dianoia.learner.descent import Descent
from dianoia.learner.kernels.prepare import prepare_for_cpu
from dianoia.learner.kernels.recompute import recompute_layers
from dianoia.learner.replicas import gather, twins


@dataclass(frozen=True, slots=True)
class Example:
    """Texts that are learnt from together: a pair, the better one first, or a labelled response."""

    texts: tuple[Ids, ...]
    good: bool | None = None
    """The label; None for a pair."""

    @property
    def longest(self) -> int:
        """Tokens of the longest text."""
        return max(map(len, self.texts))


@dataclass(frozen=True, slots=True)
class ScalarMetrics:
    """One optimizer step in numbers."""

    step: int
    """Optimizer steps taken so far, this one included."""
    loss: float
    """Mean over the examples of the step, nats."""
    grad_norm: float
    """Euclidean norm of the gradient before clipping."""
    learning_rate: float
    tokens: int
    """Real tokens of the step."""
    rewards: tuple[tuple[float, ...], ...]
    """Of every text of every example, in their order, before the step."""


def micro_batches(examples: Sequence[Example], tokens: int, lanes: int = 1) -> list[list[int]]:
    """Indices of `examples`, longest first, so that a batch has at most `tokens` padded positions.

    A pair stays together, since its loss needs both rewards; where there are examples enough, each lane
    gets a batch. Deterministic.
    """
    return alike([one.longest * len(one.texts) for one in examples], tokens, lanes)


def losses(rewards_BR: Tensor, examples: Sequence[Example]) -> Tensor:
    """Loss `_B` of each example; R is 2 for pairs, 1 for labelled responses."""
    if examples[0].good is None:
        return bradley_terry_loss(rewards_BR[:, 0], rewards_BR[:, 1])
    good_B = torch.tensor([bool(example.good) for example in examples], device=rewards_BR.device)
    return pointwise_loss(rewards_BR[:, 0], good_B)


def forward(model: PreTrainedModel, texts: Sequence[Ids], shared: bool = False) -> Tensor:
    """Reward `_N` of each text, with gradient; `shared`: the caller knows that `can_share` holds."""
    if shared:
        read = [up_to_reward(ids, pad_id(model)) for ids in texts]
        states_ND = last_states(model, lay_prefixes(read, model.device))
        scores_N1: Tensor = cast(Any, model).score(states_ND)
        return scores_N1[:, 0]
    pad = pad_id(model)
    rows = [torch.tensor(ids) for ids in texts]
    ids_NL = nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=pad)
    lengths_N1 = torch.tensor([[len(ids)] for ids in texts])
    mask_NL = (torch.arange(ids_NL.shape[1])[None] < lengths_N1).long()
    ids_NL, mask_NL = ids_NL.to(model.device), mask_NL.to(model.device)
    output = model(input_ids=ids_NL, attention_mask=mask_NL, use_cache=False)
    rewards_N: Tensor = output.logits[:, 0]
    return rewards_N


def can_share(model: PreTrainedModel) -> bool:
    """Whether texts may run what they begin with in common once, and the reward is a product of the last state."""
    return isinstance(getattr(model, "score", None), nn.Linear) and can_share_prefixes(model)


def pad_id(model: PreTrainedModel) -> int:
    """The id that is padded with, and that the model passes over when it reads the reward."""
    pad: int | None = model.config.get_text_config().pad_token_id
    assert pad is not None, "prepare_padding sets it"
    return pad


def up_to_reward(ids: Ids, pad: int) -> Ids:
    """A text up to the token at which transformers reads its reward: the last one that is not `pad`.

    Where the end token is padded with, a text that ends in it is read before it; one of nothing else, at its first.
    """
    end = len(ids)
    while end > 1 and ids[end - 1] == pad:
        end -= 1
    return ids[:end]


class Rewarder:
    """Rewards of token ids without gradients; a CPU's threads work on batches of their own."""

    def __init__(self, models: Sequence[PreTrainedModel], tokens_per_batch: int) -> None:
        self.models, self.tokens = models, tokens_per_batch
        self.shared = can_share(models[0])

    def __call__(self, texts: Sequence[Ids]) -> list[float]:
        """Reward of each text, in order; computed longest first."""
        examples = [Example((ids,), good=True) for ids in texts]
        batches = micro_batches(examples, self.tokens, len(self.models))
        jobs = [
            partial(self._lane, self.models[lane], texts, part)
            for lane, part in enumerate(split_round_robin(batches, len(self.models)))
        ]
        found = {index: reward for part in run_parallel(jobs) for index, reward in part}
        return [found[index] for index in range(len(texts))]

    @torch.no_grad()
    def _lane(
        self, model: PreTrainedModel, texts: Sequence[Ids], batches: Sequence[Sequence[int]]
    ) -> list[tuple[int, float]]:
        found: list[tuple[int, float]] = []
        for batch in batches:
            rewards = forward(model, [texts[index] for index in batch], self.shared)
            found += zip(batch, rewards.float().tolist(), strict=True)
        return found


class ScalarLearner:
    """One reward model in training."""

    def __init__(
        self,
        model: PreTrainedModel,
        descent: Descent,
        *,
        tokens_per_micro_batch: int = 16_384,
        autocast: Literal["none", "bfloat16"] = "none",
        recompute: bool = False,
    ) -> None:
        """Take over `model` as it is. `tokens_per_micro_batch` counts padded positions; on a CPU at most
        CPU_TOKENS are used."""
        nn.Module.eval(model)
        if recompute:
            recompute_layers(model)
        prepare_for_cpu(model, autocast)
        self.model, self.descent = model, descent
        most = CPU_TOKENS if model.device.type == "cpu" else tokens_per_micro_batch
        self.tokens_per_micro_batch = min(most, tokens_per_micro_batch)
        self.autocast = autocast
        self._models = twins(model, worker_count(model.device))
        self.rewards = Rewarder(self._models, self.tokens_per_micro_batch)

    @property
    def step(self) -> int:
        """Optimizer steps taken."""
        return self.descent.step

    def update(self, examples: Sequence[Example]) -> ScalarMetrics:
        """One optimizer step on the mean loss of `examples`, all pairs or all labelled.

        Raises TrainingStopped, with the weights untouched, as `Descent.take`.
        """
        self.descent.optimizer.zero_grad()
        loss, rewards = self._accumulate(examples)
        norm, rate = self.descent.take(loss)
        tokens = sum(len(ids) for example in examples for ids in example.texts)
        return ScalarMetrics(self.step, loss, norm, rate, tokens, rewards)

    def _accumulate(
        self, examples: Sequence[Example]
    ) -> tuple[float, tuple[tuple[float, ...], ...]]:
        """Leaves the step's gradient in `.grad`; returns the loss and every reward."""
        batches = micro_batches(examples, self.tokens_per_micro_batch, len(self._models))
        jobs = [
            partial(self._lane, self._models[lane], examples, part)
            for lane, part in enumerate(split_round_robin(batches, len(self._models)))
        ]
        parts, found = zip(*run_parallel(jobs), strict=True)
        gather(self._models)
        by_index = {index: rewards for part in found for index, rewards in part}
        return sum(parts), tuple(by_index[index] for index in range(len(examples)))

    def _lane(
        self,
        model: PreTrainedModel,
        examples: Sequence[Example],
        batches: Sequence[Sequence[int]],
    ) -> tuple[float, list[tuple[int, tuple[float, ...]]]]:
        """`_accumulate` of one lane, into the gradients of its own twin."""
        loss = 0.0
        found: list[tuple[int, tuple[float, ...]]] = []
        for batch in batches:
            some = [examples[index] for index in batch]
            with torch.autocast(
                model.device.type, torch.bfloat16, enabled=self.autocast == "bfloat16"
            ):
                texts = [ids for example in some for ids in example.texts]
                rewards_N = forward(model, texts, self.rewards.shared)
            rewards_BR = rewards_N.view(len(some), -1)
            part = losses(rewards_BR, some).sum() / len(examples)
            part.backward()  # type: ignore[no-untyped-call]
            loss += float(part.detach())
            found += zip(batch, map(tuple, rewards_BR.tolist()), strict=True)
        return loss, found

    def state_dict(self) -> dict[str, Any]:
        """Everything an exact continuation needs, as live tensors: write it out before going on."""
        return {"model": self.model.state_dict(), "descent": self.descent.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict` of a learner with the same settings."""
        self.model.load_state_dict(state["model"])
        self.descent.load_state_dict(state["descent"])
