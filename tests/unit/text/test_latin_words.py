"""Telling languages of one script apart: the best labelling, and when the library is asked at all."""

import itertools
import random
import re

import pytest

from dianoia.miniature.authors import MIXED, Author, checked_derivation
from dianoia.miniature.chains import Split
from dianoia.miniature.choices import draw_choice
from dianoia.miniature.logic import draw_turns
from dianoia.miniature.stories import draw_story
from dianoia.text import latin_words as latin
from dianoia.text.latin_words import ALSO_ENGLISH, COMMON_WORDS, LATIN, label_latin, may_be_mixed

PENALTY, AT_BREAK, AT_START = (
    latin._CHANGE_PENALTY,
    latin._CHANGE_PENALTY_AT_BREAK,
    latin._START_PENALTY,
)
Evidence = dict[str, dict[str, float]]


@pytest.fixture
def evidence(monkeypatch: pytest.MonkeyPatch) -> Evidence:
    """Log-probabilities that a test gives to words by language, in place of lingua's; 0 where it gives none."""
    inputs: Evidence = {}

    def look_up(word: str) -> tuple[float, ...]:
        return tuple(inputs.get(word, {}).get(language, 0.0) for language in LATIN)

    monkeypatch.setattr(latin, "_log_probabilities", look_up)
    return inputs


def test_a_change_has_its_price(evidence: Evidence) -> None:
    """A Spanish word between two that are surely English.

    Inside a phrase the change and the way back cost 8, so evidence of 7 is not enough and 9 is. Behind a
    break both changes cost 2 and evidence of 5 is.
    """
    evidence["we"] = evidence["add"] = {"en": 50.0}
    words = ["we", "uno", "add"]
    assert (PENALTY, AT_BREAK, AT_START) == (4.0, 2.0, 1.0)
    for strength, ends, expected in (
        (7.0, [False, False], "en"),
        (9.0, [False, False], "es"),
        (3.0, [True, True], "en"),
        (5.0, [True, True], "es"),
        (5.0, [True, False], "en"),  # 2 + 4
        (7.0, [True, False], "es"),
    ):
        evidence["uno"] = {"es": strength}
        assert label_latin(words, ends, "en") == ["en", expected, "en"]


def test_the_assumed_language_decides_close_calls(evidence: Evidence) -> None:
    evidence["total"] = {"es": 0.9}
    assert label_latin(["total"], [], "en") == ["en"]
    assert label_latin(["total"], [], "fr") == ["fr"]
    evidence["total"] = {"es": 1.1}
    assert label_latin(["total"], [], "en") == ["es"]
    assert label_latin([], [], "en") == []


@pytest.mark.parametrize("seed", range(5))
def test_no_labelling_is_better(seed: int, evidence: Evidence) -> None:
    """Against all 6^4 labellings of four words."""
    rng = random.Random(seed)
    words = ["one", "two", "three", "four"]
    for word in words:
        evidence[word] = {language: rng.uniform(-8, 0) for language in LATIN}
    ends = [rng.random() < 0.5 for _ in words[1:]]

    def total(labels: tuple[str, ...]) -> float:
        evidence_sum = sum(evidence[word][label] for word, label in zip(words, labels, strict=True))
        changes = zip(itertools.pairwise(labels), ends, strict=True)
        price = sum((AT_BREAK if end else PENALTY) for (a, b), end in changes if a != b)
        return evidence_sum - price - (AT_START if labels[0] != "it" else 0.0)

    best = max(itertools.product(LATIN, repeat=4), key=total)
    assert label_latin(words, ends, "it") == list(best)


def test_english_is_taken_for_english_without_asking() -> None:
    assert not may_be_mixed(["Wait", "let", "me", "check", "the", "two", "numbers", "again"], "en")
    assert may_be_mixed(["the", "sum", "es", "cinco"], "en")
    assert may_be_mixed(["naïve"], "en")
    assert may_be_mixed(["yes"], "es") and not may_be_mixed([], "es")


def test_no_word_that_english_has_is_a_sign_of_another_language() -> None:
    assert latin._FOREIGN.isdisjoint(COMMON_WORDS["en"].split())
    assert latin._FOREIGN.isdisjoint(ALSO_ENGLISH.split())
    assert all(
        word == word.lower() and (len(word) > 1 or not word.isascii()) for word in latin._FOREIGN
    )


def test_the_miniature_never_asks() -> None:
    rng, english = random.Random(1), 0
    for _ in range(600):
        item = rng.choice((draw_story, draw_choice, draw_turns))(rng, Split.TRAIN)
        if item.problem.language == "en":
            text = checked_derivation(item, Author(MIXED, 0.3, 0.1, 0.5, rng)).text
            words = re.findall("[A-Za-z]+", item.problem.question + text)
            assert not may_be_mixed(words, "en")
            english += 1
    assert english > 200
