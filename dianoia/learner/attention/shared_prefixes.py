"""One forward pass over many texts in which what several begin with runs once, gradients included.

Inputs are token ids of texts and a transformers model; outputs are hidden states at each text's last token. Every
distinct prefix is one position: two responses to a prompt run it once, wherever they part. Positions of a decoder
are treated one by one by everything but attention, so the model runs on the prefixes end to end; attention alone
lays them out as texts again, padded, and reads each prefix where it stands first. Nothing is approximated.

Left out: layers that mix positions in any other way. `can_share_prefixes` tells them apart, by what they say and
by what they compute.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding
from transformers import AttentionInterface, PreTrainedModel

from dianoia.hardware.devices import to_device
from dianoia.learner.attention.prompt_sharing import (
    OtherAttentionError,
    attention_of,
    check_plain,
    has_plain_attention,
    sdpa,
)
from dianoia.learner.batching.attention_spans import Span, Views
from dianoia.learner.kernels.attention_cpu import attend_in_c, attends_in_c

_NAME = "dianoia_shared_prefixes"

Ids = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Prefixes:
    """B texts of at most L tokens, which have N distinct prefixes."""

    ids_1N: Tensor
    """The last token of each prefix."""
    places_1N: Tensor
    """Its position in the text."""
    rows_BL: Tensor
    """Index into N of what each text has read at each token; padding repeats the last."""
    first_N: Tensor
    """Index into B * L of where each prefix stands first."""
    views: Views
    """Who sees whom: what is new of each text sees what is known of it."""

    @property
    def last_B(self) -> Tensor:
        """Index into N of each whole text."""
        return self.rows_BL[:, -1]


def share_prefixes(texts: Sequence[Ids], device: torch.device | str | None = None) -> Prefixes:
    """The distinct prefixes of `texts`, none of them empty, in the order in which they first appear."""
    longest = max(map(len, texts))
    known: dict[tuple[int, int], int] = {}
    ids: list[int] = []
    places: list[int] = []
    first: list[int] = []
    rows: list[list[int]] = []
    spans: list[Span] = []
    for text in texts:
        row: list[int] = []
        start = len(ids)
        for place, token in enumerate(text):
            after = (row[-1] if row else -1, token)
            if after not in known:
                known[after] = len(ids)
                ids.append(token)
                places.append(place)
                first.append(len(rows) * longest + place)
            row.append(known[after])
        new = len(ids) - start
        spans.append((start, new, len(rows) * longest, len(text) - new))
        rows.append(row + row[-1:] * (longest - len(row)))
    known_BL = torch.tensor(rows)
    parts = (torch.tensor([ids]), torch.tensor([places]), known_BL, torch.tensor(first))
    ids_1N, places_1N, rows_BL, first_N = (to_device(part, device) for part in parts)
    views = Views.of(spans, known_BL.flatten())
    return Prefixes(ids_1N, places_1N, rows_BL, first_N, views)


def last_states(model: PreTrainedModel, prefixes: Prefixes) -> Tensor:
    """The backbone's last hidden state `_BD` at the last token of each text."""
    with attention_of(model, _NAME):
        output = model.base_model(
            input_ids=prefixes.ids_1N,
            position_ids=prefixes.places_1N,
            use_cache=False,
            shared_prefixes=prefixes,
        )
    # The backward pass of an embedding adds rows up faster on a CPU than that of an index does.
    return embedding(prefixes.last_B, output.last_hidden_state[0])


def _attend(
    module: nn.Module,
    query_1HND: Tensor,
    key_1HND: Tensor,
    value_1HND: Tensor,
    attention_mask: Tensor | None,
    *,
    shared_prefixes: Prefixes | None = None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **more: Any,
) -> tuple[Tensor, None]:
    """Causal attention text by text: padding, on the right, is seen by padding alone."""
    check_plain(shared_prefixes, attention_mask, dropout, more)
    assert shared_prefixes is not None
    if attends_in_c(query_1HND, key_1HND, value_1HND):
        views = shared_prefixes.views
        return attend_in_c(query_1HND, key_1HND, value_1HND, views, scaling), None
    states = (query_1HND, key_1HND, value_1HND)
    query, keys, values = (_texts(part, shared_prefixes.rows_BL) for part in states)
    seen_BHLD = sdpa(query, keys, values, None, scaling)
    seen_XE = seen_BHLD.transpose(1, 2).flatten(2).flatten(0, 1)
    seen_NE = embedding(shared_prefixes.first_N, seen_XE)
    return seen_NE.view(1, len(seen_NE), query_1HND.shape[1], -1), None


AttentionInterface.register(_NAME, _attend)


def _texts(states_1HND: Tensor, rows_BL: Tensor) -> Tensor:
    """States of the prefixes as those of the texts `_BHLD`."""
    heads = states_1HND.shape[1]
    rows_BLE = embedding(rows_BL, states_1HND[0].transpose(0, 1).flatten(1))
    return rows_BLE.view(*rows_BL.shape, heads, -1).transpose(1, 2)


# Where it is exact --------------------------------------------------------------------------------


@torch.no_grad()
def can_share_prefixes(model: PreTrainedModel) -> bool:
    """Whether the shared pass gives the hidden states of one pass a text.

    What a configuration says is looked up; and since that is never complete, a few texts go both ways and must
    agree up to rounding.
    """
    if not has_plain_attention(model):
        return False
    texts = _probe(model)
    try:
        shared_BD = last_states(model, share_prefixes(texts, model.device)).float()
    except (OtherAttentionError, TypeError):  # or a forward without room for further arguments
        return False
    alone_BD = torch.stack([_alone(model, text) for text in texts]).float()
    tolerance = torch.finfo(next(model.parameters()).dtype).eps ** 0.5 * alone_BD.abs().max()
    return bool((shared_BD - alone_BD).abs().max() <= tolerance)


def _alone(model: PreTrainedModel, text: Ids) -> Tensor:
    ids_1L = torch.tensor([text], device=model.device)
    state_D: Tensor = model.base_model(input_ids=ids_1L, use_cache=False).last_hidden_state[0, -1]
    return state_D


def _probe(model: PreTrainedModel) -> list[Ids]:
    """Two that part late, one that is the beginning of another, and one that has nothing in common."""
    draw = torch.Generator().manual_seed(0)
    size: int = model.config.get_text_config().vocab_size
    whole, other = (tuple(torch.randint(size, (7,), generator=draw).tolist()) for _ in range(2))
    return [whole, whole[:5] + other[5:], whole[:3], other]
