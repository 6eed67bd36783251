"""From samples to padded tensors, and from a minibatch to micro-batches.

In: `Sample`s (ids and sampler log-probabilities, advantages already computed). Out: lists of indices and `Batch`es of
tensors. This is THE place where tokens are shifted: `Batch.predicting_BT` (and `SharedPrompts.predicting_M`) says where
each response token is predicted, and no other code adds or takes away one.

Three levels: a *rollout* (the paper: 8,192 outputs) is split into *minibatches* (16; one optimizer step each,
`split_minibatches`), and a minibatch into *micro-batches* (what fits into memory, `micro_batches`), which change
nothing but memory and speed.

A micro-batch can be *shared*: each distinct prompt stands in it once (`learner.batching.shared_prompts`).

Choices where the DeepSeek-R1 paper is silent:

1. The settings of R1-Zero's training (section 2) split outputs "randomly into 16 minibatches" and also say that each step
   has 32 unique questions, which a random split of outputs does not give. `by="group"` (the default) keeps 32 whole groups
   per step; `by="sample"` is the random split of outputs.
2. Where a rollout holds problems of several sets (reasoning and general prompts), every minibatch holds as many of each as
   any other, up to one: a step on one set alone would pull towards it, and the next one back.
"""

import math
import random
from bisect import bisect_left
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from dianoia.base.errors import ConfigError
from dianoia.base.records import Sample
from dianoia.hardware.devices import to_device
from dianoia.learner.batching.attention_spans import whole_numbers
from dianoia.learner.batching.packing import length_buckets, pack
from dianoia.learner.batching.shared_prompts import (
    SharedPrompts,
    pad,
    share_prompts,
    shared_positions,
)


class Layout(StrEnum):
    """How the samples of a micro-batch are laid out."""

    PADDED = "padded"
    """One row per sample, filled up on the right."""
    SHARED = "shared"
    """Each distinct prompt once, responses in blocks of nearly one length (`learner.batching.shared_prompts`)."""
    TIGHT = "tight"
    """The same without padding in responses, for attention that does not go by blocks."""
    PACKED = "packed"
    """End to end in one row."""

    @property
    def shares(self) -> bool:
        """True if a prompt runs once for all of its samples."""
        return self in (Layout.SHARED, Layout.TIGHT)


FILLED = 1.06
"""Positions of a full micro-batch per real one: padding, and prompts of groups that are cut."""


@dataclass(frozen=True, slots=True)
class PreparedSample:
    """A sample with what is computed before the first update of its rollout."""

    sample: Sample
    old_T: Tensor
    """Log-probabilities that count as pi_old, float32 on the CPU."""
    ref_T: Tensor | None = None
    """Log-probabilities under the reference; None without a KL term."""
    weights_T: Tensor | None = None
    """Importance weights of the policy term; None without correction."""
    counted: bool = True
    """False takes the sample out of numerator and denominator (a masked truncated response)."""
    credit: "Credit | None" = None
    """Credit by a value model; None where the sample's own advantage holds for every token."""


@dataclass(frozen=True, slots=True)
class Credit:
    """What a value model and `algo.gae` assign to the tokens of a response (or of a batch, `_BT`), float32."""

    advantages_T: Tensor
    values_T: Tensor
    """Values of the states before each response token, before the first update of the rollout."""
    returns_T: Tensor
    """Targets of the value model."""


@dataclass(frozen=True, slots=True)
class PackedRow:
    """Samples end to end, N tokens in all, of which M are learnt."""

    ids_1N: Tensor
    positions_1N: Tensor
    """Position of each token in its own sample."""
    lengths: tuple[int, ...]
    predicting_M: Tensor
    """Index into N of the token before each learnt token: where that token is predicted."""
    targets_M: Tensor


