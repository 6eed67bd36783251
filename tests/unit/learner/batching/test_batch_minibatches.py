"""A rollout split into minibatches: whole groups or samples, and kinds in equal numbers."""

import random
from collections import Counter

import pytest

from dianoia.base.errors import ConfigError
from dianoia.learner.batching.batch import split_minibatches


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


KINDS = ["reasoning"] * 8 + ["helpful"] * 6 + ["safety"] * 2


@pytest.mark.parametrize("seed", range(5))
def test_every_minibatch_has_as_many_of_each_kind(seed: int) -> None:
    """16 groups in 4 minibatches: 8 / 4 = 2 of reasoning, (6 + 2) / 4 = 2 general ones."""
    groups = [(2 * g, 2 * g + 1) for g in range(16)]
    parts = split_minibatches(groups, 4, seed=seed, problem_sets=KINDS)
    counts = [Counter(KINDS[index // 2] for index in part) for part in parts]
    assert [count["reasoning"] for count in counts] == [4] * 4
    assert [count["helpful"] + count["safety"] for count in counts] == [4] * 4
    assert max(count["safety"] for count in counts) == 2, "one group, never both at once"
    assert all(Counter(index // 2 for index in part).most_common()[-1][1] == 2 for part in parts)
    assert sorted(index for part in parts for index in part) == list(range(32))


def test_kinds_are_mixed_sample_by_sample_too() -> None:
    groups = [range(4 * g, 4 * g + 4) for g in range(16)]
    parts = split_minibatches(groups, 8, by="sample", seed=1, problem_sets=KINDS)
    counts = [Counter(KINDS[index // 4] for index in part) for part in parts]
    # 32 samples of reasoning, 24 helpful and 8 about safety in 8 minibatches
    assert counts == [{"reasoning": 4, "helpful": 3, "safety": 1}] * 8


def test_one_kind_is_split_as_if_there_were_none() -> None:
    groups = [(2 * g, 2 * g + 1) for g in range(8)]
    for by in ("group", "sample"):
        plain = split_minibatches(groups, 4, by, seed=7)  # type: ignore[arg-type]
        assert split_minibatches(groups, 4, by, seed=7, problem_sets=["reasoning"] * 8) == plain  # type: ignore[arg-type]
    units = list(groups)
    random.Random(7).shuffle(units)
    by_hand = [[*units[2 * n], *units[2 * n + 1]] for n in range(4)]
    assert split_minibatches(groups, 4, seed=7) == by_hand


def test_which_groups_meet_depends_on_the_seed() -> None:
    groups = [(g,) for g in range(16)]
    splits = {str(split_minibatches(groups, 4, seed=seed, problem_sets=KINDS)) for seed in range(9)}
    assert len(splits) > 1
