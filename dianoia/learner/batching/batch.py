"""From samples to padded tensors, and from a minibatch to micro-batches.

Inputs are `Sample`s (ids and sampler log-probabilities, advantages already computed); outputs are
lists of indices and `Batch`es of tensors. This is THE place where tokens are shifted:
`Batch.positions_BT` (and `Shared.before_M`) says where each response token is predicted, and nobody
else adds or takes away one.

Three levels: a *rollout* (the paper: 8,192 outputs) is split into *minibatches* (16; one optimizer
step each, `learner.batching.minibatches`), and a minibatch into *micro-batches* (what fits into memory,
`micro_batches`), which change nothing but memory and speed.

A micro-batch can be *shared*: each distinct prompt stands in it once (`learner.batching.shared_prompts`).
"""

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

import torch
from torch import Tensor

from dianoia.base.records import Sample
from dianoia.hardware.devices import to_device
from dianoia.learner.batching.packing import length_buckets, pack
from dianoia.learner.batching.shared_prompts import Shared, pad, share, shared_positions


class Layout(StrEnum):
    """How the samples of a micro-batch stand beside each other."""

    PADDED = "padded"
    """A row each, filled up on the right."""
    SHARED = "shared"
    """Each distinct prompt once, responses in blocks of nearly one length (`learner.batching.shared_prompts`)."""
    TIGHT = "tight"
    """The same without padding in responses, for attention that does not go by blocks."""
    PACKED = "packed"
    """End to end in one row."""

    @property
    def shares(self) -> bool:
        """Whether a prompt runs once for all of its samples."""
        return self in (Layout.SHARED, Layout.TIGHT)


FILLED = 1.06
"""Positions of a full micro-batch a real one: padding, and prompts of groups that are cut."""


@dataclass(frozen=True, slots=True)
class PreparedSample:
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
    credit: "Credit | None" = None
    """What a value model says of it; None where the sample's own advantage holds for every token."""


@dataclass(frozen=True, slots=True)
class Credit:
    """What a value model and `algo.gae` make of a response (or of a batch, `_BT`), float32."""

    advantages_T: Tensor
    values_T: Tensor
    """Of the states before each response token, before the first update of the rollout."""
    returns_T: Tensor
    """Targets of the value model."""


@dataclass(frozen=True, slots=True)
class PackedRow:
    """Samples end to end, N tokens in all, of which M are learnt."""

    ids_1N: Tensor
    places_1N: Tensor
    """Position of each token in its own sample."""
    lengths: tuple[int, ...]
    before_M: Tensor
    """Index into N of the token before each learnt token: where that token is predicted."""
    targets_M: Tensor


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
    real_M: Tensor
    """Where the mask is true, as an index into B * T: a GPU need not be asked for it."""
    sampler_BT: Tensor
    old_BT: Tensor
    advantages_B: Tensor
    ref_BT: Tensor | None
    weights_BT: Tensor | None
    shared: Shared | None = None
    """The same samples with every prompt once; None unless asked for."""
    credit: Credit | None = None
    """`_BT`; None without a value model."""
    packed: PackedRow | None = None
    """The same samples end to end; None unless asked for."""

    @property
    def advantages(self) -> Tensor:
        """One a token (`_BT`) where a value model gave them, else one a sample (`_B`)."""
        return self.advantages_B if self.credit is None else self.credit.advantages_T


def total_length(sample: Sample) -> int:
    """Prompt and response tokens together."""
    return len(sample.prompt_ids) + len(sample.response_ids)


def micro_batches(
    samples: Sequence[Sample],
    tokens_per_micro_batch: int,
    layout: Layout = Layout.PADDED,
    lanes: int = 1,
) -> list[list[int]]:
    """Indices of `samples`, grouped so that the positions of a micro-batch stay within the budget.

    Longest first, so rows of a micro-batch have nearly one length and memory peaks at once; when
    prompts are shared, samples of one prompt stay together as far as the budget allows; when rows are
    packed end to end, they are filled up best-fit, since padding costs nothing. A sample that is longer
    than the budget gets a micro-batch of its own. Of `lanes` that work side by side each gets as many
    micro-batches, of nearly one size where prompts are shared. Deterministic.
    """
    if layout is Layout.PACKED:
        return pack([total_length(sample) for sample in samples], tokens_per_micro_batch)
    if layout.shares:
        return _shared_micro_batches(samples, tokens_per_micro_batch, layout, lanes)
    return length_buckets(
        [total_length(sample) for sample in samples], tokens_per_micro_batch, lanes
    )


def _shared_micro_batches(
    samples: Sequence[Sample], budget: int, layout: Layout, lanes: int
) -> list[list[int]]:
    """Whole groups while they fit; a group is cut, longest first, where it fits nowhere whole, or where a lane's part
    is full."""
    load = _load(samples)
    parts = lanes * math.ceil(FILLED * load / (lanes * budget))
    batches: list[list[int]] = []
    for group in _by_prompt(samples):
        left = [samples[index] for index in group]
        # each part but the first may run the prompt of a cut group once more
        even = load / parts + len(left[0].prompt_ids) if lanes > 1 else budget
        while left:
            held = [samples[index] for index in batches[-1]] if batches else []
            count = _taken(held, left, even, budget, layout) if held else 0
            if not count:
                batches.append([])
                count = max(1, _taken([], left, even, budget, layout))
            batches[-1] += group[len(group) - len(left) :][:count]
            left = left[count:]
    return batches


