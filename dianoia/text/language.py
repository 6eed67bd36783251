"""Which language the words of a text are in: English or Chinese, told apart by script.

In: a thought. Out: words by language, and the share of a target language, which is the language
reward `Num(words in the target language) / Num(words)` of DeepSeek-R1 (arXiv 2501.12948v2, eq. 7).
Left out: languages that share a script. `words_by_language` is the one function that a real
language identifier replaces.

Decisions where the paper is silent (the unit of a word, and what is no word):
1. An English word is a run of Latin letters, with its apostrophes ("don't"). A Chinese word is one
   Han character: it needs no segmenter, and a character stands for about as much as two thirds of a
   word, while whole runs would make a Chinese sentence weigh as little as one English word.
2. Letters of any other script count as words of "other", one a run, and so lower every share.
3. Numbers, formulas (LaTeX between dollars or brackets, commands, single letters other than "a" and
   "I", letters next to digits) and tags are in no language. Fenced code is not counted either.
4. A text without words has no share: None, which is not zero.
"""

import re
import unicodedata
from collections import Counter

from dianoia.base.errors import ConfigError

LANGUAGES = ("en", "zh")

_NO_WORDS = re.compile(
    r"```.*?```"
    r"|\$\$[^$]*\$\$|\$(?=\S)[^$\n]*(?<=\S)\$(?!\d)"  # as in Pandoc, or prices would hide words
    r"|\\\((?:(?!\\[()]).)*\\\)|\\\[(?:(?!\\[\[\]]).)*\\\]"
    r"|\\[A-Za-z]+"
    r"|</?[A-Za-z]+>",
    re.DOTALL,
)
_HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_LATIN = "A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f"
# Possessive runs (++): "mod7" must not be read as "mo" by giving letters back. A run starts only
# where no letter stands before it, so that no text takes quadratic time.
_WORD = re.compile(
    rf"(?P<zh>[{_HAN}])"
    rf"|(?<![\d_{_LATIN}])(?P<en>[{_LATIN}]++(?:['’][{_LATIN}]++)*+)(?![\d_])"
    rf"|(?P<other>(?:(?![{_HAN}{_LATIN}])[^\W\d_])+)"
)


def words_by_language(text: str) -> Counter[str]:
    """Number of words in "en", "zh" and "other"."""
    # NFC would leave full-width letters, which Chinese text uses for English words.
    plain = _NO_WORDS.sub(" ", unicodedata.normalize("NFKC", text))
    return Counter(
        match.lastgroup
        for match in _WORD.finditer(plain)
        if match.lastgroup is not None and not _is_symbol(match.group())
    )


def _is_symbol(word: str) -> bool:
    """A single Latin letter is a name in a formula, except the two that are English words."""
    return len(word) == 1 and word.isascii() and word not in "aAI"


def language_share(text: str, target: str) -> float | None:
    """Share of the words that are in the target language, 0 to 1; None where there are no words.

    Raises ConfigError for a target that cannot be told apart.
    """
    if target not in LANGUAGES:
        raise ConfigError(
            f"language {target!r} cannot be told from the others by its script, so a language "
            f"share would mean nothing; use one of {', '.join(LANGUAGES)} or leave the "
            "language reward out"
        )
    words = words_by_language(text)
    return words[target] / words.total() if words else None


def main_language(text: str) -> str | None:
    """The language most words are in, None without words or when most are in another script."""
    words = words_by_language(text)
    language = max(words, key=lambda name: words[name], default="other")
    return language if language in LANGUAGES else None
