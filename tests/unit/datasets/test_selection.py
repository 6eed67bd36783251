"""Which samples become data: each filter by hand with its borders, and counts that add up."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dianoia.base.records import Completion, Problem, Rollout, RolloutStatus
from dianoia.config import KeepSettings
from dianoia.datasets.selection import (
    Candidate,
    Reason,
    has_code_block,
    longest_paragraph,
    rejected_by,
    repetition,
    select,
    tally,
)

DONE, CUT, BROKEN = RolloutStatus.FINISHED, RolloutStatus.TRUNCATED, RolloutStatus.MALFORMED


def sample(
    thought: str | None = "one and one is two",
    answer: str | None = "2",
    *,
    grade: float | None = 1.0,
    tokens: int = 5,
    status: RolloutStatus = DONE,
    language: str = "en",
    index: int = 0,
) -> Candidate:
    problem = Problem("p", "1+1?", "2", "number", language=language)
    completion = Completion((1, 0), (-0.1, -0.1), stopped=status is not CUT)
    text = f"<think>{thought}</think><answer>{answer}</answer>"
    parsed = (thought, answer) if status is DONE else (None, None)
    return Candidate(
        Rollout(problem, index, (3,), completion, text, status, *parsed), grade, tokens
    )


def verdict(first: Candidate, **keep: Any) -> Reason | None:
    return rejected_by(first, KeepSettings(**keep))


def test_a_good_sample_passes() -> None:
    assert verdict(sample()) is None


@pytest.mark.parametrize(
    ("first", "keep", "reason"),
    [
        (sample(status=CUT), {}, Reason.TRUNCATED),
        (sample(status=CUT), {"correct": False}, Reason.TRUNCATED),
        (sample(status=BROKEN), {"correct": False}, Reason.MALFORMED),
        (sample(grade=None), {}, Reason.UNGRADED),
        (sample(grade=None), {"correct": False}, None),
        (sample(grade=0.0), {}, Reason.WRONG),
        (sample(grade=0.5), {}, Reason.WRONG),
        (sample(grade=0.5), {"least": 0.5}, None),
        (sample(grade=0.49), {"least": 0.5}, Reason.WRONG),
        (sample(grade=None), {"least": 0.5}, Reason.UNGRADED),
        (sample(grade=0.0), {"correct": False}, None),
        (sample(tokens=4), {"shortest": 5}, Reason.TOO_SHORT),
        (sample(tokens=5), {"shortest": 5, "longest": 5}, None),
        (sample(tokens=6), {"longest": 5}, Reason.TOO_LONG),
        (sample("", tokens=0), {}, Reason.TOO_SHORT),
        (sample("", tokens=0), {"shortest": 0}, None),
        # 3 of 4 words are English
        (sample("one two three 四"), {"language": 0.75}, None),
        (sample("one two three 四"), {"language": 0.76}, Reason.MIXED_LANGUAGE),
        (sample("one two three 四"), {"language": 0.0}, None),
        (sample("1+1=2"), {"language": 1.0}, None),  # no words, no share
        (sample("ein Wort", language="de"), {"language": 1.0}, None),  # cannot be told apart
        (sample("a b c d"), {"repetition": 0.0}, None),
        (sample("```\n1+1\n```"), {}, Reason.CODE_BLOCK),
        (sample("```\n1+1\n```"), {"code_blocks": True}, None),
        (sample("x" * 10), {"paragraph": 10, "language": 0.0}, None),
        (sample("x" * 11), {"paragraph": 10, "language": 0.0}, Reason.LONG_PARAGRAPH),
        (sample("x" * 9999), {"paragraph": 0, "language": 0.0}, None),
    ],
)
def test_every_filter_at_its_border(
    first: Candidate, keep: dict[str, Any], reason: Reason | None
) -> None:
    assert verdict(first, **keep) is reason


def test_the_first_reason_counts() -> None:
    worst = sample("好" * 2000 + "\n```", grade=0.0, tokens=0)
    order = []
    keep: dict[str, Any] = {}
    for name, off in (
        ("correct", False),
        ("shortest", 0),
        ("language", 0.0),
        ("repetition", 1.0),
        ("code_blocks", True),
        ("paragraph", 0),
    ):
        order.append(verdict(worst, **keep))
        keep[name] = off
    assert order == [
        Reason.WRONG,
        Reason.TOO_SHORT,
        Reason.MIXED_LANGUAGE,
        Reason.REPETITIVE,
        Reason.CODE_BLOCK,
        Reason.LONG_PARAGRAPH,
    ]
    assert verdict(worst, **keep) is None


def test_repetition_by_hand() -> None:
    assert repetition("") == repetition("one two three") == 0.0
    # a b c d five times: 20 words, 17 4-grams: abcd 5 times, bcda, cdab and dabc 4 times each.
    # Beyond two occurrences: 3 + 2 + 2 + 2 = 9
    assert repetition("a b c d " * 5) == 9 / 17
    assert repetition("a b c d " * 2) == 0.0
    # 10 equal characters: 7 equal 4-grams, 5 of them after the second
    assert repetition("是" * 10) == 5 / 7
    assert repetition("A b! c, A B! c, a b ! c,") == pytest.approx(
        # a b ! c , three times: 15 words, 12 4-grams: ab!c and b!c, 3 times, the other three twice
        2 / 12
    )


def test_a_derivation_and_its_check_repeat_nothing() -> None:
    tally = "12\nMonday +7=19\nTuesday *2=38\n"
    assert repetition(tally + "Wait, let me check.\n" + tally + "Same.") == 0.0
    assert repetition(tally * 20) > 0.8
    assert verdict(sample(tally * 20)) is Reason.REPETITIVE


def test_paragraphs_are_lines() -> None:
    assert longest_paragraph("") == 0
    assert longest_paragraph("ab\n  abcd  \n\nabc") == 4


@pytest.mark.parametrize("text", ["```", "a\n  ```python\nx", "~~~\n"])
def test_code_blocks(text: str) -> None:
    assert has_code_block(text)


@pytest.mark.parametrize("text", ["", "`x`", "a ``` b", "the ~~~ sign"])
def test_no_code_blocks(text: str) -> None:
    assert not has_code_block(text)


def test_duplicates_say_the_same() -> None:
    candidates = [sample("One  and one"), sample("one and ONE\n"), sample("one and two")]
    reasons = select(candidates, KeepSettings(), most=3)
    assert Counter(reasons) == {None: 2, Reason.DUPLICATE: 1} and reasons[2] is None
    assert select(candidates, KeepSettings(duplicates=True), most=3) == [None] * 3
    other_answer = [sample("a b", "2"), sample("a b", "2.0")]
    assert select(other_answer, KeepSettings(), most=3) == [None] * 2


def test_at_most_so_many_and_duplicates_are_never_surplus() -> None:
    candidates = [sample(f"way {n}") for n in (1, 2, 3, 3)]
    reasons = Counter(select(candidates, KeepSettings(), most=2))
    assert reasons == {None: 2, Reason.SURPLUS: 1, Reason.DUPLICATE: 1}


def test_of_those_that_pass_the_ones_that_reflect_most_can_be_kept() -> None:
    plain = [sample(f"way {n}") for n in range(8)]
    looks_back = [sample("wait, let me check. it is 2"), sample("wait. but that is wrong. it is 2")]
    none_right = sample("wait wait wait wait", grade=0.0)
    candidates = [none_right, *plain, *looks_back]
    for most, remaining in ((1, [10]), (2, [9, 10])):
        reasons = select(candidates, KeepSettings(prefer="reflection"), most)
        assert [index for index, why in enumerate(reasons) if why is None] == remaining
    assert select(plain, KeepSettings(prefer="reflection"), 3) == select(plain, KeepSettings(), 3)


@given(st.permutations(range(6)), st.sampled_from(["any", "reflection"]))
@settings(max_examples=30, deadline=None)
def test_the_order_of_samples_decides_nothing(order: list[int], prefer: Any) -> None:
    candidates = [sample(f"wait {n // 2}" + " wait" * (n // 4) + "!" * (n % 2)) for n in range(6)]
    keep = KeepSettings(prefer=prefer)
    reasons = select(candidates, keep, most=2)
    turned = select([candidates[n] for n in order], keep, most=2)
    assert [turned[order.index(n)] for n in range(6)] == reasons


ANY = st.builds(
    sample,
    st.sampled_from(["", "one two", "ONE two", "one 二", "好" * 40, "```x", "y" * 1300]),
    st.sampled_from(["2", "3"]),
    grade=st.sampled_from([None, 0.0, 1.0, 1.0, 1.0]),
    tokens=st.integers(0, 12),
    status=st.sampled_from([DONE, DONE, DONE, CUT, BROKEN]),
)
KEEP = st.builds(
    KeepSettings,
    correct=st.booleans(),
    shortest=st.integers(0, 3),
    longest=st.sampled_from([None, 3, 8]),
    language=st.sampled_from([0.0, 0.5, 1.0]),
    repetition=st.sampled_from([0.0, 0.5, 1.0]),
    paragraph=st.sampled_from([0, 10, 1200]),
    code_blocks=st.booleans(),
    duplicates=st.booleans(),
    prefer=st.sampled_from(["any", "reflection"]),
)


@given(st.lists(ANY, max_size=12), KEEP, st.integers(1, 4))
@settings(max_examples=150, deadline=None)
def test_the_counts_add_up(candidates: list[Candidate], keep: KeepSettings, most: int) -> None:
    reasons = select(candidates, keep, most)
    counted = tally(reasons)
    assert (
        counted["sampled"] == len(candidates) == counted["kept"] + sum(counted["rejected"].values())
    )
    assert counted["kept"] <= most
    assert list(counted["rejected"]) == [r for r in Reason if r in counted["rejected"]]
    for candidate, reason in zip(candidates, reasons, strict=True):
        alone = rejected_by(candidate, keep)
        assert reason is alone or (alone is None and reason in (Reason.DUPLICATE, Reason.SURPLUS))
    if Reason.SURPLUS in reasons:
        assert counted["kept"] == most
