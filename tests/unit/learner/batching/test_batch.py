"""Batching: what is predicted where, and how a rollout is cut up."""

import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dianoia.base.records import Sample
from dianoia.learner.batching.batch import (
    Layout,
    PreparedSample,
    collate,
    micro_batches,
    padding_share,
    total_length,
)
from dianoia.learner.batching.shared_prompts import shared_positions

EOS = 2
FINISHED = Sample((9, 4, 7), (5, 6, EOS), (-0.1, -0.2, -0.3), 1.0)
TRUNCATED = Sample((9,), (5, 8), (-0.4, -0.5), -1.0)


def row(sample: Sample) -> PreparedSample:
    return PreparedSample(sample, torch.tensor(sample.logprobs))


def sized(length: int) -> Sample:
    return Sample((1,), (3,) * (length - 1), (-1.0,) * (length - 1), 0.0)


def test_collate_layout() -> None:
    batch = collate([row(FINISHED), row(TRUNCATED)], pad_id=0)
    assert batch.ids_BL.tolist() == [[9, 4, 7, 5, 6, 2], [9, 5, 8, 0, 0, 0]]
    assert batch.attention_mask_BL.tolist() == [[1] * 6, [1, 1, 1, 0, 0, 0]]
    assert batch.mask_BT.tolist() == [[True, True, True], [True, True, False]]
    # token t of a response is predicted one position before it
    assert batch.predicting_BT.tolist() == [[2, 3, 4], [0, 1, 0]]
    assert batch.response_ids_BT.tolist() == [[5, 6, 2], [5, 8, 0]]
    assert batch.old_BT[1].tolist() == pytest.approx([-0.4, -0.5, 0.0])
    assert batch.advantages_B.tolist() == [1.0, -1.0]
    assert batch.ref_BT is None
    assert batch.weights_BT is None


def test_every_position_predicts_the_next_token() -> None:
    batch = collate([row(FINISHED), row(TRUNCATED)])
    following_BT = batch.ids_BL.gather(1, batch.predicting_BT + 1)
    assert torch.equal(following_BT[batch.mask_BT], batch.response_ids_BT[batch.mask_BT])


def test_end_of_sequence_is_counted_once_if_and_only_if_finished() -> None:
    # the padding id is the end-of-sequence id, as with many tokenizers
    batch = collate([row(FINISHED), row(TRUNCATED)], pad_id=EOS)
    ends_BT = (batch.response_ids_BT == EOS) & batch.mask_BT
    assert ends_BT.sum(dim=1).tolist() == [1, 0]


@pytest.mark.parametrize(
    "sample",
    [Sample((), (5,), (-0.1,), 1.0), Sample((9,), (), (), 1.0)],
    ids=["prompt", "response"],
)
def test_an_empty_side_is_refused(sample: Sample) -> None:
    with pytest.raises(ValueError, match="begin-of-sequence"):
        collate([row(sample)])


@given(lengths=st.lists(st.integers(2, 40), max_size=30), budget=st.integers(1, 100))
def test_micro_batches_keep_every_sample_within_the_budget(lengths: list[int], budget: int) -> None:
    samples = [sized(length) for length in lengths]
    batches = micro_batches(samples, budget)
    assert sorted(index for batch in batches for index in batch) == list(range(len(samples)))
    for batch in batches:
        assert batch
        padded = len(batch) * max(total_length(samples[index]) for index in batch)
        assert padded <= budget or len(batch) == 1
    assert batches == micro_batches(samples, budget)
    assert 0.0 <= padding_share(samples, batches) < 1.0


def test_micro_batches_sort_by_length() -> None:
    # longest first: 10 alone fits 10; then 4 + 3 pad to 8
    samples = [sized(3), sized(10), sized(4)]
    batches = micro_batches(samples, 10)
    assert batches == [[1], [2, 0]]
    assert padding_share(samples, batches) == pytest.approx(1 / 18)  # 17 of 18 positions are real


# Prompts that stand once ---------------------------------------------------------------------------


def continued(prompt: tuple[int, ...], *response: int) -> Sample:
    return Sample(prompt, response, (-1.0,) * len(response), 0.0)


def test_shared_layout() -> None:
    samples = [continued((9, 4, 7), 5, 6, EOS), continued((8,), 3), continued((9, 4, 7), 1, EOS)]
    shared = collate([row(sample) for sample in samples], pad_id=0, layout=Layout.SHARED).shared
    assert shared is not None
    # two prompts of at most 3; then 5 6 and 1, padded to 2; the last tokens predict nothing
    assert shared.shapes == [(2, 3), (2, 2)]
    assert shared.ids_1N.tolist() == [[9, 4, 7, 8, 0, 0, 5, 6, 1, 0]]
    assert shared.positions_1N.tolist() == [[0, 1, 2, 0, 1, 2, 3, 4, 3, 4]]
    assert shared.blocks[0].prompts_R.tolist() == [0, 0]
    # each sample's first token at its prompt's end (2 or 3), the others at the token before them
    assert shared.predicting_M.tolist() == [2, 6, 7, 3, 2, 8]


def test_a_tight_layout_has_blocks_of_one_length() -> None:
    samples = [
        continued((9, 4), 5, 6, 7, EOS),
        continued((8, 8), 3, EOS),
        continued((9, 4), 1, EOS),
    ]
    shared = collate([row(sample) for sample in samples], layout=Layout.TIGHT).shared
    assert shared is not None
    assert shared.shapes == [(2, 2), (1, 3), (2, 1)]
    assert shared.ids_1N.tolist() == [[9, 4, 8, 8, 5, 6, 7, 3, 1]]
    assert shared.positions_1N.tolist() == [[0, 1, 0, 1, 2, 3, 4, 2, 2]]
    assert shared.predicting_M.tolist() == [1, 4, 5, 6, 3, 7, 1, 8]
    assert shared_positions(samples, tight=True) == 9 and shared_positions(samples) == 13


