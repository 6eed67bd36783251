"""Counts reflection words: the paper's crude measure of a model that checks its own work.

In: a thought or any text. Out: the number of occurrences of each reflection word. Not here: what the words
mean; keyword counts are a weak measure of reflection (SimpleRL-Zoo, arXiv 2503.18892).

The English list is that of DeepSeek-R1 (arXiv 2501.12948v2, section C). Decisions where it is silent:
1. Words are whole words in upper or lower case. Verbs and nouns of the list also count in their simple
   inflections ("checking", "errors"). "waiting" and "waited" do not, since they narrate instead of interrupting;
   nor do derived words ("recheck", "mistaken"). "double-check" contains the word "check".
2. A Chinese list with the same meanings is added, since the paper's model thinks in Chinese too. Chinese has no
   word borders: matches are taken from left to right, the longest first, and never overlap. Frequent other
   readings are excluded: 不错 (good), 不但 (not only), 对不对 (is it), 只不过 (merely). 等等 also means
   "and so on"; that reading is counted.
"""

import re
from collections import Counter

_ENGLISH = {
    "wait": ("wait",),
    "mistake": ("mistake", "mistakes"),
    "however": ("however",),
    "but": ("but",),
    "retry": ("retry", "retries", "retried", "retrying"),
    "error": ("error", "errors"),
    "verify": ("verify", "verifies", "verified", "verifying"),
    "wrong": ("wrong",),
    "evaluate": ("evaluate", "evaluates", "evaluated", "evaluating"),
    "check": ("check", "checks", "checked", "checking"),
}
_CHINESE = ("等等", "等一下", "错误", "错", "不对", "但是", "但", "不过", "然而", "重新", "重试",
            "验证", "检查", "检验", "核对", "评估")  # fmt: skip
# Each word, and the character before it that gives it another reading (decision 2).
_NOT_AFTER = {"错": "不", "但": "不", "但是": "不", "不对": "对", "不过": "只"}

_LEMMA = {form: word for word, forms in _ENGLISH.items() for form in forms}


def _chinese_pattern(word: str) -> str:
    return (f"(?<!{_NOT_AFTER[word]})" if word in _NOT_AFTER else "") + word


PATTERN = (
    # Latin letters only as borders: "check" next to a Han character is still a whole word.
    r"(?<![a-z])(?:" + "|".join(_LEMMA) + r")(?![a-z])|"
    + "|".join(_chinese_pattern(word) for word in sorted(_CHINESE, key=len, reverse=True))
)  # fmt: skip
"""Matches every form, in lower case. JavaScript reads this regular expression as Python does."""
_PATTERN = re.compile(PATTERN)


def reflection_words(text: str) -> Counter[str]:
    """Count each reflection word together with its inflections; `.total()` counts them all."""
    words = _PATTERN.findall(text.lower())
    return Counter(_LEMMA.get(word, word) for word in words)
