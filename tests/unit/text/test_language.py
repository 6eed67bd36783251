"""Words by language, and the share of the target language."""

import subprocess
import sys
import time

import pytest

from dianoia.base.errors import ConfigError
from dianoia.text import latin_words as latin
from dianoia.text.language import (
    LANGUAGES,
    is_measurable,
    label_words,
    language_share,
    main_language,
    words_by_language,
)

needs_lingua = pytest.mark.skipif(
    not latin.is_available(),
    reason="needs the languages extra: pip install 'dianoia-r1[languages]'",
)


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
        ("call `sum(values)` or `x` there `open", {"en": 4}),
        ("Ｗａｉｔ 好", {"en": 1, "zh": 1}),
        ("Привет мир, über café", {"ru": 2, "en": 2}),  # Latin letters, and nobody asked
        ("Київ маї їх ёлка", {"other": 3, "ru": 1}),  # ї is no Russian letter
        ("これは", {"ja": 1}),
        ("まず合計を計算します。答案是五。", {"ja": 7, "zh": 4}),  # まず 合 計 を 計 算 します
        ("먼저 두 수를 더합니다", {"ko": 4}),
        ("Ελλάδα नमस्ते", {"other": 3}),  # a mark parts the second word
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


@needs_lingua
@pytest.mark.parametrize(
    ("text", "target", "share"),
    [
        ("Let us see: la suma es cinco", "en", 3 / 7),  # 3 English words and 4 Spanish ones
        ("Let us see: la suma es cinco", "es", 4 / 7),
        ("la suma 等于五", "es", 2 / 5),
        ("$x$ = 5", "es", None),
        ("La somme des nombres est paire.", "fr", 1.0),
        ("Ответ: пять", "es", 0.0),
    ],
)
def test_share_among_languages_of_one_script(text: str, target: str, share: float | None) -> None:
    assert language_share(text, target) == share


@needs_lingua
def test_the_shares_of_a_text_are_of_one_whole() -> None:
    """Law: whatever the words, those in a language and those in the others add up to all of them."""
    text = "First añadimos los números, потом 我们 multiply これは donc voilà fünf मैं"
    for target in LANGUAGES:
        words = words_by_language(text, target)
        assert words.total() == words_by_language(text).total()
        assert words[target] / words.total() == language_share(text, target)


@needs_lingua
def test_what_is_no_word_changes_no_label() -> None:
    plain = "we see que los números son pares"
    noisy = r"we see $a+b$ que los 17 números \(x\) son `=` pares"
    assert label_words(plain, "en") == label_words(noisy, "en")


def test_unknown_target_says_what_to_do() -> None:
    with pytest.raises(ConfigError, match=r"'sw'.*use one of en, es, .*zh.* or leave"):
        language_share("habari", "sw")
    assert not is_measurable("sw") and is_measurable("zh")


def test_english_and_chinese_load_no_library() -> None:
    code = """
import sys
from dianoia.text.language import language_share, main_language
for text in ("Wait, let me check. Monday +7=19", "所以 so 是 the answer", "пять これは", ""):
    for target in ("en", "zh", "ru", "ja"):
        language_share(text, target)
    main_language(text)
language_share("la suma es cinco", "zh")
assert "lingua" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """English is measured by script alone; another language of the script is refused, with the cure."""
    monkeypatch.setattr(latin, "is_available", lambda: False)
    assert language_share("la suma es cinco", "en") == 1.0
    assert language_share("la suma 是五", "zh") == 0.5
    assert main_language("¿cuántas quedan?") == "en"
    assert is_measurable("en") and is_measurable("ru") and not is_measurable("es")
    assert not is_measurable("sw")
    with pytest.raises(ConfigError, match=r"pip install 'dianoia-r1\[languages\]'"):
        language_share("la suma es cinco", "es")


@pytest.mark.parametrize(
    ("text", "language"),
    [("how many?", "en"), ("多少 apples", "zh"), ("2+3?", None), ("сколько", "ru"), ("नमस्ते", None)],
)
def test_main_language(text: str, language: str | None) -> None:
    assert main_language(text) == language


@needs_lingua
@pytest.mark.parametrize(
    ("text", "language"),
    [("¿Cuántas manzanas quedan?", "es"), ("Combien de pommes reste-t-il ?", "fr")],
)
def test_main_language_of_one_script(text: str, language: str) -> None:
    assert main_language(text) == language


HOSTILE = (
    "a" * 300_000 + "1",
    r"\(" * 100_000,
    r"\[x" * 100_000,
    "$ " * 100_000,
    "`" * 100_000,
    "`a\n" * 100_000,
    "```a" * 75_001,
    "а" * 300_000 + "ї",
    "иї" * 100_000,
    "あ" * 300_000,
    "あ。漢" * 50_000,
    "가1" * 100_000,
)


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_takes_long(text: str) -> None:
    start = time.process_time()
    words_by_language(text)
    assert time.process_time() - start < 2.0


@needs_lingua
@pytest.mark.parametrize(
    "text",
    [
        "é" * 300_000,
        "de " * 30_000,
        "los the " * 15_000,
        "l'" * 100_000 + "été",
        "; ".join(f"que {chr(97 + i % 26)}{chr(97 + i // 26 % 26)}x" for i in range(10_000)),
    ],
)
def test_telling_apart_takes_time_linear_in_the_words(text: str) -> None:
    language_share("la suma", "es")  # loads the library
    start = time.process_time()
    language_share(text, "en")
    assert time.process_time() - start < 4.0
