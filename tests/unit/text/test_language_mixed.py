"""Labelled texts that mix languages inside sentences: nearly every segment is told right."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import pytest

from dianoia.text import latin_words as latin
from dianoia.text.language import label_words, language_share

NO_LANGUAGE = "-"
NEEDED = 0.98
FILES = ("mixed_tuned", "mixed_fresh")
BY_SCRIPT = ("zh", "ja", "ko", "ru")

needs_lingua = pytest.mark.skipif(
    not latin.is_available(),
    reason="needs the languages extra: pip install 'dianoia-r1[languages]'",
)


@dataclass(frozen=True)
class Segment:
    """A stretch of a text in one language; `found` are the languages of its words."""

    language: str
    text: str
    languages: tuple[str, ...]

    @property
    def is_right(self) -> bool:
        """More than half of its words are in its language; or it has none, being in no language."""
        if self.language == NO_LANGUAGE:
            return not self.languages
        return 2 * self.languages.count(self.language) > len(self.languages)


def _texts(name: str) -> Iterator[list[tuple[str, str]]]:
    """(language, text) of the segments of each text."""
    file = Path(__file__).parent / "data" / f"{name}.txt"
    for line in file.read_text(encoding="utf-8").splitlines():
        parts = re.split(r"<<([a-z]{2}|-)>>", line.replace("\\n", "\n"))
        if len(parts) > 1 and not line.startswith("#"):
            yield list(zip(parts[1::2], parts[2::2], strict=True))


def _segments(name: str, target: str) -> Iterator[Segment]:
    """The segments, labelled as parts of their whole text."""
    for pairs in _texts(name):
        labels = [language for _, language in label_words("".join(t for _, t in pairs), target)]
        for language, text in pairs:
            words = len(label_words(text))
            yield Segment(language, text, tuple(labels[:words]))
            del labels[:words]
        assert not labels, f"a tag cuts a formula in two: {pairs}"


def _graded(segments: list[Segment], cause: str) -> float:
    """Share of right segments, printed with those that are wrong."""
    wrong = [segment for segment in segments if not segment.is_right]
    share = 1 - len(wrong) / len(segments)
    words = [language == s.language for s in segments for language in s.languages]
    report = f"{cause}: {share:.1%} of {len(segments)} segments, {fmean(words):.1%} of words"
    report += "".join(f"\n  {s.language} {s.text!r}: {' '.join(s.languages)}" for s in wrong)
    print(report)  # noqa: T201  what pytest -s is asked for
    return share


def test_there_are_enough_segments_of_every_language() -> None:
    labels = [language for name in FILES for pairs in _texts(name) for language, _ in pairs]
    assert len(labels) - labels.count(NO_LANGUAGE) >= 120
    assert all(labels.count(language) >= 25 for language in ("en", "zh", "es", "ru"))


@needs_lingua
@pytest.mark.parametrize("target", latin.LATIN)
@pytest.mark.parametrize("name", FILES)
def test_segments_are_told_right(name: str, target: str) -> None:
    """Whatever the target: it decides close calls only."""
    segments = [s for s in _segments(name, target) if s.language != NO_LANGUAGE]
    assert _graded(segments, f"{name}, target {target}") >= NEEDED


@needs_lingua
@pytest.mark.parametrize("language", ["en", "zh", "es", "ru"])
def test_each_language_by_itself(language: str) -> None:
    selected = [s for name in FILES for s in _segments(name, "en") if s.language == language]
    assert _graded(selected, language) >= 0.95


@pytest.mark.parametrize("language", BY_SCRIPT)
def test_scripts_need_no_library(language: str) -> None:
    selected = [s for name in FILES for s in _segments(name, language) if s.language == language]
    assert selected and all(s.is_right for s in selected)


@pytest.mark.parametrize("name", FILES)
def test_formulas_numbers_and_code_are_no_words(name: str) -> None:
    selected = [s for s in _segments(name, "zh") if s.language == NO_LANGUAGE]
    assert selected and all(s.is_right for s in selected)


@needs_lingua
def test_the_share_of_a_mixed_sentence() -> None:
    """Derivation: 4 English words, 3 Spanish ones, 2 Han characters, 1 Russian word; x + 1 is none."""
    text = "therefore we must have $x + 1$ cinco manzanas rojas, 所以 значит"
    assert language_share(text, "en") == 4 / 10
    assert language_share(text, "es") == 3 / 10
    assert language_share(text, "zh") == 2 / 10
    assert language_share(text, "ru") == 1 / 10