def test_shared_mask_is_the_own_prompt_and_the_past() -> None:
    samples = [continued((9, 4), 5, 6, EOS), continued((8,), 3, 3, EOS)]
    shared = collate([row(sample) for sample in samples], layout=Layout.SHARED).shared
    assert shared is not None
    first, second = shared.blocks[0].mask_R1TK[:, 0].int().tolist()
    assert first == [[1, 1, 1, 0], [1, 1, 1, 1]]
    assert second == [[1, 0, 1, 0], [1, 0, 1, 1]]


@given(
    shapes=st.lists(st.tuples(st.integers(1, 4), st.integers(1, 60)), min_size=1, max_size=30),
    budget=st.integers(1, 200),
    replicas=st.integers(1, 4),
    layout=st.sampled_from([Layout.SHARED, Layout.TIGHT]),
)
def test_shared_micro_batches(
    shapes: list[tuple[int, int]], budget: int, replicas: int, layout: Layout
) -> None:
    samples = [continued((1,) * prompt, *[3] * length) for prompt, length in shapes]
    batches = micro_batches(samples, budget, layout=layout, replicas=replicas)
    assert sorted(index for batch in batches for index in batch) == list(range(len(samples)))
    positions = real = 0
    for batch in batches:
        selected = [samples[index] for index in batch]
        shared = collate([row(sample) for sample in selected], layout=layout).shared
        assert shared is not None
        count = shared.ids_1N.shape[1]
        assert count <= budget or len(batch) == 1
        assert len(shared.predicting_M) == sum(len(sample.response_ids) for sample in selected)
        positions += count
        real += sum(map(len, {s.prompt_ids for s in selected}))
        real += sum(len(s.response_ids) - 1 for s in selected)
    assert padding_share(samples, batches, layout=layout) == pytest.approx(1 - real / positions)


def test_groups_stay_whole_while_they_fit() -> None:
    # a group is 3 + 4 x 5 = 23 positions: two fit 50; a group that fits nowhere is cut
    samples = [continued((g, g, g), 3, 3, 3, 3, 3, EOS) for _ in range(4) for g in range(3)]
    groups = micro_batches(samples, 50, layout=Layout.SHARED)
    assert groups == [[0, 3, 6, 9, 1, 4, 7, 10], [2, 5, 8, 11]]
    assert [len(batch) for batch in micro_batches(samples[::3], 15, layout=Layout.SHARED)] == [2, 2]


def test_lanes_get_parts_of_one_size() -> None:
    # 4 groups of 10 + 16 x 63 = 1,018 positions: three would fit 3,072, but then a lane had three, the other one
    samples = [continued((g,) * 10, *[3] * 64) for g in range(4) for _ in range(16)]
    whole = [set(range(g * 16, g * 16 + 16)) for g in range(4)]
    batches = micro_batches(samples, 3072, layout=Layout.SHARED, replicas=2)
    assert list(map(set, batches)) == [whole[0] | whole[1], whole[2] | whole[3]]
    assert [len(batch) for batch in micro_batches(samples, 3072, layout=Layout.SHARED)] == [48, 16]
    # one group is cut, for the prompt twice; not when the prompt is longer than the half of its responses
    assert [
        len(batch) for batch in micro_batches(samples[:16], 3072, layout=Layout.SHARED, replicas=2)
    ] == [
        8,
        8,
    ]
    short = [continued((1,) * 200, 3, 3, EOS) for _ in range(16)]
    assert micro_batches(short, 3072, layout=Layout.SHARED, replicas=2) == [list(range(16))]
    assert [len(batch) for batch in micro_batches(samples, 10**6, replicas=3)] == [22, 22, 20]


def test_lanes_are_even_at_the_load_of_the_miniature() -> None:
    samples = miniature_load()
    for replicas in (1, 2, 3):
        batches = micro_batches(samples, 3072, layout=Layout.SHARED, replicas=replicas)
        loads = [
            sum(shared_positions([samples[i] for i in batch]) for batch in batches[lane::replicas])
            for lane in range(replicas)
        ]
        assert max(loads) < 1.1 * min(loads)
        assert padding_share(samples, batches, layout=Layout.SHARED) < 0.06


def miniature_load() -> list[Sample]:
    """16 prompts of 50 to 80 tokens with 16 responses each, from 5 to 140 and mostly short."""
    draw = random.Random(0)
    samples = []
    for group in range(16):
        prompt = (group, *[1] * draw.randint(49, 79))
        lengths = [min(140, max(5, int(draw.lognormvariate(3.4, 0.6)))) for _ in range(16)]
        samples += [continued(prompt, *[3] * length) for length in lengths]
    return samples


def test_padding_at_the_load_of_the_miniature() -> None:
    samples = miniature_load()
    batches = micro_batches(samples, 3072, layout=Layout.SHARED)
    assert padding_share(samples, batches, layout=Layout.SHARED) < 0.06
    batches = micro_batches(samples, 3072, Layout.TIGHT)
    assert padding_share(samples, batches, Layout.TIGHT) < 0.01
    assert padding_share(samples, micro_batches(samples, 16_384)) > 0.2