@dataclass(frozen=True, slots=True)
class Batch:
    """A padded micro-batch. Rows are `prompt + response + padding`; padding is on the right.

    Every `_BT` tensor starts with the row's first response token, whatever its prompt's length.
    """

    ids_BL: Tensor
    attention_mask_BL: Tensor
    """1 at real tokens."""
    predicting_BT: Tensor
    """Index into L of the token before each response token: where that token is predicted."""
    response_ids_BT: Tensor
    mask_BT: Tensor
    """True at real response tokens, the end-of-sequence id included."""
    real_M: Tensor
    """Where the mask is true, as an index into B * T: a GPU need not be asked for it."""
    sampler_BT: Tensor
    """The sampler's log-probabilities."""
    old_BT: Tensor
    advantages_B: Tensor
    ref_BT: Tensor | None
    weights_BT: Tensor | None
    shared: SharedPrompts | None = None
    """The same samples with every prompt once; None unless asked for."""
    credit: Credit | None = None
    """`_BT`; None without a value model."""
    packed: PackedRow | None = None
    """The same samples end to end; None unless asked for."""

    @property
    def advantages(self) -> Tensor:
        """One per token (`_BT`) where a value model gave them, else one per sample (`_B`)."""
        return self.advantages_B if self.credit is None else self.credit.advantages_T


# Cutting minibatches into micro-batches -----------------------------------------------------------


def total_length(sample: Sample) -> int:
    """Return the number of prompt and response tokens together."""
    return len(sample.prompt_ids) + len(sample.response_ids)


def micro_batches(
    samples: Sequence[Sample],
    tokens_per_micro_batch: int,
    layout: Layout = Layout.PADDED,
    replicas: int = 1,
) -> list[list[int]]:
    """Return indices of `samples`, grouped so that the positions of a micro-batch stay within the budget.

    Longest first, so rows of a micro-batch have nearly one length and memory peaks at once; when prompts are shared,
    samples of one prompt stay together as far as the budget allows; when rows are packed end to end, they are filled up
    best-fit, since padding costs nothing. A sample that is longer than the budget gets a micro-batch of its own. Each of
    `replicas` that work at the same time gets as many micro-batches, of nearly one size where prompts are shared.
    Deterministic.
    """
    if layout is Layout.PACKED:
        return pack([total_length(sample) for sample in samples], tokens_per_micro_batch)
    if layout.shares:
        return _shared_micro_batches(samples, tokens_per_micro_batch, layout, replicas)
    lengths = [total_length(sample) for sample in samples]
    return length_buckets(lengths, tokens_per_micro_batch, replicas)


def _shared_micro_batches(
    samples: Sequence[Sample], budget: int, layout: Layout, replicas: int
) -> list[list[int]]:
    """Return whole groups while they fit; a group is cut, longest response first, where it fits nowhere whole.

    With several replicas it is also cut where a micro-batch has its even share of all positions.
    """
    total = _unpadded_positions(samples)
    # As many micro-batches per replica as it takes to stay within the budget.
    parts = replicas * math.ceil(FILLED * total / (replicas * budget))
    batches: list[list[int]] = []
    for group in _by_prompt(samples):
        waiting = [samples[index] for index in group]
        # Each part but the first may run the prompt of a cut group once more.
        fair_share = total / parts + len(waiting[0].prompt_ids) if replicas > 1 else budget
        while waiting:
            # First try to fill up the open micro-batch, then begin a new one, with one sample at least.
            present = [samples[index] for index in batches[-1]] if batches else []
            count = 0
            if present:
                count = _count_that_fits(present, waiting, fair_share, budget, layout)
            if not count:
                batches.append([])
                count = max(1, _count_that_fits([], waiting, fair_share, budget, layout))
            # `waiting` is the end of the group, so that its length says where in the group it begins.
            batches[-1] += group[len(group) - len(waiting) :][:count]
            waiting = waiting[count:]
    return batches


def _count_that_fits(
    present: Sequence[Sample],
    group: Sequence[Sample],
    fair_share: float,
    budget: int,
    layout: Layout,
) -> int:
    """Return how many samples from the front of `group` still fit into the micro-batch of `present`.

    At most `fair_share` positions without padding and `budget` with it. 0 if the group fits a micro-batch of its own, or
    if splitting it would run its prompt again for too few response tokens.
    """

    def too_many(count: int) -> bool:
        together = [*present, *group[:count]]
        return _unpadded_positions(together) > fair_share or positions(together) > budget

    def positions(members: Sequence[Sample]) -> int:
        return shared_positions(members, tight=layout is Layout.TIGHT)

    # More samples never take fewer positions, so the largest count is found by bisection.
    count = bisect_left(range(1, len(group) + 1), True, key=too_many)
    if count == len(group) or not present:
        return count
    # The group waits for a micro-batch that holds it whole, where its prompt runs once.
    if fair_share >= budget and positions(group) <= budget:
        return 0
    # A cut runs the prompt once more, so the part has to be longer than that.
    response_tokens = sum(len(sample.response_ids) for sample in group[:count])
    return count if response_tokens > len(group[0].prompt_ids) else 0


