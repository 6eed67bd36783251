"""From samples to padded tensors, and from a rollout to minibatches and micro-batches.

Inputs are `Sample`s (ids and sampler log-probabilities, advantages already computed); outputs are
lists of indices and `Batch`es of tensors. This is THE place where tokens are shifted:
`Batch.positions_BT` says at which position of a row each response token is predicted, and nobody
else adds or takes away one.

Three levels: a *rollout* (the paper: 8,192 outputs) is split into *minibatches* (16; one optimizer
step each, `split_minibatches`), and a minibatch into *micro-batches* (what fits into memory,
`micro_batches`), which change nothing but memory and speed.

Choices where the DeepSeek-R1 paper is silent:

1. The settings of R1-Zero's training (section 2) split outputs "randomly into 16 minibatches" and
   also say that each step has 32 unique questions, which a random split of outputs does not give.
   `by="group"` (the default) keeps 32 whole groups a step; `by="sample"` is the random split of
   outputs. Advantages are computed before either, so both see the same numbers.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from dianoia.base.errors import ConfigError
from dianoia.base.records import Sample


@dataclass(frozen=True, slots=True)
class Row:
    """A sample with what was found out about it before the first update of its rollout."""

    sample: Sample
    old_T: Tensor
    """Log-probabilities that count as pi_old, float32 on the CPU."""
    ref_T: Tensor | None = None
    """Log-probabilities under the reference; None without a KL term."""
    weights_T: Tensor | None = None
    """Importance weights of the policy term; None without correction."""
    counted: bool = True
    """False takes the sample out of numerator and denominator (a masked truncated response)."""


@dataclass(frozen=True, slots=True)
class Batch:
    """A padded micro-batch. Rows are `prompt + response + padding`; padding is on the right.

    Every `_BT` tensor starts with the row's first response token, whatever its prompt's length.
    """

    ids_BL: Tensor
    attention_BL: Tensor
    """1 at real tokens."""
    positions_BT: Tensor
    """Index into L of the token before each response token: where that token is predicted."""
    response_ids_BT: Tensor
    mask_BT: Tensor
    """True at real response tokens, the end-of-sequence id included."""
    sampler_BT: Tensor
    old_BT: Tensor
    advantages_B: Tensor
    ref_BT: Tensor | None
    weights_BT: Tensor | None


def total_length(sample: Sample) -> int:
    """Prompt and response tokens together."""
    return len(sample.prompt_ids) + len(sample.response_ids)


def micro_batches(samples: Sequence[Sample], tokens_per_micro_batch: int) -> list[list[int]]:
    """Indices of `samples`, grouped so that rows x longest row stays within the budget.

    Longest first, so rows of a micro-batch have nearly one length and memory peaks at once. A
    sample that is longer than the budget gets a micro-batch of its own. Deterministic.
    """
    order = sorted(range(len(samples)), key=lambda index: (-total_length(samples[index]), index))
    batches: list[list[int]] = []
    room = 0
    for index in order:
        if room == 0:
            batches.append([])
            room = max(1, tokens_per_micro_batch // total_length(samples[index]))
        batches[-1].append(index)
        room -= 1
    return batches


def padding_share(samples: Sequence[Sample], batches: Sequence[Sequence[int]]) -> float:
    """Share of the positions of all micro-batches that hold padding, from 0 to below 1."""
    padded = sum(len(batch) * max(total_length(samples[i]) for i in batch) for batch in batches)
    real = sum(total_length(samples[i]) for batch in batches for i in batch)
    return 1.0 - real / padded if padded else 0.0


def split_minibatches(
    groups: Sequence[Sequence[int]],
    minibatches: int,
    by: Literal["group", "sample"] = "group",
    seed: int = 0,
) -> list[list[int]]:
    """Split a rollout into minibatches of sample indices, shuffled by `seed`.

    `groups` holds the sample indices of each group. `by="group"` keeps groups together, so a
    minibatch has whole problems; `by="sample"` mixes the samples of all groups. Raises ConfigError
    when groups (or samples) do not divide evenly.
    """
    units = list(groups) if by == "group" else [(index,) for group in groups for index in group]
    if minibatches < 1 or not units or len(units) % minibatches:
        raise ConfigError(
            f"{len(units)} {by}s cannot be split into {minibatches} equal minibatches, and unequal "
            "ones would be optimizer steps of unequal size. Choose a number of minibatches that "
            f"divides {len(units)}, or another number of problems."
        )
    random.Random(seed).shuffle(units)
    size = len(units) // minibatches
    return [
        [index for unit in units[start : start + size] for index in unit]
        for start in range(0, len(units), size)
    ]


def collate(
    rows: Sequence[Row], pad_id: int = 0, device: torch.device | str | None = None
) -> Batch:
    """Pad rows into one micro-batch on `device`. `pad_id` is any id of the vocabulary.

    Raises ValueError for an empty prompt or an empty response.
    """
    for row in rows:
        if not row.sample.prompt_ids or not row.sample.response_ids:
            raise ValueError(
                f"A sample has {len(row.sample.prompt_ids)} prompt and "
                f"{len(row.sample.response_ids)} response tokens; each response token is predicted "
                "from the one before it. Begin the prompt with a begin-of-sequence id, end the "
                "response with an end-of-sequence id."
            )
    ids = [torch.tensor(row.sample.prompt_ids + row.sample.response_ids) for row in rows]
    responses = [torch.tensor(row.sample.response_ids, dtype=torch.long) for row in rows]
    attention = [torch.ones_like(row_L) for row_L in ids]
    mask = [torch.ones_like(row_T, dtype=torch.bool) for row_T in responses]
    positions = [
        torch.arange(len(row.sample.response_ids)) + len(row.sample.prompt_ids) - 1 for row in rows
    ]
    sampler = [torch.tensor(row.sample.logprobs, dtype=torch.float32) for row in rows]
    return Batch(
        ids_BL=_pad(ids, pad_id, device),
        attention_BL=_pad(attention, 0, device),
        positions_BT=_pad(positions, 0, device),
        response_ids_BT=_pad(responses, pad_id, device),
        mask_BT=_pad(mask, 0, device),
        sampler_BT=_pad(sampler, 0.0, device),
        old_BT=_pad([row.old_T for row in rows], 0.0, device),
        advantages_B=torch.tensor([row.sample.advantage for row in rows], device=device),
        ref_BT=_pad_optional([row.ref_T for row in rows], device),
        weights_BT=_pad_optional([row.weights_T for row in rows], device),
    )


def _pad(rows: Sequence[Tensor], value: float, device: torch.device | str | None) -> Tensor:
    padded = torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True, padding_value=value)
    return padded.to(device)


def _pad_optional(
    rows: Sequence[Tensor | None], device: torch.device | str | None
) -> Tensor | None:
    """None unless every row has a value: a rollout has them for all of its samples or for none."""
    present = [row for row in rows if row is not None]
    assert len(present) in (0, len(rows)), "some rows of a micro-batch lack reference or weights"
    return _pad(present, 0.0, device) if present else None