def _taken(
    held: Sequence[Sample], group: Sequence[Sample], even: float, budget: int, layout: Layout
) -> int:
    """How many of the group's samples, from the front, join those held, up to `even` positions without padding and the
    budget with it. None, where whole groups fit the budget, if what is learnt from them is not worth their prompt."""

    positions = partial(shared_positions, tight=layout is Layout.TIGHT)

    def over(count: int) -> bool:
        together = [*held, *group[:count]]
        return _load(together) > even or positions(together) > budget

    count = bisect_left(range(1, len(group) + 1), True, key=over)
    if count == len(group) or not held:
        return count
    if even >= budget and positions(group) <= budget:
        return 0
    worth = sum(len(sample.response_ids) for sample in group[:count])
    return count if worth > len(group[0].prompt_ids) else 0


def _load(samples: Sequence[Sample]) -> int:
    """Positions without padding."""
    prompts = {sample.prompt_ids for sample in samples}
    return sum(map(len, prompts)) + sum(len(sample.response_ids) - 1 for sample in samples)


def _by_prompt(samples: Sequence[Sample]) -> list[list[int]]:
    """Sample indices by distinct prompt, longest prompt and longest response first."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for index in sorted(range(len(samples)), key=lambda i: (-len(samples[i].response_ids), i)):
        groups.setdefault(samples[index].prompt_ids, []).append(index)
    return sorted(groups.values(), key=lambda group: -len(samples[group[0]].prompt_ids))


def padding_share(
    samples: Sequence[Sample],
    batches: Sequence[Sequence[int]],
    layout: Layout = Layout.PADDED,
) -> float:
    """Share of the positions of all micro-batches that hold padding, from 0 to below 1."""
    if layout is Layout.PACKED:
        return 0.0
    chosen = [[samples[index] for index in batch] for batch in batches]
    if layout.shares:
        padded = sum(shared_positions(batch, layout is Layout.TIGHT) for batch in chosen)
        real = sum(map(_load, chosen))
    else:
        padded = sum(len(batch) * max(map(total_length, batch)) for batch in chosen)
        real = sum(total_length(sample) for batch in chosen for sample in batch)
    return 1.0 - real / padded if padded else 0.0


def collate(
    rows: Sequence[PreparedSample],
    pad_id: int = 0,
    device: torch.device | str | None = None,
    layout: Layout = Layout.PADDED,
) -> Batch:
    """Pad rows into one micro-batch on `device`, and lay them out otherwise beside it, as asked for. `pad_id` is any id
    of the vocabulary.

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
    samples = [row.sample for row in rows]
    ids = [torch.tensor(sample.prompt_ids + sample.response_ids) for sample in samples]
    responses = [torch.tensor(row.sample.response_ids, dtype=torch.long) for row in rows]
    attention = [torch.ones_like(row_L) for row_L in ids]
    mask_BT = pad([torch.ones_like(row_T, dtype=torch.bool) for row_T in responses], 0, None)
    positions = [
        torch.arange(len(row.sample.response_ids)) + len(row.sample.prompt_ids) - 1 for row in rows
    ]
    sampler = [torch.tensor(row.sample.logprobs, dtype=torch.float32) for row in rows]
    return Batch(
        ids_BL=pad(ids, pad_id, device),
        attention_BL=pad(attention, 0, device),
        positions_BT=pad(positions, 0, device),
        response_ids_BT=pad(responses, pad_id, device),
        mask_BT=to_device(mask_BT, device),
        real_M=to_device(mask_BT.flatten().nonzero()[:, 0], device),
        sampler_BT=pad(sampler, 0.0, device),
        old_BT=pad([row.old_T for row in rows], 0.0, device),
        advantages_B=to_device(torch.tensor([row.sample.advantage for row in rows]), device),
        ref_BT=_pad_optional([row.ref_T for row in rows], device),
        weights_BT=_pad_optional([row.weights_T for row in rows], device),
        shared=share(samples, pad_id, device, layout is Layout.TIGHT) if layout.shares else None,
        credit=_pad_credit([row.credit for row in rows], device),
        packed=lay(ids, _responses(samples), device) if layout is Layout.PACKED else None,
    )


def lay(
    ids: Sequence[Tensor], learnt: Sequence[Tensor], device: torch.device | str | None
) -> PackedRow:
    """One row of samples, given by the ids of each and by a mask of what is learnt of it."""
    ids_N = torch.cat(list(ids)).long()
    learnt_M = torch.cat(list(learnt)).nonzero()[:, 0]
    lengths = tuple(map(len, ids))
    places_N = torch.cat([torch.arange(length) for length in lengths])
    assert bool((places_N[learnt_M] > 0).all()), "nothing predicts the first token of a sample"
    parts = (ids_N[None], places_N[None], learnt_M - 1, ids_N[learnt_M])
    ids_1N, places_1N, before_M, targets_M = (to_device(part, device) for part in parts)
    return PackedRow(ids_1N, places_1N, lengths, before_M, targets_M)


def _responses(samples: Sequence[Sample]) -> list[Tensor]:
    """True at the response tokens of each sample."""
    return [torch.arange(total_length(one)) >= len(one.prompt_ids) for one in samples]


def _pad_credit(rows: Sequence[Credit | None], device: torch.device | str | None) -> Credit | None:
    present = [row for row in rows if row is not None]
    assert len(present) in (0, len(rows)), "some rows of a micro-batch lack credit"
    if not present:
        return None
    columns = ([getattr(row, name) for row in present] for name in Credit.__dataclass_fields__)
    return Credit(*(pad(column, 0.0, device) for column in columns))


def _pad_optional(
    rows: Sequence[Tensor | None], device: torch.device | str | None
) -> Tensor | None:
    """None unless every row has a value: a rollout has them for all of its samples or for none."""
    present = [row for row in rows if row is not None]
    assert len(present) in (0, len(rows)), "some rows of a micro-batch lack reference or weights"
    return pad(present, 0.0, device) if present else None
