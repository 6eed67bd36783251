"""One forward pass over many texts in which a common beginning runs once, gradients included.

In: token ids of texts and a transformers model. Out: hidden states at each text's last token. Every distinct prefix is one
position: two responses to a prompt run it once, wherever they part. The model runs on the prefixes end to end; attention
alone lays them out as texts again, padded, and reads each prefix where it stands first. Nothing is approximated. Left out:
architectures for which `can_share_prefixes` is False.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import embedding
from transformers import PreTrainedModel

from dianoia.hardware.devices import to_device
from dianoia.learner.attention.exchange import (
    agrees,
    random_ids,
    register,
    run_with_attention,
    sdpa,
)
from dianoia.learner.batching.attention_spans import AttentionSpans, Span

_NAME = "dianoia_shared_prefixes"

Ids = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Prefixes:
    """B texts of at most L tokens, which have N distinct prefixes."""

    ids_1N: Tensor
    """The last token of each prefix."""
    positions_1N: Tensor
    """Its position in the text."""
    prefixes_BL: Tensor
    """Index into N of the prefix that ends at each token of each text; padding repeats the last."""
    first_N: Tensor
    """Index into B * L of where each prefix stands first."""
    spans: AttentionSpans
    """The new prefixes of each text attend to those it shares with earlier texts."""

    @property
    def last_B(self) -> Tensor:
        """Index into N of each whole text."""
        return self.prefixes_BL[:, -1]


def share_prefixes(texts: Sequence[Ids], device: torch.device | str | None = None) -> Prefixes:
    """Return the distinct prefixes of `texts`, none of them empty, in the order in which they first appear."""
    longest = max(map(len, texts))
    # A prefix is known by the prefix before it and its last token, as in a trie.
    index_of: dict[tuple[int, int], int] = {}
    ids: list[int] = []
    positions: list[int] = []
    first: list[int] = []
    rows: list[list[int]] = []
    spans: list[Span] = []
    for text in texts:
        row: list[int] = []
        start = len(ids)
        for position, token in enumerate(text):
            edge = (row[-1] if row else -1, token)
            if edge not in index_of:
                index_of[edge] = len(ids)
                ids.append(token)
                positions.append(position)
                first.append(len(rows) * longest + position)
            row.append(index_of[edge])
        # New prefixes of a text are its last ones; what comes before is its context.
        new = len(ids) - start
        spans.append((start, new, len(rows) * longest, len(text) - new))
        # On the right, so that `last_B` reads the whole text in the last column of every row.
        rows.append(row + row[-1:] * (longest - len(row)))
    host_prefixes_BL = torch.tensor(rows)
    tensors = (
        torch.tensor([ids]),
        torch.tensor([positions]),
        host_prefixes_BL,
        torch.tensor(first),
    )
    ids_1N, positions_1N, prefixes_BL, first_N = (to_device(part, device) for part in tensors)
    context = AttentionSpans.of(spans, host_prefixes_BL.flatten())
    return Prefixes(ids_1N, positions_1N, prefixes_BL, first_N, context)


def last_states(model: PreTrainedModel, prefixes: Prefixes) -> Tensor:
    """Return the backbone's last hidden state `_BD` at the last token of each text."""
    output = run_with_attention(
        model.base_model,
        model,
        _NAME,
        prefixes,
        input_ids=prefixes.ids_1N,
        position_ids=prefixes.positions_1N,
    )
    # The backward pass of an embedding adds rows up faster on a CPU than that of an index does.
    return embedding(prefixes.last_B, output.last_hidden_state[0])


def _attend(
    query_1HND: Tensor,
    key_1HND: Tensor,
    value_1HND: Tensor,
    prefixes: Prefixes,
    scaling: float | None,
) -> Tensor:
    """Return causal attention `_1NHD` text by text: padding, on the right, is attended to by padding alone."""
    states = (query_1HND, key_1HND, value_1HND)
    query, keys, values = (_as_texts(part, prefixes.prefixes_BL) for part in states)
    # No mask: padding stands behind every real token, so that causal attention never reaches it.
    output_BHLD = sdpa(query, keys, values, None, scaling)
    # (text, position) as one axis, then of each prefix the place where it stands first
    output_XE = output_BHLD.transpose(1, 2).flatten(2).flatten(0, 1)
    output_NE = embedding(prefixes.first_N, output_XE)
    return output_NE.view(1, len(output_NE), query_1HND.shape[1], -1)


register(_NAME, _attend)


def _as_texts(states_1HND: Tensor, prefixes_BL: Tensor) -> Tensor:
    """Return states of the prefixes as those of the texts `_BHLD`."""
    heads = states_1HND.shape[1]
    states_BLE = embedding(prefixes_BL, states_1HND[0].transpose(0, 1).flatten(1))
    return states_BLE.view(*prefixes_BL.shape, heads, -1).transpose(1, 2)


def can_share_prefixes(model: PreTrainedModel) -> bool:
    """Return True if the shared pass gives the hidden states of one pass per text."""
    texts = _probe(model)
    return agrees(
        model,
        lambda: last_states(model, share_prefixes(texts, model.device)),
        lambda: torch.stack([_last_state(model, text) for text in texts]),
    )


def _last_state(model: PreTrainedModel, text: Ids) -> Tensor:
    """Return the last hidden state `_D` of an ordinary pass over one text."""
    ids_1L = torch.tensor([text], device=model.device)
    state_D: Tensor = model.base_model(input_ids=ids_1L, use_cache=False).last_hidden_state[0, -1]
    return state_D


def _probe(model: PreTrainedModel) -> list[Ids]:
    """Return two texts that part late, one that begins another, and one that has nothing in common with them."""
    generator = torch.Generator().manual_seed(0)
    text, other = (tuple(random_ids(model, 7, generator).tolist()) for _ in range(2))
    return [text, text[:5] + other[5:], text[:3], other]
