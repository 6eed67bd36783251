"""One forward pass in which all responses to a prompt share it, gradients included.

In: a transformers model and `SharedPrompts` of `learner.batching.shared_prompts`: prompts and responses laid end to end in
one row. Out: hidden states at all positions. Nothing is approximated: the keys and values of a prompt are those that every
response would have computed for itself, and their gradients add up. Left out: architectures for which `can_share_prompts`
is False.
"""

import torch
from torch import Tensor
from transformers import PreTrainedModel

from dianoia.base.records import Sample
from dianoia.learner.attention.exchange import (
    agrees,
    has_plain_attention,
    random_ids,
    register,
    run_with_attention,
    sdpa,
)
from dianoia.learner.batching.batch import Batch, Layout, PreparedSample, collate
from dianoia.learner.batching.shared_prompts import SharedPrompts

_NAME = "dianoia_shared_prompts"


def shared_hidden_states(model: PreTrainedModel, shared: SharedPrompts) -> Tensor:
    """Return the backbone's last hidden states `_ND` at all positions, padding included."""
    output = run_with_attention(
        model.base_model,
        model,
        _NAME,
        shared,
        input_ids=shared.ids_1N,
        position_ids=shared.positions_1N,
    )
    hidden_ND: Tensor = output.last_hidden_state[0]
    return hidden_ND


def _attend(
    query_1HND: Tensor,
    key_1HND: Tensor,
    value_1HND: Tensor,
    shared: SharedPrompts,
    scaling: float | None,
) -> Tensor:
    """Return attention `_1NHD`: prompts attend to themselves, responses to their prompt and to themselves."""
    # torch.split, whose backward pass is one copy; that of slices is one copy of everything per slice
    states = (query_1HND, key_1HND, value_1HND)
    parts = zip(*(_split(part, shared) for part in states), strict=True)
    # The first part is the prompts, which see themselves alone; the blocks follow in the order of N.
    query, prompt_keys, prompt_values = next(parts)
    outputs = [sdpa(query, prompt_keys, prompt_values, None, scaling)]
    # Each response of a block gets the keys and values of its prompt in front of its own.
    for block, (query, keys, values) in zip(shared.blocks, parts, strict=True):
        keys = torch.cat([prompt_keys.index_select(0, block.prompts_R), keys], dim=2)
        values = torch.cat([prompt_values.index_select(0, block.prompts_R), values], dim=2)
        outputs.append(sdpa(query, keys, values, block.mask_R1TK, scaling))
    return torch.cat([rows.transpose(1, 2).flatten(0, 1) for rows in outputs])[None]


register(_NAME, _attend)


def _split(states_1HND: Tensor, shared: SharedPrompts) -> list[Tensor]:
    """Return views of the prompts and of each block, `_RHTD`."""
    shapes = shared.shapes
    # In the order in which `share_prompts` laid them end to end; the sizes add up to N, padding included.
    sizes = [rows * length for rows, length in shapes]
    parts = torch.split(states_1HND[0].transpose(0, 1), sizes)
    return [
        part.view(*shape, *part.shape[1:]).transpose(1, 2)
        for part, shape in zip(parts, shapes, strict=True)
    ]


def can_share_prompts(model: PreTrainedModel, products: torch.dtype | None = None) -> bool:
    """Return True if the shared pass gives the hidden states of ordinary passes over whole rows.

    `products`: dtype of the factors of the layers' products, where it is not that of the weights.
    """
    if not has_plain_attention(model):
        return False
    batch = _probe(model)
    shared = batch.shared
    assert shared is not None

    def padded_states() -> Tensor:
        output = model.base_model(
            input_ids=batch.ids_BL, attention_mask=batch.attention_mask_BL, use_cache=False
        )
        rows_M = batch.mask_BT.nonzero()[:, 0]
        states_MD: Tensor = output.last_hidden_state[rows_M, batch.predicting_BT[batch.mask_BT]]
        return states_MD

    return agrees(
        model,
        lambda: shared_hidden_states(model, shared)[shared.predicting_M],
        padded_states,
        products,
    )


def _probe(model: PreTrainedModel) -> Batch:
    """Return two prompts, and responses of several lengths, one token among them."""
    generator = torch.Generator().manual_seed(0)

    def ids(count: int) -> tuple[int, ...]:
        return tuple(random_ids(model, count, generator).tolist())

    short, long = ids(3), ids(5)
    shape = [(short, 6), (long, 1), (long, 7), (short, 2), (long, 2)]
    samples = [Sample(prompt, ids(n), (0.0,) * n, 1.0) for prompt, n in shape]
    rows = [PreparedSample(sample, torch.zeros(len(sample.response_ids))) for sample in samples]
    return collate(rows, device=model.device, layout=Layout.SHARED)
