"""Words by language, and the share of the target language."""

import time

import pytest

from dianoia.base.errors import ConfigError
from dianoia.text.language import language_share, main_language, words_by_language


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("2 + 3 = 5, 3.5e7 %", {}),
        ("Don't add I and a twice", {"en": 6}),
        ("先算 2+3 等于五", {"zh": 5}),
        ("so 所以 the answer 是 5", {"en": 3, "zh": 3}),
        ("x = y + z and n", {"en": 1}),
        ("mod7 x2 3x a_1", {}),
        (r"then \frac{1}{2} $let me hide$ \(some words\) \[here too\] end", {"en": 2}),
        ("pay $5 and then $6 more", {"en": 4}),
        (r"open \( never closed \( twice", {"en": 4}),
        ("<think>five</think><answer>", {"en": 1}),
        ("see ```for word in words: pass``` there", {"en": 2}),
        ("Ｗａｉｔ 好", {"en": 1, "zh": 1}),
        ("Привет мир, über café", {"other": 2, "en": 2}),
        ("これは", {"other": 1}),
        ("𠀀", {"zh": 1}),
    ],
)
def test_words(text: str, expected: dict[str, int]) -> None:
    assert words_by_language(text) == expected


def test_share() -> None:
    assert language_share("so the 所以", "en") == 0.5  # two words, two Han characters
    assert language_share("so the 所以", "zh") == 0.5
    assert language_share("so мир", "en") == 0.5
    assert language_share("мир", "en") == 0.0
    assert language_share("2+3=5", "en") is None


def test_unknown_target_says_what_to_do() -> None:
    with pytest.raises(ConfigError, match=r"'fr'.*use one of en, zh or leave"):
        language_share("bonjour", "fr")


@pytest.mark.parametrize(
    ("text", "language"),
    [("how many?", "en"), ("多少 apples", "zh"), ("2+3?", None), ("сколько", None)],
)
def test_main_language(text: str, language: str | None) -> None:
    assert main_language(text) == language


@pytest.mark.parametrize(
    "text", ["a" * 300_000 + "1", r"\(" * 100_000, r"\[x" * 100_000, "$ " * 100_000, "`" * 100_000]
)
def test_no_text_takes_long(text: str) -> None:
    start = time.perf_counter()
    words_by_language(text)
    assert time.perf_counter() - start < 2.0
