"""Shaping rewards by hand: repetition, cosine by length, tags."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dianoia.base.records import Completion, Problem, Rollout, RolloutStatus
from dianoia.config import CosineSettings
from dianoia.judge.reward_part import ScoringState
from dianoia.judge.rules import (
    Cosine,
    cosine_by_length,
    repetition,
    repetition_penalty,
    tag_count,
    tags,
    tags_to_write,
)
from dianoia.text.template import TEMPLATES

ids = st.lists(st.integers(0, 5), max_size=30)


@pytest.mark.parametrize(
    ("tokens", "ngram", "value"),
    [
        ((1, 2, 3, 4), 2, 0.0),  # 12 23 34
        ((5, 5, 5, 5, 5), 2, 1 / 4 - 1),  # 55 four times
        ((1, 2, 1, 2, 1), 2, 2 / 4 - 1),  # 12 21 12 21
        ((1, 2, 3, 1, 2, 3, 1), 3, 3 / 5 - 1),  # 123 231 312 123 231
        ((1, 1, 2), 1, 2 / 3 - 1),
        ((1, 2, 3), 3, 0.0),
        ((1, 2), 3, 0.0),  # no n-gram at all
        ((), 3, 0.0),
    ],
)
def test_repetition_by_hand(tokens: tuple[int, ...], ngram: int, value: float) -> None:
    assert repetition_penalty(tokens, ngram) == pytest.approx(value)


@settings(deadline=None)
@given(ids, st.integers(1, 5))
def test_repetition_is_between_minus_1_and_0_and_blind_to_names(
    tokens: list[int], ngram: int
) -> None:
    penalty = repetition_penalty(tokens, ngram)
    assert -1.0 < penalty <= 0.0
    assert repetition_penalty([9 - token for token in tokens], ngram) == penalty
    assert repetition_penalty(tokens[::-1], ngram) == pytest.approx(penalty)


@pytest.mark.parametrize(
    ("length", "value"),
    [
        (0, 1.0),
        (25, 0.5 + 0.25 * (1 + math.sqrt(0.5))),  # cos(pi/4)
        (50, 0.75),
        (100, 0.5),
        (101, 0.5),
        (200, 0.5),  # where the cosine itself would be back at 1
    ],
)
def test_the_cosine_of_a_right_answer_by_hand(length: int, value: float) -> None:
    assert cosine_by_length(length, 100, short=1.0, long=0.5) == pytest.approx(value)


@settings(deadline=None)
@given(st.integers(0, 300), st.floats(-10, 10), st.floats(-10, 10))
def test_the_cosine_stays_between_its_ends(length: int, short: float, long: float) -> None:
    penalty = cosine_by_length(length, 100, short, long)
    assert min(short, long) - 1e-9 <= penalty <= max(short, long) + 1e-9
    mirrored = cosine_by_length(100 - length, 100, long, short) if length <= 100 else penalty
    assert penalty == pytest.approx(mirrored)


TAGS = ("<think>", "</think>", "<answer>", "</answer>")


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("<think>a</think><answer>5</answer>", 1.0),
        ("<think>a</think>5", 0.5),
        ("<think><think>a</think><answer>5</answer>", 0.75),
        ("</answer><think>", 0.5),  # order is for the format rule
        ("<THINK>a< /think>", 0.0),
        ("", 0.0),
    ],
)
def test_tags_by_hand(text: str, share: float) -> None:
    assert tag_count(text, TAGS) == share


@pytest.mark.parametrize(
    ("template", "names"),
    [
        ("r1-zero", TAGS),
        ("r1-zero-prefilled", TAGS[1:]),
        ("r1", TAGS[:2]),
        ("r1-prefilled", TAGS[1:2]),
        ("plain", ()),
    ],
)
def test_the_tags_of_a_template_that_a_response_writes(
    template: str, names: tuple[str, ...]
) -> None:
    assert tags_to_write(TEMPLATES[template]) == names


# As rules ------------------------------------------------------------------------------------------

FINISHED, MALFORMED, TRUNCATED = RolloutStatus


def rollout(status: RolloutStatus = FINISHED, tokens: int = 50) -> Rollout:
    done = Completion((7,) * tokens, (0.0,) * tokens, status is not TRUNCATED)
    answer = "5" if status is FINISHED else None
    problem = Problem("p", "2+3?", "5", "number")
    return Rollout(problem, 0, (1,), done, "<think>x</think>", status, answer, answer)


COSINE = CosineSettings(weight=2.0)


def cosine(settings: CosineSettings, rollout: Rollout, grade: float | None) -> float | None:
    (value,) = Cosine(settings).score([rollout], ScoringState(max_tokens=100, accuracy=[grade]))
    return value


@pytest.mark.parametrize(
    ("status", "grade", "value"),
    [
        (FINISHED, 1.0, 0.75),
        (FINISHED, 0.0, -0.75),
        (FINISHED, None, None),
        (MALFORMED, 0.0, -0.75),
        (TRUNCATED, 0.0, -0.75),
    ],
)
def test_right_and_wrong_by_length(
    status: RolloutStatus, grade: float | None, value: float | None
) -> None:
    penalty = cosine(COSINE, rollout(status), grade)
    assert penalty == (None if value is None else pytest.approx(value))
    assert (Cosine(COSINE).name, Cosine(COSINE).weight) == ("cosine", 2.0)


def test_a_value_of_its_own_for_what_was_cut() -> None:
    settings = CosineSettings(truncated=-10.0)
    assert cosine(settings, rollout(TRUNCATED), 0.0) == -10.0
    assert cosine(settings, rollout(TRUNCATED), None) == -10.0
    assert cosine(settings, rollout(MALFORMED), 0.0) == pytest.approx(-0.75)


def test_repetition_and_tags_look_at_every_rollout() -> None:
    for status in RolloutStatus:
        assert repetition(3).measure(rollout(status)) == pytest.approx(1 / 48 - 1)
        assert tags(TAGS).measure(rollout(status)) == 0.5
