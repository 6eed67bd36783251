"""A scalar head on a causal language model's backbone: one reward per text, and its training.

In: token ids. Out: rewards, changed weights and `RewardModelMetrics`. The models are transformers' own
`AutoModelForSequenceClassification` with one label, loaded from and saved to ordinary folders. Each update is exactly
one optimizer step, with one denominator however it is split into micro-batches.

Departures from the DeepSeek-R1 paper (section 3.1), and choices where it is silent:

1. The reward is read where transformers reads it: at the last token that is not padding. Rows are padded on the right;
   `prepare_padding` makes model and tokenizer mean the same token by it.
2. No dropout: a pair's two rewards come from one and the same network.
3. Where the model allows it (`learner.attention.shared_prefixes`), what texts of a micro-batch begin with in common runs
   once: the prompt of a pair, and that of all responses to a question.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from dianoia.algo.preference_loss import bradley_terry_loss, pointwise_loss
from dianoia.base.limits import CPU_TOKENS
from dianoia.config import OptimizerSettings
from dianoia.learner.attention.shared_prefixes import (
    Ids,
    can_share_prefixes,
    last_states,
    share_prefixes,
)
from dianoia.learner.batching.packing import length_buckets
from dianoia.learner.replicas import Replicas, make_replicas
from dianoia.learner.shards import Sharding
from dianoia.learner.trainer import Autocast, Learner, Trainer, forward_passes


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
class RewardModelMetrics:
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
    """Rewards of every text of every example, in their order, before the step."""


def micro_batches(
    examples: Sequence[Example], tokens: int, replicas: int = 1, *, shared: bool = False
) -> list[list[int]]:
    """Return indices of `examples`, in batches of at most `tokens` padded positions.

    Longest first, so that little is padded; with `shared` in their order, so that examples of a prompt, which follow each
    other, run it once. A pair stays together, since its loss needs both rewards. Where there are examples enough, each
    replica gets a batch. Deterministic.
    """
    if not shared:
        # All texts of an example are padded to the longest text of the batch.
        lengths = [example.longest * len(example.texts) for example in examples]
        return length_buckets(lengths, tokens, replicas)
    # Rounded up, so that as many batches as replicas hold all.
    fair_share = max(1, -(-len(examples) // replicas))
    batches: list[list[int]] = []
    longest = texts = 0
    for index, example in enumerate(examples):
        # A long example widens all texts before it: it may have to open a batch although the sum of lengths has room.
        longest, texts = max(longest, example.longest), texts + len(example.texts)
        if not batches or longest * texts > tokens or len(batches[-1]) == fair_share:
            batches.append([])
            longest, texts = example.longest, len(example.texts)
        batches[-1].append(index)
    return batches


def losses(rewards_BR: Tensor, examples: Sequence[Example]) -> Tensor:
    """Return the loss `_B` of each example; R is 2 for pairs, 1 for labelled responses."""
    if examples[0].good is None:
        return bradley_terry_loss(rewards_BR[:, 0], rewards_BR[:, 1])
    good_B = torch.tensor([bool(example.good) for example in examples], device=rewards_BR.device)
    return pointwise_loss(rewards_BR[:, 0], good_B)


def forward(model: PreTrainedModel, texts: Sequence[Ids], shared: bool = False) -> Tensor:
    """Return the reward `_N` of each text, with gradient; `shared`: the caller knows that `can_share` holds."""
    if shared:
        # What follows the token of the reward cannot change it, so it need not run.
        texts_to_reward = [up_to_reward(ids, pad_id(model)) for ids in texts]
        states_ND = last_states(model, share_prefixes(texts_to_reward, model.device))
        scores_N1: Tensor = cast(Any, model).score(states_ND)
        return scores_N1[:, 0]
    rows = [torch.tensor(ids) for ids in texts]
    ids_NL = nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=pad_id(model))
    # The mask comes from lengths and not from the pad id, which may be the end token, with which a text ends.
    lengths_N1 = torch.tensor([[len(ids)] for ids in texts])
    mask_NL = (torch.arange(ids_NL.shape[1])[None] < lengths_N1).long()
    ids_NL, mask_NL = ids_NL.to(model.device), mask_NL.to(model.device)
    output = model(input_ids=ids_NL, attention_mask=mask_NL, use_cache=False)
    # One label, so that logits are [N, 1].
    rewards_N: Tensor = output.logits[:, 0]
    return rewards_N


def can_share(model: PreTrainedModel) -> bool:
    """Tell whether texts may run common beginnings once, and the reward is a product of the last state."""
    return isinstance(getattr(model, "score", None), nn.Linear) and can_share_prefixes(model)


def pad_id(model: PreTrainedModel) -> int:
    """Return the id that is padded with, which the model passes over when it reads the reward."""
    pad: int | None = model.config.get_text_config().pad_token_id
    assert pad is not None, "prepare_padding sets it"
    return pad


def up_to_reward(ids: Ids, pad: int) -> Ids:
    """Cut a text after the token at which transformers reads its reward: the last one that is not `pad`.

    Where the end token is padded with, a text that ends in it is read before it; a text of nothing else, at its first.
    """
    # At least one token is left: transformers reads the first where all are padding.
    end = len(ids)
    while end > 1 and ids[end - 1] == pad:
        end -= 1
    return ids[:end]


class Rewarder:
    """Rewards of token ids without gradients; replicas work on batches of their own."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokens_per_batch: int,
        replicas: Replicas[PreTrainedModel] | None = None,
        *,
        shared: bool | None = None,
    ) -> None:
        """`tokens_per_batch` counts padded positions; `replicas` None: one per CPU thread; `shared`: of `can_share`."""
        self.replicas = make_replicas(model) if replicas is None else replicas
        self.tokens_per_batch = tokens_per_batch
        self.shared = can_share(model) if shared is None else shared

    def __call__(self, texts: Sequence[Ids]) -> list[float]:
        """Return the reward of each text, in order; computed longest first."""

        def measure(model: PreTrainedModel, batch: Sequence[int]) -> list[tuple[int, float]]:
            rewards_N = forward(model, [texts[index] for index in batch], self.shared)
            return list(zip(batch, rewards_N.float().tolist(), strict=True))

        # Single texts are batched as labelled responses are; the label is not read.
        examples = [Example((ids,), good=True) for ids in texts]
        batches = micro_batches(examples, self.tokens_per_batch, self.replicas.count)
        reports = self.replicas.run(forward_passes(measure), batches)
        # Batches are sorted by length, so results are put back by index.
        rewards = {index: reward for report in reports for part in report for index, reward in part}
        return [rewards[index] for index in range(len(texts))]


