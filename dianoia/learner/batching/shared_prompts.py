"""Shared prompts: a micro-batch in which each distinct prompt stands once.

In: `Sample`s. Out: `SharedPrompts`: the prompts, and behind them the responses to them, in blocks of nearly one length, end
to end in one row. Sixteen responses of 40 tokens to a prompt of 60 are then 700 positions and not 1,600.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dianoia.base.records import Sample
from dianoia.hardware.devices import to_device
from dianoia.learner.batching.attention_spans import AttentionSpans, Span, whole_numbers

PADDING_PER_BLOCK = 12
"""Positions of padding that are cheaper than one more block of responses."""

PADDING_SHARE = 0.03
"""Share of padding in a block that is always accepted."""


@dataclass(frozen=True, slots=True)
class Block:
    """R responses of nearly one length, padded on the right to T positions each."""

    prompts_R: Tensor
    """Index of the prompt that each response continues."""
    start_R1: Tensor
    """Number of tokens of these prompts."""
    longest: int
    """Tokens of the longest prompt of the micro-batch."""
    length: int
    """T"""

    @property
    def mask_R1TK(self) -> Tensor:
        """True where a position attends to a key; K is the longest prompt, then the response itself.

        Made when it is asked for: attention without padding has no use for it.
        """
        return _block_mask(self.start_R1, self.longest, self.length)


@dataclass(frozen=True, slots=True)
class SharedPrompts:
    """A micro-batch as one row of N positions: G prompts of P positions, then the blocks.

    A response stands without its last token, from which nothing is predicted.
    """

    ids_1N: Tensor
    positions_1N: Tensor
    """Position of each token in its own sequence: a response continues where its prompt ends."""
    prompts_shape: tuple[int, int]
    """(G, P)"""
    blocks: tuple[Block, ...]
    predicting_M: Tensor
    """Index into N of the token before each real response token, in the order of `mask_BT`."""
    spans: AttentionSpans
    """Which positions attend to which, padding left out."""

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """(rows, length) of the prompts and of each block, in their order in N."""
        blocks = [(len(block.prompts_R), block.length) for block in self.blocks]
        return [self.prompts_shape, *blocks]


def shared_positions(samples: Sequence[Sample], tight: bool = False) -> int:
    """Return N of `SharedPrompts`, padding included."""
    prompts = {sample.prompt_ids for sample in samples}
    if tight:  # without padding, however the blocks are cut
        responses = sum(len(sample.response_ids) - 1 for sample in samples)
    else:
        blocks = response_blocks(samples)
        responses = sum(len(block) * (len(samples[block[0]].response_ids) - 1) for block in blocks)
    return len(prompts) * max(map(len, prompts)) + responses


def response_blocks(samples: Sequence[Sample], tight: bool = False) -> list[list[int]]:
    """Return sample indices, longest response first, cut where padding would cost more than a block does.

    A block costs a few calls per layer, about as much time as PADDING_PER_BLOCK positions; a share of PADDING_SHARE is
    always accepted. `tight` is for attention that does not go by blocks: no block has padding. Responses of one token are in
    no block: they are predicted from the prompt, and nothing is predicted from them.
    """
    lengths = [len(sample.response_ids) - 1 for sample in samples]
    order = [index for index, length in enumerate(lengths) if length]
    blocks: list[list[int]] = []
    padding = 0
    # Ties by index: the layout, and with it the order of sums, must not depend on anything else.
    for index in sorted(order, key=lambda i: (-lengths[i], i)):
        if blocks:
            longest = lengths[blocks[-1][0]]
            # Padding of the open block, if this response joins it.
            padding += longest - lengths[index]
            accepted = max(PADDING_PER_BLOCK, PADDING_SHARE * longest * (len(blocks[-1]) + 1))
        if not blocks or padding > (0 if tight else accepted):
            blocks.append([])
            padding = 0
        blocks[-1].append(index)
    return blocks


def share_prompts(
    samples: Sequence[Sample], pad_id: int, device: torch.device | str | None, tight: bool = False
) -> SharedPrompts:
    """Lay out samples, each with a prompt and a response; `pad_id` is any id of the vocabulary."""
    # In order of appearance; a set would lay them out by hashes.
    prompts = list(dict.fromkeys(sample.prompt_ids for sample in samples))
    longest = max(map(len, prompts))
    ids = [pad(list(map(whole_numbers, prompts)), pad_id, device).flatten()]
    # Position ids: each prompt begins at 0, each response where its own prompt ends.
    positions = [torch.arange(longest, device=device).repeat(len(prompts))]
    # Behind the prompts, block by block, the responses without their last token.
    members, blocks = response_blocks(samples, tight), []
    for rows in ([samples[index] for index in block] for block in members):
        ids_RT = pad([whole_numbers(row.response_ids[:-1]) for row in rows], pad_id, device)
        start_R1 = to_device(torch.tensor([[len(row.prompt_ids)] for row in rows]), device)
        ids.append(ids_RT.flatten())
        positions.append((start_R1 + torch.arange(ids_RT.shape[1], device=device)).flatten())
        prompts_R = to_device(torch.tensor([prompts.index(row.prompt_ids) for row in rows]), device)
        blocks.append(Block(prompts_R, start_R1, longest, ids_RT.shape[1]))
    return SharedPrompts(
        ids_1N=torch.cat(ids)[None],
        positions_1N=torch.cat(positions)[None],
        prompts_shape=(len(prompts), longest),
        blocks=tuple(blocks),
        predicting_M=to_device(whole_numbers(_predicting(samples, prompts, members)), device),
        spans=_spans(samples, prompts, members),
    )


def _spans(
    samples: Sequence[Sample],
    prompts: Sequence[tuple[int, ...]],
    members: Sequence[Sequence[int]],
) -> AttentionSpans:
    """Return spans in which prompts attend to themselves, responses also to their prompt."""
    longest = max(map(len, prompts))
    spans: list[Span] = [(g * longest, len(ids), 0, 0) for g, ids in enumerate(prompts)]
    # Responses of one token have no position of their own, and so no span.
    for index, start in _starts(samples, prompts, members).items():
        length, prompt = len(samples[index].response_ids) - 1, samples[index].prompt_ids
        spans.append((start, length, prompts.index(prompt) * longest, len(prompt)))
    return AttentionSpans.of(spans, range(len(prompts) * longest))


def _predicting(
    samples: Sequence[Sample],
    prompts: Sequence[tuple[int, ...]],
    members: Sequence[Sequence[int]],
) -> list[int]:
    """Return `SharedPrompts.predicting_M`.

    The first token of a response is predicted at its prompt's last token, each other one at the response token before it.
    """
    longest = max(map(len, prompts))
    starts = _starts(samples, prompts, members)
    # The last real token of the prompt, before its padding.
    ends = {ids: number * longest + len(ids) - 1 for number, ids in enumerate(prompts)}
    predicting: list[int] = []
    for index, sample in enumerate(samples):
        start = starts.get(index, 0)  # a response of one token is in no block
        last = start + len(sample.response_ids) - 1
        predicting += [ends[sample.prompt_ids], *range(start, last)]
    return predicting


def _starts(
    samples: Sequence[Sample],
    prompts: Sequence[tuple[int, ...]],
    members: Sequence[Sequence[int]],
) -> dict[int, int]:
    """Return the index into N of the first token of each response that is in a block, block by block."""
    # Counts positions as they are laid out: padded prompts, then padded blocks.
    size, starts = len(prompts) * max(map(len, prompts)), {}
    for block in members:
        for index in block:
            starts[index] = size
            size += len(samples[block[0]].response_ids) - 1
    return starts


def _block_mask(start_R1: Tensor, longest: int, length: int) -> Tensor:
    """Return `Block.mask_R1TK`: the real tokens of a response's prompt, then no later token of the response.

    Only padding attends to the padding on the right of a response, so it needs no mask.
    """
    # Keys of the prompt: all its real tokens. Keys of the response: causal.
    prompt_RP = torch.arange(longest, device=start_R1.device) < start_R1
    causal_TT = torch.ones(length, length, dtype=torch.bool, device=start_R1.device).tril()
    rows = len(start_R1)
    return torch.cat(
        [prompt_RP[:, None].expand(rows, length, longest), causal_TT.expand(rows, length, length)],
        dim=2,
    )[:, None]


def pad(rows: Sequence[Tensor], value: float, device: torch.device | str | None) -> Tensor:
    """Return rows of uneven length as one tensor on `device`, filled up on the right."""
    padded = torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True, padding_value=value)
    return to_device(padded, device)