def _unpadded_positions(samples: Sequence[Sample]) -> int:
    """Return the positions that run when prompts are shared, padding left out."""
    prompts = {sample.prompt_ids for sample in samples}
    # Minus 1: the last token of a response predicts nothing, so it does not run.
    return sum(map(len, prompts)) + sum(len(sample.response_ids) - 1 for sample in samples)


def _by_prompt(samples: Sequence[Sample]) -> list[list[int]]:
    """Return sample indices by distinct prompt, longest prompt and longest response first."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for index in sorted(range(len(samples)), key=lambda i: (-len(samples[i].response_ids), i)):
        groups.setdefault(samples[index].prompt_ids, []).append(index)
    # A stable sort: prompts of one length stay in the order of their longest responses.
    return sorted(groups.values(), key=lambda group: -len(samples[group[0]].prompt_ids))


def padding_share(
    samples: Sequence[Sample],
    batches: Sequence[Sequence[int]],
    layout: Layout = Layout.PADDED,
) -> float:
    """Return the share of the positions of all micro-batches that hold padding, from 0 to below 1."""
    if layout is Layout.PACKED:
        return 0.0
    members = [[samples[index] for index in batch] for batch in batches]
    if layout.shares:
        padded = sum(shared_positions(batch, layout is Layout.TIGHT) for batch in members)
        real = sum(map(_unpadded_positions, members))
    else:
        padded = sum(len(batch) * max(map(total_length, batch)) for batch in members)
        real = sum(total_length(sample) for batch in members for sample in batch)
    return 1.0 - real / padded if padded else 0.0


# Tensors ------------------------------------------------------------------------------------------


def collate(
    rows: Sequence[PreparedSample],
    pad_id: int = 0,
    device: torch.device | str | None = None,
    layout: Layout = Layout.PADDED,
) -> Batch:
    """Pad samples into one micro-batch on `device`, and add the other layout if one is asked for.

    `pad_id` is any id of the vocabulary. Raises ValueError for an empty prompt or an empty response.
    """
    for row in rows:
        if not row.sample.prompt_ids or not row.sample.response_ids:
            raise ValueError(
                f"A sample has {len(row.sample.prompt_ids)} prompt and "
                f"{len(row.sample.response_ids)} response tokens; each response token is predicted "
                "from the one before it. Begin the prompt with a begin-of-sequence id, end the "
                "response with an end-of-sequence id."
            )
    # Tensors are made on the host and copied in one go: a GPU need not be waited for.
    samples = [row.sample for row in rows]
    ids = [whole_numbers(sample.prompt_ids + sample.response_ids) for sample in samples]
    responses = [whole_numbers(row.sample.response_ids) for row in rows]
    attention_mask = [torch.ones_like(row_L) for row_L in ids]
    mask_BT = pad([torch.ones_like(row_T, dtype=torch.bool) for row_T in responses], 0, None)
    # The token before each response token predicts it: the last of the prompt predicts the first of the response.
    predicting = [
        torch.arange(len(row.sample.response_ids)) + len(row.sample.prompt_ids) - 1 for row in rows
    ]
    sampler = [logprobs_tensor(row.sample.logprobs) for row in rows]
    tight = layout is Layout.TIGHT
    is_response = [torch.arange(total_length(s)) >= len(s.prompt_ids) for s in samples]
    return Batch(
        ids_BL=pad(ids, pad_id, device),
        attention_mask_BL=pad(attention_mask, 0, device),
        predicting_BT=pad(predicting, 0, device),
        response_ids_BT=pad(responses, pad_id, device),
        mask_BT=to_device(mask_BT, device),
        real_M=to_device(mask_BT.flatten().nonzero()[:, 0], device),
        sampler_BT=pad(sampler, 0.0, device),
        old_BT=pad([row.old_T for row in rows], 0.0, device),
        advantages_B=to_device(torch.tensor([row.sample.advantage for row in rows]), device),
        ref_BT=_pad_optional([row.ref_T for row in rows], device),
        weights_BT=_pad_optional([row.weights_T for row in rows], device),
        shared=share_prompts(samples, pad_id, device, tight) if layout.shares else None,
        credit=_pad_credit([row.credit for row in rows], device),
        packed=pack_row(ids, is_response, device) if layout is Layout.PACKED else None,
    )


def logprobs_tensor(logprobs: Sequence[float]) -> Tensor:
    """Return float32 `[T]`. By way of NumPy, which reads a sequence three times as fast as PyTorch does."""
    return torch.from_numpy(np.array(logprobs, dtype=np.float32))


def pack_row(
    ids: Sequence[Tensor], learnt: Sequence[Tensor], device: torch.device | str | None
) -> PackedRow:
    """Return one row of samples, given by the ids of each and by a mask of what is learnt of it."""
    ids_N = torch.cat(list(ids)).long()
    # nonzero on the host: its size depends on numbers, for which a GPU would be waited for.
    learnt_M = torch.cat(list(learnt)).nonzero()[:, 0]
    lengths = tuple(map(len, ids))
    positions_N = torch.cat([torch.arange(length) for length in lengths])
    assert bool((positions_N[learnt_M] > 0).all()), "nothing predicts the first token of a sample"
    # Minus 1: the token before a learnt token predicts it.
    tensors = (ids_N[None], positions_N[None], learnt_M - 1, ids_N[learnt_M])
    ids_1N, positions_1N, predicting_M, targets_M = (to_device(part, device) for part in tensors)
    return PackedRow(ids_1N, positions_1N, lengths, predicting_M, targets_M)


def _pad_credit(rows: Sequence[Credit | None], device: torch.device | str | None) -> Credit | None:
    """Pad the three columns of a micro-batch's credit."""
    present = [row for row in rows if row is not None]
    assert len(present) in (0, len(rows)), "some rows of a micro-batch lack credit"
    if not present:
        return None
    columns = ([getattr(row, name) for row in present] for name in Credit.__dataclass_fields__)
    return Credit(*(pad(column, 0.0, device) for column in columns))