class RewardModelLearner(Learner):
    """One reward model in training."""

    def __init__(
        self,
        model: PreTrainedModel,
        optimizer: OptimizerSettings,
        *,
        total_steps: int,
        tokens_per_micro_batch: int = 16_384,
        autocast: Autocast = "none",
        recompute: bool = False,
        sharding: Sharding | None = None,
    ) -> None:
        """Take over `model` as it is, with `sharding` as `Trainer` does.

        `tokens_per_micro_batch` counts padded positions; on a CPU at most CPU_TOKENS are used.
        """
        super().__init__(
            Trainer(
                model,
                optimizer,
                total_steps,
                autocast=autocast,
                recompute=recompute,
                sharding=sharding,
                title="Training of the reward model",
            )
        )
        self.tokens_per_micro_batch = self.trainer.token_budget(tokens_per_micro_batch, CPU_TOKENS)
        self.rewards = Rewarder(
            model,
            self.tokens_per_micro_batch,
            self.trainer.replicas,
            shared=self.trainer.ask(can_share),
        )

    def update(self, examples: Sequence[Example]) -> RewardModelMetrics:
        """Take one optimizer step on the mean loss of `examples`, all pairs or all labelled.

        Raises TrainingStopped, with the weights untouched, as `Trainer.take_step`.
        """
        batches = micro_batches(
            examples,
            self.tokens_per_micro_batch,
            self.trainer.replicas.count,
            # Pairs of a prompt follow each other, and share responses; labelled responses come in any order.
            shared=self.rewards.shared and examples[0].good is None,
        )
        loss_of = partial(self._micro_batch_loss, examples)
        reports = self.trainer.replicas.accumulate(loss_of, batches)
        loss = sum(sum(part for part, _ in report) for report in reports)
        rewards = {
            index: rewards_R
            for report in reports
            for _, rows in report
            for index, rewards_R in rows
        }
        norm, rate = self.trainer.take_step(loss)
        tokens = sum(len(ids) for example in examples for ids in example.texts)
        in_order = tuple(rewards[index] for index in range(len(examples)))
        return RewardModelMetrics(self.step, loss, norm, rate, tokens, in_order)

    def _micro_batch_loss(
        self, examples: Sequence[Example], model: PreTrainedModel, batch: Sequence[int]
    ) -> tuple[Tensor, tuple[float, list[tuple[int, tuple[float, ...]]]]]:
        """Return the loss of one micro-batch with gradient; then its number, and (index, rewards) of each example."""
        members = [examples[index] for index in batch]
        texts = [ids for example in members for ids in example.texts]
        with self.trainer.precision():
            rewards_N = forward(model, texts, self.rewards.shared)
        # Examples of a step have equally many texts: pairs two, labelled responses one.
        rewards_BR = rewards_N.view(len(members), -1)
        # Divided by the examples of the whole step, not by those of the micro-batch.
        loss = losses(rewards_BR, members).sum() / len(examples)
        rows = list(zip(batch, map(tuple, rewards_BR.tolist()), strict=True))
        return loss, (float(loss.detach()), rows)
