"""Judged pairs and lengths: by hand, and laws."""

import math
from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dianoia.base.preference_records import Judged, Pair
from dianoia.datasets.pairs import BIN, VERDICTS, LeftOut, balance, decide, decide_all, preference

A, B = "the one", "the other"
labels = st.sampled_from(sorted(VERDICTS))
lengths = st.lists(st.tuples(st.integers(0, 300), st.integers(0, 300)), max_size=60)


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        # verdicts 1 and 3 show the other response first, so their signs turn: 1 + 2 + 2 + 1 = 6
        (["A>B", "B>>A", "A>>B", "B>A"], 1.5),
        (["A>B", "A>B", "A>B", "A>B"], 0.0),  # a judge that likes the first place
        (["A=B", "B>A"], 0.5),
        (["[[A>>B]]", "So: [[B>>A]]."], 2.0),
        (["I compare [[A>B]] with [[A>B]]", "B>A"], 1.0),
        ([], LeftOut.ONE_SIDED),
        (["A>B", "B>A", "A>B"], LeftOut.ONE_SIDED),
        (["A>B", None], LeftOut.UNREADABLE),
        (["A>B", "A is better"], LeftOut.UNREADABLE),
        (["A>B", "[[A>B]], no, [[B>A]]"], LeftOut.UNREADABLE),
        (["A>B", "A>>>B"], LeftOut.UNREADABLE),
    ],
)
def test_the_mean_over_both_orders(verdicts: list[str | None], expected: float | LeftOut) -> None:
    assert preference(verdicts) == expected


@given(st.lists(labels, min_size=2, max_size=8).filter(lambda v: len(v) % 2 == 0))
def test_a_judge_that_swaps_the_responses_swaps_the_sign(verdicts: list[str]) -> None:
    """Told of the mirrored pair, the same verdicts come in the other order of showing."""
    mirrored = [v for pair in zip(verdicts[1::2], verdicts[::2], strict=True) for v in pair]
    forward, back = preference(verdicts), preference(mirrored)
    assert isinstance(forward, float) and isinstance(back, float)
    assert back == pytest.approx(-forward) and abs(forward) <= 2


def test_a_pair_is_kept_above_the_margin_only() -> None:
    clear = Judged("q", (A, B), ("B>A", "A>>B", "B>>A", "A>B"))  # -1 -2 -2 -1: B by 1.5
    assert decide(clear, 1.0) == Pair("q", chosen=B, rejected=A)
    assert decide(clear, 1.5) is LeftOut.CLOSE
    even = Judged("q", (A, B), ("A=B", "A=B"))
    assert decide(even, 0.0) is LeftOut.CLOSE


@given(st.lists(st.lists(labels | st.none() | st.just("?"), max_size=5), max_size=20))
def test_counts_add_up(all_verdicts: list[list[str | None]]) -> None:
    rows: list[Pair | Judged] = [Judged("q", (A, B), tuple(v)) for v in all_verdicts]
    rows.append(Pair("q", A, B))
    pairs, left_out = decide_all(rows, margin=1.0)
    assert len(pairs) + left_out.total() == len(rows)
    assert pairs[-1] == Pair("q", A, B), "what comes decided stays"


def test_surplus_goes_and_equals_stay() -> None:
    longer, shorter, equal = (20, 10), (10, 20), (10, 10)
    remaining = balance([longer, longer, shorter, equal, longer, (9, 10)], seed=1)
    # one of three longer ones for the shorter one; the pair of ratio 10/9 has no partner in its bin
    assert len(remaining) == 3 and {2, 3} <= set(remaining) and 5 not in remaining
    assert balance([longer] * 5, seed=1) == []
    assert balance([(0, 1), (1, 0), (0, 0)], seed=1) == [0, 1, 2], (
        "an empty text is one of length 1"
    )


@given(lengths, st.integers(0, 5))
def test_length_says_nothing_afterwards(pairs: list[tuple[int, int]], seed: int) -> None:
    """Whoever knows which response is longer, and by what ratio's bin, is right half of the time."""
    remaining = [pairs[index] for index in balance(pairs, seed)]
    sides: defaultdict[int, list[int]] = defaultdict(list)
    for chosen, rejected in remaining:
        ratio = max(1, chosen, rejected) / max(1, min(chosen, rejected))
        sign = (chosen > rejected) - (chosen < rejected)
        sides[int(math.log(ratio) / math.log(BIN))].append(sign)
    assert all(sum(signs) == 0 for signs in sides.values())


@given(lengths, st.integers(0, 5))
def test_balance_is_symmetric_stable_and_idempotent(
    pairs: list[tuple[int, int]], seed: int
) -> None:
    remaining = balance(pairs, seed)
    assert remaining == balance(pairs, seed) == sorted(set(remaining))
    mirrored = balance([(rejected, chosen) for chosen, rejected in pairs], seed)
    assert len(mirrored) == len(remaining)
    again = [pairs[index] for index in remaining]
    assert balance(again, seed) == list(range(len(again)))
