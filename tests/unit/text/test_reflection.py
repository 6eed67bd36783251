"""Reflection words, English and Chinese."""

import re

import pytest

from dianoia.text.reflection import PATTERN, reflection_words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("2 + 3 = 5", {}),
        ("Wait, WAIT. wait!", {"wait": 3}),
        ("However, but retry", {"however": 1, "but": 1, "retry": 1}),
        ("mistake error verify wrong evaluate check", dict.fromkeys(
            ("mistake", "error", "verify", "wrong", "evaluate", "check"), 1)),
        ("checking, checked, checks; errors", {"check": 3, "error": 1}),
        ("verified evaluating retries", {"verify": 1, "evaluate": 1, "retry": 1}),
        ("double-check it", {"check": 1}),
        ("the waiter waited, a button, terror, wrongly, recheck, checkers, mistaken", {}),
        ("等等，我检查一下", {"等等": 1, "检查": 1}),
        ("等一下，不对，重新验证", {"等一下": 1, "不对": 1, "重新": 1, "验证": 1}),
        ("但是错误", {"但是": 1, "错误": 1}),
        ("等等等", {"等等": 1}),
        ("不错，不但快，对不对？只不过慢", {}),
        ("这里错了，不过可以重试", {"错": 1, "不过": 1, "重试": 1}),
        ("我check一下", {"check": 1}),
    ],
)  # fmt: skip
def test_counts(text: str, expected: dict[str, int]) -> None:
    assert reflection_words(text) == expected
    assert reflection_words(text).total() == sum(expected.values())


TEXTS = (
    "Wait, let me check. But 12 is wrong; however, retry.",
    "waiting, mistaken, recheck, butter, checkout, unchecked, errorless",
    "Verified, verifies, VERIFYING errors; evaluated and evaluates mistakes. double-check check3",
    "等等，检查一下。但是12不对。重新算，但12错了，错误。不过验证、检验、核对、评估、重试，然而等一下",
    "不错，不但如此，对不对，只不过，不但是",
    "",
)


@pytest.mark.parametrize("text", TEXTS)
def test_pattern_matches_the_words_that_are_counted(text: str) -> None:
    matches = re.findall(PATTERN, text, re.IGNORECASE)
    assert len(matches) == reflection_words(text).total()


def test_the_pattern_has_no_groups_and_nothing_javascript_lacks() -> None:
    assert re.compile(PATTERN).groups == 0
    assert not re.search(r"\(\?P|\(\?>|[+*?]\+|\\[AZ]", PATTERN)
