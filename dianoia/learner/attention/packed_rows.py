"""Samples laid end to end in one row, and a forward pass in which none of them attends to another.

In: `Demonstration`s and a transformers model. Out: hidden states at the positions before the learnt tokens. Positions start
again with every sample, and attention runs sample by sample, on a GPU in one call of a flash kernel: there is no mask that
a NaN could leak through, no square of the row's length in memory, and no padding. A `Batch` of rollouts can be laid out
like that too (`learner.batching.batch`). Left out: architectures for which `can_pack` is False.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import PreTrainedModel

from dianoia.hardware.flash_attention import SequenceBounds, causal_attention, has_flash_attention
from dianoia.learner.attention.exchange import (
    agrees,
    product_dtype,
    random_ids,
    register,
    run_with_attention,
)
from dianoia.learner.batching.attention_spans import AttentionSpans
from dianoia.learner.batching.batch import PackedRow, pack_row

_NAME = "dianoia_packed_rows"
_NEVER_PLAIN = "dianoia_never_plain"


@dataclass(frozen=True, slots=True)
class Demonstration:
    """A sample: its tokens, and which of them are learnt."""

    ids_L: Tensor
    """int32, on the CPU."""
    learnt_L: Tensor
    """True at response tokens, the end of sequence included; never at the first token, which nothing predicts."""

    def __len__(self) -> int:
        return len(self.ids_L)


@dataclass(frozen=True, slots=True)
class _PackedLayout:
    """Where the samples of a row begin and end."""

    lengths: tuple[int, ...]
    bounds: SequenceBounds
    """For the flash kernel."""
    spans: AttentionSpans | None
    """For the C functions; None on a GPU."""


def pack_demonstrations(
    samples: Sequence[Demonstration], device: torch.device | str | None = None
) -> PackedRow:
    """Return one row of all `samples`, in their order."""
    ids, learnt = zip(*((sample.ids_L, sample.learnt_L) for sample in samples), strict=True)
    return pack_row(ids, learnt, device)


def packed_states(model: PreTrainedModel, row: PackedRow) -> Tensor:
    """Return the backbone's last hidden states `_MD` before the learnt tokens."""
    hidden_1ND: Tensor = _run(model.base_model, model, row).last_hidden_state
    # The backward pass of an embedding adds rows up several times faster on a CPU than that of an index does.
    return nn.functional.embedding(row.predicting_M, hidden_1ND.squeeze(0))


def packed_logits(model: PreTrainedModel, row: PackedRow) -> Tensor:
    """Return the model's own logits `_MV` of the learnt tokens, for heads that do more than multiply."""
    logits_1NV: Tensor = _run(model, model, row).logits
    return logits_1NV[0][row.predicting_M]


def _run(part: nn.Module, model: PreTrainedModel, row: PackedRow) -> Any:
    """Run a row; one of a single sample is an ordinary pass, which every architecture can do, unless `never_plain`."""
    if len(row.lengths) == 1 and not getattr(model.base_model, _NEVER_PLAIN, False):
        return part(input_ids=row.ids_1N, use_cache=False)
    device = row.ids_1N.device
    layout = _PackedLayout(
        row.lengths,
        SequenceBounds.of(list(row.lengths), device),
        AttentionSpans.end_to_end(row.lengths) if device.type == "cpu" else None,
    )
    return run_with_attention(
        part, model, _NAME, layout, input_ids=row.ids_1N, position_ids=row.positions_1N
    )


def never_plain(model: PreTrainedModel) -> None:
    """Let rows of a single sample run as the others do; the caller knows that the model allows it.

    For a GPU: an ordinary pass waits for numbers from it, and may take a kernel that adds up in any order. Copies of the
    model keep the mark.
    """
    setattr(model.base_model, _NEVER_PLAIN, True)


def _attend(
    query_1HND: Tensor,
    key_1HND: Tensor,
    value_1HND: Tensor,
    layout: _PackedLayout,
    scaling: float | None,
) -> Tensor:
    """Return causal attention `_1NHD` of every sample to itself."""
    states = (query_1HND, key_1HND, value_1HND)
    dtype, head_size = product_dtype(query_1HND), query_1HND.shape[-1]
    if has_flash_attention(query_1HND.device, dtype, head_size):
        # Squeezed and not indexed: the backward pass of an index is a copy, and for another order of axes a second one.
        q, k, v = (part.transpose(1, 2).squeeze(0).to(dtype) for part in states)
        scale = head_size**-0.5 if scaling is None else scaling
        return causal_attention(q, k, v, layout.bounds, scale)[None]
    # Without a flash kernel: one call per sample.
    samples = zip(*(torch.split(part, list(layout.lengths), dim=2) for part in states), strict=True)
    outputs = [
        scaled_dot_product_attention(
            query,
            keys,
            values,
            # Of a sample alone, so that its first key is its first token; a mask over the row would be its length squared.
            is_causal=True,
            scale=scaling,
            enable_gqa=query.shape[1] != keys.shape[1],
        )
        for query, keys, values in samples
    ]
    return torch.cat(outputs, dim=2).transpose(1, 2)


register(_NAME, _attend)


def can_pack(model: PreTrainedModel) -> bool:
    """Return True if a packed pass gives the hidden states of one pass per sample."""
    # Several lengths, so that positions and ends of samples matter.
    samples = [_probe(model, length) for length in (5, 2, 7)]

    def separate_states() -> Tensor:
        rows = [pack_demonstrations([sample], model.device) for sample in samples]
        return torch.cat([packed_states(model, row) for row in rows])

    return agrees(
        model,
        lambda: packed_states(model, pack_demonstrations(samples, model.device)),
        separate_states,
    )


def _probe(model: PreTrainedModel, length: int) -> Demonstration:
    ids_L = random_ids(model, length, torch.Generator().manual_seed(length))
    return Demonstration(ids_L.to(torch.int32), torch.arange(length) > 0)
