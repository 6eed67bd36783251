"""Batching: what is predicted where, and how a rollout is cut up."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dianoia.algo.batch import (
    Row,
    collate,
    micro_batches,
    padding_share,
    split_minibatches,
    total_length,
)
from dianoia.base.errors import ConfigError
from dianoia.base.records import Sample

EOS = 2
FINISHED = Sample((9, 4, 7), (5, 6, EOS), (-0.1, -0.2, -0.3), 1.0)
TRUNCATED = Sample((9,), (5, 8), (-0.4, -0.5), -1.0)


def row(sample: Sample) -> Row:
    return Row(sample, torch.tensor(sample.logprobs))


def sized(length: int) -> Sample:
    return Sample((1,), (3,) * (length - 1), (-1.0,) * (length - 1), 0.0)


def test_collate_layout() -> None:
    batch = collate([row(FINISHED), row(TRUNCATED)], pad_id=0)
    assert batch.ids_BL.tolist() == [[9, 4, 7, 5, 6, 2], [9, 5, 8, 0, 0, 0]]
    assert batch.attention_BL.tolist() == [[1] * 6, [1, 1, 1, 0, 0, 0]]
    assert batch.mask_BT.tolist() == [[True, True, True], [True, True, False]]
    # token t of a response is predicted one position before it
    assert batch.positions_BT.tolist() == [[2, 3, 4], [0, 1, 0]]
    assert batch.response_ids_BT.tolist() == [[5, 6, 2], [5, 8, 0]]
    assert batch.old_BT[1].tolist() == pytest.approx([-0.4, -0.5, 0.0])
    assert batch.advantages_B.tolist() == [1.0, -1.0]
    assert batch.ref_BT is None
    assert batch.weights_BT is None


def test_every_position_predicts_the_next_token() -> None:
    batch = collate([row(FINISHED), row(TRUNCATED)])
    following_BT = batch.ids_BL.gather(1, batch.positions_BT + 1)
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


def test_the_papers_rollout() -> None:
    # 512 questions x 16 outputs = 8,192 in 16 minibatches of 512, each with 32 whole questions
    groups = [range(16 * g, 16 * g + 16) for g in range(512)]
    parts = split_minibatches(groups, 16, by="group", seed=1)
    assert [len(part) for part in parts] == [512] * 16
    assert all(len({index // 16 for index in part}) == 32 for part in parts)
    assert sorted(index for part in parts for index in part) == list(range(8192))


def test_splitting_by_sample_mixes_groups() -> None:
    groups = [range(16 * g, 16 * g + 16) for g in range(32)]
    parts = split_minibatches(groups, 16, by="sample", seed=1)
    assert [len(part) for part in parts] == [32] * 16
    assert all(len({index // 16 for index in part}) > 2 for part in parts)
    assert sorted(index for part in parts for index in part) == list(range(512))


def test_splitting_depends_on_the_seed_alone() -> None:
    groups = [(0, 1), (2, 3), (4, 5), (6, 7)]
    assert split_minibatches(groups, 2, seed=3) == split_minibatches(groups, 2, seed=3)
    assert len({str(split_minibatches(groups, 2, seed=seed)) for seed in range(9)}) > 1


@pytest.mark.parametrize("minibatches", [0, 3])
def test_uneven_minibatches_are_refused(minibatches: int) -> None:
    with pytest.raises(ConfigError, match="divides 4"):
        split_minibatches([(0, 1), (2, 3), (4, 5), (6, 7)], minibatches)
