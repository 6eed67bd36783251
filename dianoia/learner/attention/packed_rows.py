"""Samples laid end to end in one row, and a forward pass in which none of them sees another.

Inputs are `Demonstration`s and a transformers model; outputs are hidden states at the positions before the
learnt tokens. Positions start again with every sample, and attention runs sample by sample, on a GPU in one
call of a flash kernel: there is no mask that a NaN could leak through, no square of the row's length in memory,
and no padding. A `Batch` of rollouts can be laid out like that too (`learner.batching.batch`).

Left out: layers that mix positions in any other way than attention over everything before (sliding windows,
recurrent states). `can_pack` tells them apart, by what they say and by what they compute.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, PreTrainedModel

from dianoia.hardware.flash_attention import SequenceBounds, causal_attention, has_flash_attention
from dianoia.learner.attention.prompt_sharing import (
    OtherAttentionError,
    attention_of,
    check_plain,
    has_plain_attention,
)
from dianoia.learner.batching.attention_spans import Views
from dianoia.learner.batching.batch import PackedRow, lay
from dianoia.learner.kernels.attention_cpu import attend_in_c, attends_in_c

_NAME = "dianoia_packed"
_MARK = "dianoia_never_plain"


@dataclass(frozen=True, slots=True)
class Demonstration:
    """A sample: its tokens, and which of them are learnt."""

    ids_L: Tensor
    """int32, on the CPU."""
    learnt_L: Tensor
    """True at response tokens, the end of sequence included; never at the first token, which nothing
    predicts."""

    def __len__(self) -> int:
        return len(self.ids_L)


def pack_demonstrations(
    samples: Sequence[Demonstration], device: torch.device | str | None = None
) -> PackedRow:
    """One row of all `samples`, in their order."""
    ids, learnt = zip(*((sample.ids_L, sample.learnt_L) for sample in samples), strict=True)
    return lay(ids, learnt, device)


def packed_states(model: PreTrainedModel, row: PackedRow) -> Tensor:
    """The backbone's last hidden states `_MD` before the learnt tokens."""
    hidden_1ND: Tensor = _run(model.base_model, model, row).last_hidden_state
    # Its backward pass adds rows up several times faster on a CPU than that of an index does.
    return nn.functional.embedding(row.before_M, hidden_1ND.squeeze(0))


def packed_logits(model: PreTrainedModel, row: PackedRow) -> Tensor:
    """The model's own logits `_MV` of the learnt tokens, for heads that do more than multiply."""
    logits_1NV: Tensor = _run(model, model, row).logits
    return logits_1NV[0][row.before_M]


def _run(part: nn.Module, model: PreTrainedModel, row: PackedRow) -> Any:
    """A row of a single sample is an ordinary pass, which every architecture can do, unless `never_plain`."""
    if len(row.lengths) == 1 and not getattr(model.base_model, _MARK, False):
        return part(input_ids=row.ids_1N, use_cache=False)
    with attention_of(model, _NAME):
        return part(
            input_ids=row.ids_1N,
            position_ids=row.places_1N,
            use_cache=False,
            packed_lengths=row.lengths,
            packed_spans=SequenceBounds.of(list(row.lengths), row.ids_1N.device),
            packed_views=Views.end_to_end(row.lengths) if row.ids_1N.device.type == "cpu" else None,
        )


def never_plain(model: PreTrainedModel) -> None:
    """Let rows of a single sample run as the others do; the caller knows that the model allows it.

    For a GPU: an ordinary pass asks it for numbers, and may take a kernel that adds up in any order. Copies of
    the model keep it.
    """
    setattr(model.base_model, _MARK, True)


def _attend(
    module: nn.Module,
    query_1HND: Tensor,
    key_1HND: Tensor,
    value_1HND: Tensor,
    attention_mask: Tensor | None,
    *,
    packed_lengths: tuple[int, ...] | None = None,
    packed_spans: SequenceBounds | None = None,
    packed_views: Views | None = None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **more: Any,
) -> tuple[Tensor, None]:
    """Causal attention of every sample to itself."""
    check_plain(packed_lengths, attention_mask, dropout, more)
    assert packed_lengths is not None
    if packed_views is not None and attends_in_c(query_1HND, key_1HND, value_1HND):
        return attend_in_c(query_1HND, key_1HND, value_1HND, packed_views, scaling), None
    kind, head = product_kind(query_1HND), query_1HND.shape[-1]
    if packed_spans is not None and has_flash_attention(query_1HND.device, kind, head):
        # squeezed and not indexed: the backward pass of an index is a copy, and of another order another one
        states = (x.transpose(1, 2).squeeze(0) for x in (query_1HND, key_1HND, value_1HND))
        q, k, v = (x.to(kind) for x in states)
        scale = head**-0.5 if scaling is None else scaling
        return causal_attention(q, k, v, packed_spans, scale)[None], None
    parts = (
        torch.split(states, list(packed_lengths), dim=2)
        for states in (query_1HND, key_1HND, value_1HND)
    )
    outputs = [
        scaled_dot_product_attention(
            query,
            keys,
            values,
            is_causal=True,
            scale=scaling,
            enable_gqa=query.shape[1] != keys.shape[1],
        )
        for query, keys, values in zip(*parts, strict=True)
    ]
    return torch.cat(outputs, dim=2).transpose(1, 2), None


AttentionInterface.register(_NAME, _attend)


def product_kind(x: Tensor) -> torch.dtype:
    """The number format in which products with `x` run here and now."""
    device = x.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype


# Where it is exact --------------------------------------------------------------------------------


@torch.no_grad()
def can_pack(model: PreTrainedModel) -> bool:
    """Whether a packed pass gives the hidden states of one pass a sample.

    What a configuration says is looked up; and since that is never complete, a few samples go both ways and
    must agree up to rounding.
    """
    if not has_plain_attention(model):
        return False
    samples = [_probe(model, length) for length in (5, 2, 7)]
    try:
        packed_MD = packed_states(model, pack_demonstrations(samples, model.device)).float()
    except (OtherAttentionError, TypeError):  # or a forward without room for further arguments
        return False
    alone = [
        packed_states(model, pack_demonstrations([sample], model.device)) for sample in samples
    ]
    alone_MD = torch.cat(alone)
    tolerance = torch.finfo(alone_MD.dtype).eps ** 0.5 * alone_MD.float().abs().max()
    return bool((packed_MD - alone_MD.float()).abs().max() <= tolerance)


def _probe(model: PreTrainedModel, length: int) -> Demonstration:
    draw = torch.Generator().manual_seed(length)
    size: int = model.config.get_text_config().vocab_size
    ids_L = torch.randint(size, (length,), generator=draw, dtype=torch.int32)
    return Demonstration(ids_L, torch.arange(length) > 0)
