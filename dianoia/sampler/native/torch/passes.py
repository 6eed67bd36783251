"""Rows of a forward pass: what of which text is read, and how plain attention groups them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dianoia.hardware.devices import to_device
from dianoia.sampler.native.torch.decode_attention import (
    MOST_GROUP,
    Group,
    Places,
    Tiles,
    samples_at_once,
    span_pages,
    tokens_at_once,
)
from dianoia.sampler.native.torch.model import Pass, TorchModel


@dataclass(frozen=True, slots=True)
class Chunk:
    """Tokens of a text that are read behind those before them."""

    ids: tuple[int, ...]
    first: int
    """Position of the first token."""
    pages: list[int]
    """Of the whole text."""


def chunk_pass(model: TorchModel, chunks: Sequence[Chunk]) -> tuple[Pass, Tensor]:
    """Return the pass over all tokens of the chunks, end to end, and the row of the last token of each."""
    lengths = [len(chunk.ids) for chunk in chunks]
    total = sum(lengths)
    added = model.padded(total) - total
    # rows that are added belong to a text of their own, whose one page is the scratch page
    ids = torch.tensor([token for chunk in chunks for token in chunk.ids] + [0] * added)
    positions = torch.cat(
        [torch.arange(c.first, c.first + n) for c, n in zip(chunks, lengths, strict=True)]
        + [torch.zeros(added, dtype=torch.int64)]
    )
    owners = torch.arange(len(chunks) + 1).repeat_interleave(torch.tensor([*lengths, added]))
    pages = [torch.tensor(chunk.pages, dtype=torch.int32) for chunk in chunks]
    tables = torch.nn.utils.rnn.pad_sequence(
        [*pages, torch.zeros(1, dtype=torch.int32)], batch_first=True
    )
    # Rows that were added come behind all of these, and are nobody's last token.
    last = torch.tensor(lengths).cumsum(0) - 1
    device = model.device
    places = Places(*(to_device(part, device) for part in (positions, owners, tables)))
    # Rows of a pass are end to end, so that a chunk begins behind all before it.
    starts = [sum(lengths[:i]) for i in range(len(chunks))]
    groups: list[Group] = []
    tiles = None
    if model.kernels:
        tiles = _tiles(chunks, starts, MOST_GROUP // model.shape.repeats, device)
    else:
        for chunk, start in zip(chunks, starts, strict=True):
            groups += _chunk_groups(model, chunk, start)
    return Pass(to_device(ids, device), places, groups, tiles), last.to(device)


def _chunk_groups(model: TorchModel, chunk: Chunk, start: int) -> list[Group]:
    """Return the groups of a chunk whose tokens begin at row `start`."""
    groups, done = [], 0
    while done < len(chunk.ids):
        begin = chunk.first + done
        most = tokens_at_once(chunk.first + len(chunk.ids), model.shape.heads, model.shape.head)
        count = min(most, len(chunk.ids) - done)
        table = span_pages([chunk.pages], begin + count).to(model.device)
        groups.append(Group(start + done, 1, count, table))
        done += count
    return groups


def _tiles(
    chunks: Sequence[Chunk], starts: Sequence[int], tokens: int, device: torch.device
) -> Tiles:
    """Return the tiles of at most `tokens` tokens of all chunks."""
    numbers = [
        (owner, start + i, min(tokens, len(chunk.ids) - i), chunk.first + i)
        for owner, (chunk, start) in enumerate(zip(chunks, starts, strict=True))
        for i in range(0, len(chunk.ids), tokens)
    ]
    return Tiles(*to_device(torch.tensor(numbers).t().contiguous(), device))


def step_groups(
    model: TorchModel, lengths: Sequence[int], pages: Sequence[list[int]]
) -> list[Group]:
    """Return the groups of a decoding step over slots that hold at most so many tokens, 0 for free ones."""
    groups: list[Group] = []
    first = 0
    while first < len(lengths):
        # a free slot has one page, which is the scratch page
        last, longest = first + 1, max(1, lengths[first])
        # neighbours, as long as their keys fit into a core's cache together
        while last < len(lengths):
            longer = max(longest, lengths[last])
            if last - first >= samples_at_once(longer, model.shape.kv_heads, model.shape.head):
                break
            last, longest = last + 1, longer
        table = span_pages(pages[first:last], longest).to(model.device)
        groups.append(Group(first, last - first, 1, table))
        first = last
    return groups
