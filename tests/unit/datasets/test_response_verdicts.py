"""Which responses are judged: the first of each kind, pairs drawn evenly, counts that add up."""

from collections import Counter

import pytest

from dianoia.datasets.response_verdicts import draw_pairs, first_of_each, tally


def test_the_first_of_each_stays() -> None:
    assert first_of_each(["a", "b", " a\n", "A", "b"]) == [True, True, False, True, False]
    assert first_of_each([]) == []


@pytest.mark.parametrize(
    ("count", "most", "draws"), [(0, 1, 0), (1, 3, 0), (2, 3, 1), (4, 3, 3), (4, 99, 6)]
)
def test_pairs_differ(count: int, most: int, draws: int) -> None:
    pairs = draw_pairs(count, most, "key")
    assert len({frozenset(pair) for pair in pairs}) == len(pairs) == draws
    assert all(0 <= index < count for pair in pairs for index in pair)
    assert pairs == draw_pairs(count, most, "key")


def test_pairs_are_drawn_evenly_and_so_is_their_order() -> None:
    """3 responses have 3 pairs and so 6 orders, each 100 times of 600, give or take 4.5 deviations of 9.1."""
    pair_counts = Counter(pair for key in range(600) for pair in draw_pairs(3, 1, str(key)))
    assert len(pair_counts) == 6 and all(abs(count - 100) < 41 for count in pair_counts.values())


def test_a_tally_adds_up() -> None:
    counts = tally(["unpaired", None, "truncated", None, "unpaired", "duplicate"])
    assert counts == {
        "sampled": 6, "kept": 2, "left_out": {"truncated": 1, "duplicate": 1, "unpaired": 2},
    }  # fmt: skip
    assert list(counts["left_out"]) == ["truncated", "duplicate", "unpaired"]