def _pad_optional(
    rows: Sequence[Tensor | None], device: torch.device | str | None
) -> Tensor | None:
    """Pad a column; None unless every row has a value: a rollout has them for all of its samples or for none."""
    present = [row for row in rows if row is not None]
    assert len(present) in (0, len(rows)), "some rows of a micro-batch lack reference or weights"
    return pad(present, 0.0, device) if present else None


_Unit = tuple[Hashable, Sequence[int]]
"""The problem set, and the sample indices that stay together."""


def split_minibatches(
    groups: Sequence[Sequence[int]],
    minibatches: int,
    by: Literal["group", "sample"] = "group",
    seed: int = 0,
    problem_sets: Sequence[Hashable] | None = None,
) -> list[list[int]]:
    """Split a rollout into minibatches of sample indices, shuffled by `seed`.

    `groups` holds the sample indices of each group. `by="group"` keeps groups together, so a minibatch has whole problems;
    `by="sample"` mixes the samples of all groups. `problem_sets` names the set of each group; None takes them as one.
    Raises ConfigError when groups (or samples) do not divide evenly.
    """
    sets = problem_sets or [None] * len(groups)
    units: list[_Unit] = [
        (problem_set, unit)
        for problem_set, group in zip(sets, groups, strict=True)
        for unit in ([group] if by == "group" else [(index,) for index in group])
    ]
    if minibatches < 1 or not units or len(units) % minibatches:
        raise ConfigError(
            f"{len(units)} {by}s cannot be split into {minibatches} equal minibatches, and unequal "
            "ones would be optimizer steps of unequal size. Choose a number of minibatches that "
            f"divides {len(units)}, or another number of problems."
        )
    # The order of the sets before shuffling, so that it does not depend on the seed.
    order = list(dict.fromkeys(problem_set for problem_set, _ in units))
    random.Random(seed).shuffle(units)
    units = _spread_sets(units, order, minibatches)
    # Consecutive units now belong together.
    size = len(units) // minibatches
    return [
        [index for _, unit in units[start : start + size] for index in unit]
        for start in range(0, len(units), size)
    ]


def _spread_sets(units: list[_Unit], order: list[Hashable], minibatches: int) -> list[_Unit]:
    """Deal the units set by set to the minibatches, round-robin; a single set stays as it was shuffled."""
    if len(order) == 1:
        return units
    # A stable sort: within a set the shuffled order stays.
    by_set = sorted(units, key=lambda unit: order.index(unit[0]))
    return [unit for first in range(minibatches) for unit in by_set[first::minibatches]]
