"""Epochs, optimizer steps and packed rows, as arithmetic."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dianoia.learner.batching.packing import epoch_order, optimizer_steps, pack


def test_an_epoch_has_every_sample_as_often_as_its_copies() -> None:
    order = epoch_order([2, 0, 1], seed=1, epoch=0)
    assert Counter(order) == {0: 2, 2: 1}


def test_epochs_and_seeds_differ_in_order_and_nothing_else() -> None:
    copies = [1] * 50
    first, again = epoch_order(copies, 1, 0), epoch_order(copies, 1, 0)
    assert first == again
    for other in (epoch_order(copies, 1, 1), epoch_order(copies, 2, 0)):
        assert other != first and sorted(other) == sorted(first)


def test_a_step_is_full_by_tokens() -> None:
    # one length, so the order does not matter: two samples of 4 tokens fit into 10, three do not
    steps = optimizer_steps([4] * 5, [1] * 5, epochs=1, tokens=10, seed=1)
    assert [len(step) for step in steps] == [2, 2, 1]
    assert sorted(index for step in steps for index in step) == [0, 1, 2, 3, 4]


def test_epochs_follow_without_a_gap() -> None:
    # 3 samples x 3 epochs = 9 samples, two a step: 5 steps, of which only the last is small
    steps = optimizer_steps([5] * 3, [1] * 3, epochs=3, tokens=10, seed=1)
    assert [len(step) for step in steps] == [2, 2, 2, 2, 1]


def test_a_sample_above_the_budget_is_a_step_of_its_own() -> None:
    steps = optimizer_steps([3, 30, 3], [1] * 3, epochs=1, tokens=10, seed=1)
    assert [1] in steps


def test_packing_by_hand() -> None:
    # 7 opens a row (3 left), 6 another (4 left), 4 fills the second, 3 the first, 2 opens a third
    assert pack([3, 4, 6, 7, 2], 10) == [[3, 0], [2, 1], [4]]


def test_a_longer_sample_has_its_own_row() -> None:
    assert pack([4, 25, 4], 10) == [[1], [0, 2]]


@given(st.lists(st.integers(1, 40), min_size=1, max_size=60), st.integers(1, 64))
def test_nothing_is_lost_split_or_overfull(lengths: list[int], limit: int) -> None:
    rows = pack(lengths, limit)
    assert sorted(index for row in rows for index in row) == list(range(len(lengths)))
    assert all(sum(lengths[i] for i in row) <= limit or len(row) == 1 for row in rows)
    # best fit: no two rows could be one
    sums = sorted(sum(lengths[i] for i in row) for row in rows)
    if len(sums) > 1:
        assert sums[0] + sums[1] > limit


@pytest.mark.parametrize("limit", [64, 512])
def test_packing_wastes_little(limit: int) -> None:
    draw = random.Random(4)
    lengths = [draw.randint(5, 60) for _ in range(400)]
    rows = pack(lengths, limit)
    assert sum(lengths) / (len(rows) * limit) > 0.93
